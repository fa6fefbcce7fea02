"""Every effect, at every depth, through every way of importing and calling; and where none is."""

from __future__ import annotations

import itertools

import pytest
from lint_cases import PRELUDE, codes, findings

EFFECTS = {
    # rule: (module, name within it, call)
    "WFL201": ("time", "time", "()"),
    "WFL211": ("random", "random", "()"),
    "WFL214": ("uuid", "uuid4", "()"),
    "WFL213": ("os", "urandom", "(4)"),
    "WFL221": ("os", "getenv", "('X')"),
    "WFL222": ("socket", "gethostname", "()"),
    "WFL301": ("os", "listdir", "('.')"),
    "WFL302": ("urllib.request", "urlopen", "('http://x')"),
    "WFL303": ("subprocess", "run", "(['x'])"),
    "WFL308": ("time", "sleep", "(1)"),
    "WFL401": ("threading", "Thread", "()"),
    "WFL202": ("time", "ctime", "()"),
    "WFL212": ("random", "Random", "()"),
    "WFL406": ("asyncio", "run", "(None)"),
    "WFL508": ("importlib", "import_module", "('x')"),
    "WFL510": ("gc", "collect", "()"),
}

IMPORTS = {
    "module": ("import {m}", "{m}.{n}"),
    "alias": ("import {m} as thing", "thing.{n}"),
    "from": ("from {m} import {n}", "{n}"),
    "from-alias": ("from {m} import {n} as thing", "thing"),
    "assigned": ("import {m}\nthing = {m}.{n}", "thing"),
    "getattr": ("import {m}\nthing = getattr({m}, '{n}')", "thing"),
    "try": ("try:\n    import {m} as thing\nexcept ImportError:\n    thing = None", "thing.{n}"),
    "reexport": ("from middle import {n}", "{n}"),
    "star": ("from middle import *", "{n}"),
    "package": ("from pkg import {n} as thing", "thing"),
    "relative": ("from pkg.inner import give as thing", "thing"),
}

WAYS = {
    # how a helper `work()` is reached, from the workflow's body; `{e}` is the effect's expression
    "direct": ("def work(): return {e}", "work()"),
    "async": ("async def work(): return {e}", "await work()"),
    "method": ("class C:\n    def work(self): return {e}", "C().work()"),
    "inherited": (
        "class B:\n    def work(self): return {e}\nclass C(B): ...",
        "C().work()",
    ),
    "super": (
        "class B:\n    def work(self): return {e}\n"
        "class C(B):\n    def work(self): return super().work()",
        "C().work()",
    ),
    "static": ("class C:\n    @staticmethod\n    def work(): return {e}", "C.work()"),
    "classmethod": ("class C:\n    @classmethod\n    def work(cls): return {e}", "C.work()"),
    "property": ("class C:\n    @property\n    def work(self): return {e}", "C().work"),
    "constructor": ("class C:\n    def __init__(self): self.x = {e}", "C()"),
    "post-init": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    y: int = 1\n"
        "    def __post_init__(self): self.x = {e}",
        "C()",
    ),
    "callable-object": ("class C:\n    def __call__(self): return {e}", "C()()"),
    "context-manager": (
        "class C:\n    def __enter__(self): return {e}\n    def __exit__(self, *a): ...",
        "with C() as x:\n    pass",
    ),
    "generator": ("def work():\n    yield {e}", "for x in work():\n    pass"),
    "contextlib": (
        "import contextlib\n@contextlib.contextmanager\ndef work():\n    yield {e}",
        "with work():\n    pass",
    ),
    "lambda": ("work = lambda: {e}", "work()"),
    "partial": (
        "import functools\ndef inner(x): return {e}\nwork = functools.partial(inner, 1)",
        "work()",
    ),
    "callback": ("def work(): return {e}\ndef call(f): return f()", "call(work)"),
    "keyword-callback": ("def work(): return {e}\ndef call(*, f): return f()", "call(f=work)"),
    "map": ("def work(x): return {e}", "list(map(work, [1]))"),
    "sort-key": ("def work(x): return {e}", "sorted([1], key=work)"),
    "closure": (
        "def make():\n    def work(): return {e}\n    return work",
        "make()()",
    ),
    "nested": ("", "def work(): return {e}\nwork()"),
    "comprehension": ("", "[{e} for x in [1]]"),
    "walrus": ("", "if (x := {e}):\n    pass"),
    "match": ("", "match {e}:\n    case 1:\n        pass"),
    "decorated": (
        "def deco(f):\n    def wrapper(): return f()\n    return wrapper\n"
        "@deco\ndef work(): return {e}",
        "work()",
    ),
    "decorator": (
        "def deco(f):\n    def wrapper():\n        {e}\n        return f()\n    return wrapper\n"
        "@deco\ndef work(): return 1",
        "work()",
    ),
    "dispatch-table": ("def work(): return {e}\nTABLE = {{'a': work}}", "TABLE['a']()"),
    "attribute": (
        "class C:\n    def __init__(self, f): self.f = f\ndef work(): return {e}",
        "C(work).f()",
    ),
    "annotated": (
        "class C:\n    def work(self): return {e}\ndef use(c: C): return c.work()",
        "use(None)",
    ),
    "protocol": (
        "from typing import Protocol\nclass P(Protocol):\n    def work(self): ...\n"
        "class C(P):\n    def work(self): return {e}\ndef use(p: P): return p.work()",
        "use(None)",
    ),
    "singleton": ("class C:\n    def work(self): return {e}\nONE = C()", "ONE.work()"),
    "task": ("async def work(): return {e}", "await asyncio.create_task(work())"),
    "gather": ("async def work(): return {e}", "await asyncio.gather(work())"),
    "try": ("", "try:\n    {e}\nfinally:\n    pass"),
    "default": ("def work(x=None): return x or {e}", "work()"),
    "generic": ("class C[T]:\n    def work(self, x: T) -> T: return {e}", "C().work(1)"),
    "iterator": (
        "class C:\n    def __iter__(self):\n        {e}\n        return iter([])",
        "for x in C():\n    pass",
    ),
}


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def program(rule: str, style: str, way: str, depth: int) -> dict[str, str]:
    """Files in which a workflow reaches an effect."""
    module, name, call = EFFECTS[rule]
    imports, reference = (part.format(m=module, n=name) for part in IMPORTS[style])
    before, body = (part.format(e=f"{reference}{call}") for part in WAYS[way])
    files = {
        "middle.py": f"from {module} import {name}\n",
        "pkg/__init__.py": f"from {module} import {name}\n",
        "pkg/inner.py": f"from . import {name} as give\n",
    }
    inner = f"{imports}\nimport asyncio\n{before}\nasync def level0():\n{indented(body)}"
    files["level0.py"] = inner
    for number in range(1, depth + 1):
        below = number - 1
        files[f"level{number}.py"] = (
            f"from level{below} import level{below}\n"
            f"async def level{number}():\n    return await level{below}()\n"
        )
    files["flow.py"] = (
        f"{PRELUDE}from level{depth} import level{depth}\n\n"
        f"@workflow\nasync def flow() -> None:\n    await level{depth}()\n"
    )
    return files


@pytest.mark.parametrize("style", IMPORTS)
@pytest.mark.parametrize("rule", EFFECTS)
def test_every_effect_through_every_import(rule: str, style: str) -> None:
    for depth in (0, 2):
        assert rule in codes(program(rule, style, "direct", depth), select=[rule]), depth


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["WFL201", "WFL301"])
def test_every_way_of_calling(rule: str, way: str) -> None:
    for depth in range(5):
        assert rule in codes(program(rule, "module", way, depth), select=[rule]), depth


@pytest.mark.parametrize("way", WAYS)
def test_chains_lead_from_the_workflow_to_the_effect(way: str) -> None:
    (one,) = findings(program("WFL201", "module", way, 3), select=["WFL201"])[:1]
    assert one.path == "level0.py"
    assert [step.symbol for step in one.chain][:4] == ["flow", "level3", "level2", "level1"]
    assert one.roots == ("flow.flow",)


@pytest.mark.parametrize("way", WAYS)
def test_code_that_no_workflow_reaches_is_not_reported(way: str) -> None:
    for rule, style in itertools.product(("WFL201", "WFL301"), ("module", "from", "reexport")):
        files = program(rule, style, way, 1)
        files["flow.py"] = f"{PRELUDE}\n@workflow\nasync def flow() -> None:\n    await act(1)\n"
        assert codes(files) == []


@pytest.mark.parametrize("way", WAYS)
def test_code_behind_an_activity_is_not_reported(way: str) -> None:
    files = program("WFL201", "module", way, 1)
    files["flow.py"] = (
        f"{PRELUDE}from level1 import level1\n\n@activity\nasync def reads() -> None:\n"
        "    await level1()\n\n@workflow\nasync def flow() -> None:\n    await reads()\n"
    )
    assert codes(files) == []


AS_VALUE = {
    "returned": "def give(): return {r}\nVALUE = give()",
    "in-list": "VALUES = [{r}]\nVALUE = VALUES[0]",
    "aliased-twice": "first = {r}\nVALUE = first",
    "class-attribute": "class C:\n    work = staticmethod({r})\nVALUE = {r}",
}


@pytest.mark.parametrize("shape", AS_VALUE)
@pytest.mark.parametrize("rule", ["WFL201", "WFL211", "WFL214", "WFL308"])
def test_effects_as_values(rule: str, shape: str) -> None:
    module, name, call = EFFECTS[rule]
    before = AS_VALUE[shape].format(r=f"{module}.{name}")
    text = (
        f"{PRELUDE}import {module}\n{before}\n\n@workflow\nasync def flow() -> None:\n"
        f"    VALUE{call}\n"
    )
    assert rule in codes(text, select=[rule])
