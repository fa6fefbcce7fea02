"""The engine: resolution, sinks, guards, suppression, and input that is out of order."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from lint_cases import PRELUDE, codes, findings, flow, report
from wflint.config import Config, ConfigError, from_table
from wflint.engine import Engine, check_texts, make_adapters, make_effects
from wflint.project import Project, UnreadableError, decode, matches

SINKS = [
    ("if os.getenv('X'):\n    await act(1)", "error"),
    ("while os.getenv('X'):\n    await act(1)", "error"),
    ("await act.options(id=os.getenv('X'))(1)", "error"),
    ("await perdure.sleep(float(os.getenv('X')))", "error"),
    ("await act(os.getenv('X'))", "warning"),
    ("x = os.getenv('X')\nawait act([x])", "warning"),
    ("return os.getenv('X')", "warning"),
    ("perdure.logger.info(os.getenv('X'))\nawait act(1)", "info"),
    ("x = f'{os.getenv(1)}'\nperdure.logger.info('%s', x)\nawait act(1)", "info"),
    ("if os.getenv('X'):\n    perdure.logger.info('x')\nawait act(1)", "info"),
]


@pytest.mark.parametrize(("body", "severity"), SINKS)
def test_severity_follows_the_sink(body: str, severity: str) -> None:
    found = [d for d in findings(flow(body, "import os")) if d.code == "WFL221"]
    assert [one.severity for one in found] == [severity]


ORDERS = [
    ("keys = list(data)\nperdure.logger.info(keys)\nawait act(1)", "info"),
    ("keys = list(data)\nperdure.logger.info(keys)\nawait act(keys)", "error"),
    ("for key in data:\n    perdure.logger.info(key)\nawait act(1)", "info"),
    ("for key in data:\n    if key:\n        perdure.logger.info(key)\nawait act(1)", "info"),
    ("for key in data:\n    perdure.logger.info(key)\n    await act(1)", "error"),
    ("perdure.logger.info('%s', [key for key in data])\nawait act(1)", "info"),
]


@pytest.mark.parametrize(("body", "severity"), ORDERS)
def test_an_order_that_is_only_logged_is_no_error(body: str, severity: str) -> None:
    found = findings(flow(body, signature="data: dict[str, int]"))
    assert [(d.code, d.severity) for d in found] == [("WFL104", severity)]


def test_a_value_is_followed_through_helpers() -> None:
    before = (
        "import os\ndef name():\n    return os.getenv('X')\ndef wrap(x):\n    return {'a': x}\n"
    )
    (one,) = findings(flow("if wrap(name())['a']:\n    await act(1)", before))
    assert (one.code, one.severity) == ("WFL221", "error")


def test_payloads_are_errors_in_the_strict_set() -> None:
    text = flow("await act(os.getenv('X'))", "import os")
    assert [d.severity for d in findings(text, level="strict")] == ["error"]


GUARDS: list[tuple[str, list[str]]] = [
    ("if not perdure.is_replaying():\n    print('x')\nawait act(1)", []),
    ("if perdure.is_replaying():\n    pass\nelse:\n    print('x')\nawait act(1)", []),
    ("if TYPE_CHECKING:\n    import os\nawait act(1)", []),
    ("if not perdure.is_replaying():\n    await act(1)", ["WFL610"]),
]


@pytest.mark.parametrize(("body", "expected"), GUARDS)
def test_guards(body: str, expected: list[str]) -> None:
    assert codes(flow(body, "from typing import TYPE_CHECKING")) == expected


def test_code_for_elsewhere_is_not_workflow_code() -> None:
    text = (
        "import uuid\nfrom temporalio import workflow\n\ndef new_id():\n"
        "    if workflow.unsafe.in_sandbox():\n        return workflow.uuid4()\n"
        "    else:\n        return uuid.uuid4()\n\n@workflow.defn\nclass Flow:\n"
        "    @workflow.run\n    async def run(self) -> None:\n        new_id()\n"
    )
    assert codes(text) == []


LESSONS = {
    "any over a set": "if any(s != 'done' for s in names):\n    await act(1)",
    "membership in a display": "if 'x' in {'a', *names}:\n    await act(1)",
    "identity for cycles": "seen = set()\nif id(names) in seen:\n    await act(1)",
    "one element": "if len(names) != 1:\n    raise ValueError\nawait act(next(iter(names)))",
    "only models": "Reasoning(effort='low')\nawait act(1)",
    "library code": "try:\n    int('1')\nexcept BaseException:\n    pass\nawait act(1)",
    "generator in any": "if any(x for x in set(data.values())):\n    await act(1)",
    "callbacks": "perdure.side_effect(lambda: open('x').read(), str)\nawait act(1)",
}


@pytest.mark.parametrize("name", LESSONS)
def test_what_was_wrongly_reported_once(name: str) -> None:
    before = "from openai.types.shared import Reasoning"
    text = flow(LESSONS[name], before, "names: set[str], data: dict[str, str]")
    assert [c for c in codes(text) if c != "WFL703"] == []


def test_every_method_of_a_workflow_class_is_a_root() -> None:
    text = (
        "import time\nfrom temporalio import workflow\n\n@workflow.defn\nclass Flow:\n"
        "    @workflow.run\n    async def run(self) -> None: ...\n"
        "    def helper(self) -> float:\n        return time.time()\n"
    )
    assert codes(text) == ["WFL201"]


COMMENTS: list[tuple[str, list[str]]] = [
    ("time.sleep(1)  # wflint: ignore[WFL308] -- short", []),
    ("time.sleep(1)  # wflint: ignore[blocking-sleep]", []),
    ("# wflint: ignore-next-line[WFL308]\ntime.sleep(1)", []),
    ("time.sleep(1)  # noqa: WFL308", []),
    ("time.sleep(1)  # noqa: E501, WFL308", []),
    ("time.sleep(1)  # wflint: ignore[WFL3]", []),
    ("time.sleep(1)  # wflint: ignore[WFL201]", ["WFL001", "WFL308"]),
    ("await act(1)  # wflint: ignore[WFL308]", ["WFL001"]),
    ("time.sleep(1)  # wflint: ignore", ["WFL002"]),
    ("time.sleep(1)  # wflint: ignore[NOPE]", ["WFL002", "WFL308"]),
    ("time.sleep(1)  # wflint: silence[WFL308]", ["WFL002", "WFL308"]),
    ("x = '# wflint: ignore[WFL308]'\ntime.sleep(1)", ["WFL308"]),
]


@pytest.mark.parametrize(("body", "expected"), COMMENTS)
def test_comments(body: str, expected: list[str]) -> None:
    assert sorted(codes(flow(body, "import time"))) == expected


def test_comments_at_the_effect_the_call_and_the_root() -> None:
    helper = "import time\ndef work():\n    time.sleep(1){}\n"
    body = (
        f"{PRELUDE}from helper import work\n\n@workflow\n"
        "async def flow() -> None:{}\n    work(){}\n"
    )
    mark = "  # wflint: ignore[WFL308] -- short"
    for places in ((mark, "", ""), ("", mark, ""), ("", "", mark)):
        files = {"helper.py": helper.format(places[0]), "flow.py": body.format(*places[1:])}
        assert codes(files) == [], places
    other = "\n@workflow\nasync def other() -> None:\n    work()\n"
    files = {"helper.py": helper.format(""), "flow.py": body.format("", mark) + other}
    (one,) = findings(files)
    assert one.chain[0].symbol == "other"


def test_a_block_and_a_file_can_be_quiet() -> None:
    text = flow("time.sleep(1)\ntime.sleep(2)", "import time")
    quiet = text.replace("-> None:", "-> None:  # wflint: ignore[WFL308] -- both")
    assert codes(quiet) == []
    assert codes(f"# wflint: skip-file\n{text}") == []


def test_reasons_can_be_required() -> None:
    text = flow("time.sleep(1)  # wflint: ignore[WFL308]", "import time")
    assert codes(text, require_reason=True) == ["WFL002"]


def test_a_function_can_be_vouched_for() -> None:
    before = "import helper\ndef work():  # wflint: deterministic -- measured\n    helper.go()\n"
    files = {
        "flow.py": flow("work()", before),
        "helper.py": "import time\ndef go():\n    time.time()\n",
    }
    assert codes(files) == []


def test_effects_of_the_users_own() -> None:
    text = flow("await act(clock.now())\nawait act(clock.pure())", "from corp import clock")
    effects = {
        "corp.clock.now": {"code": "WFL201", "replace": "perdure.now"},
        "corp.clock.*": "pure",
    }
    assert codes(text, effects=effects) == ["WFL201"]
    assert codes(flow("time.time()", "import time"), effects={"time.time": "deterministic"}) == []


def test_a_framework_of_the_users_own() -> None:
    adapter = {
        "mine": {
            "imports": ["mine"],
            "direct-call": True,
            "symbols": {
                "mine.flow": "workflow",
                "mine.step": "activity",
                "mine.once": {"role": "callback", "callback": [0], "returns": "value"},
            },
        }
    }
    text = (
        "import mine, time\n\n@mine.step\nasync def step() -> float:\n    return time.time()\n\n"
        "@mine.flow\nasync def f() -> None:\n    await step()\n    mine.once(lambda: time.time())\n"
        "    time.sleep(1)\n"
    )
    assert codes(text, adapter=adapter) == ["WFL308"]


BAD_SETTINGS = [
    {"selct": ["WFL"]},
    {"select": ["WFL999"]},
    {"dict-iteration": "maybe"},
    {"severity": {"WFL101": "fatal"}},
    {"adapters": ["nobody"]},
    {"effects": {"a.b": "bad"}},
    {"adapter": {"x": {"rolls": 1}}},
    {"adapter": {"x": {"symbols": {"a.b": "king"}}}},
    {"exclude": 3},
    {"require-reason": "yes"},
]


@pytest.mark.parametrize("table", BAD_SETTINGS, ids=str)
def test_bad_settings_say_what_is_wrong(table: dict[str, object]) -> None:
    def read() -> None:
        config = from_table(table)
        make_adapters(config)
        make_effects(config)

    with pytest.raises(ConfigError, match=r"."):
        read()


def test_unparsable_files_are_said_and_the_rest_is_checked() -> None:
    files = {
        "bad.py": "from perdure import workflow\ndef (:\n",
        "flow.py": flow("time.sleep(1)", "import time"),
    }
    found = report(files)
    assert [(d.path, d.code) for d in found.diagnostics] == [
        ("bad.py", "WFL003"),
        ("flow.py", "WFL308"),
    ]
    assert found.unparsable == 1


def test_encodings(tmp_path: Path) -> None:
    text = flow("time.sleep(1)", "# größe\nimport time")
    (tmp_path / "a.py").write_bytes(f"# coding: latin-1\n{text}".encode("latin-1"))
    (tmp_path / "b.py").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "c.py").write_bytes(text.encode("latin-1"))
    (tmp_path / "d.py").write_bytes(text.replace("\n", "\r\n").encode())
    found = Engine(Project(str(tmp_path)), Config(root=str(tmp_path))).check().report
    lines = len(text[: text.index("time.sleep")].splitlines())
    assert [(d.path, d.code, d.line) for d in found.diagnostics] == [
        ("a.py", "WFL308", lines + 1),
        ("b.py", "WFL308", lines),
        ("c.py", "WFL003", 1),
        ("d.py", "WFL308", lines),
    ]
    with pytest.raises(UnreadableError, match="nonsense"):
        decode(b"# coding: nonsense\n")


def test_files_that_vanish_and_links_in_circles(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(flow("time.sleep(1)", "import time"), encoding="utf-8")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = Engine(Project(str(tmp_path)), Config(root=str(tmp_path))).check().report
    assert [(d.path, d.code) for d in found.diagnostics] == [
        ("flow.py", "WFL308"),
        ("gone.py", "WFL003"),
    ]


DEEP = {
    "sum": "x = " + "+".join(["1"] * 1500),
    "call": "x = " + "f(" * 80 + ")" * 80,
    "attribute": "x = a" + ".b" * 500,
    "if": "\n".join("    " * n + "if 1:" for n in range(80)) + "\n" + "    " * 80 + "pass",
    "elif": "if 0: pass\n" + "\n".join(f"elif x == {n}: pass" for n in range(500)),
    "chain": "\n".join(
        ["def f0(): return time.time()"]
        + [f"def f{n}(): return f{n - 1}()" for n in range(1, 1000)]
    ),
    "recursion": "def f(n): return g(n)\ndef g(n): return f(n) or time.time()\n",
    "long": "\n".join(f"x{n} = {n}" for n in range(50_000)),
}


@pytest.mark.parametrize("shape", DEEP)
def test_deep_and_long_files(shape: str) -> None:
    calls = {"chain": "f999()", "recursion": "f(1)"}
    text = flow(f"{calls.get(shape, '')}\ntime.sleep(1)", f"import time\n{DEEP[shape]}\n")
    found = codes(text)
    assert "WFL308" in found
    if shape in calls:
        assert "WFL201" in found


def test_output_depends_on_no_hash_seed(tmp_path: Path) -> None:
    for n in range(6):
        body = "for x in {'a', 'b'}:\n    await act(x)\nopen('x')\nprint(1)\nuuid.uuid4()"
        (tmp_path / f"flow{n}.py").write_text(flow(body, "import uuid"), encoding="utf-8")
    outputs: set[bytes] = set()
    for seed, jobs in (("1", "1"), ("2", "2"), ("3", "1")):
        done = subprocess.run(
            [sys.executable, "-m", "wflint", "--format", "json", "--no-cache", "-j", jobs, "."],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
        )
        assert done.returncode == 1, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_overlays_lie_over_files(tmp_path: Path) -> None:
    path = tmp_path / "flow.py"
    path.write_text(flow("time.sleep(1)", "import time"), encoding="utf-8")
    root = str(tmp_path)
    config = Config(root=root)
    assert len(Engine(Project(root), config).check().report.diagnostics) == 1
    overlay = {str(path): flow("await act(1)")}
    assert Engine(Project(root, (), overlay), config).check().report.diagnostics == []


def test_only_what_workflows_reach_is_parsed() -> None:
    files = {f"other{n}.py": "import time\ntime.time()\n" for n in range(50)}
    files["flow.py"] = flow("await act(1)", "import other1")
    found = report(files)
    assert (found.files, found.parsed) == (51, 1)


def test_patterns_of_paths() -> None:
    assert matches("tests/a/b.py", "tests/**")
    assert matches("src/tests/b.py", "**/tests/**")
    assert matches("src/migrations/x.py", "migrations")
    assert not matches("src/flows.py", "tests/**")


def test_reports_of_tests_do_not_hold_style_rules() -> None:
    text = flow("print(1)\ntime.time()", "import time")
    assert codes({"tests/test_x.py": text}) == ["WFL201"]


def test_check_texts_gives_the_program_too() -> None:
    checked = check_texts({"flow.py": flow("await act(1)")})
    assert [root.name for root in checked.program.roots] == ["act", "flow"]


def test_a_branch_after_many_commands_is_control_flow_too() -> None:
    body = "await act(1)\nawait act(2)\nawait act(3)\nif os.getenv('X'):\n    await act(4)"
    (one,) = findings(flow(body, "import os"))
    assert (one.code, one.severity) == ("WFL221", "error")


def test_workflows_in_functions_that_nobody_calls() -> None:
    text = (
        "from perdure import activity, workflow\n\ndef make():\n    import time\n\n"
        "    def helper() -> float:\n        return time.time()\n\n"
        "    @workflow\n    async def flow() -> None:\n        await act(helper())\n\n"
        "    @activity\n    async def act(value: float) -> None: ...\n"
    )
    assert codes(text) == ["WFL201"]


LOCKED = """
import os, sys
from wflint.config import Config
from wflint.engine import Engine
from wflint.project import Project
from wflint.syntax._lower import lower
lower("pass")
root = sys.argv[1]
engine = Engine(Project(root), Config(root=root))
if os.getuid() == 0:
    os.seteuid(65534)  # root may read what nobody may
for one in engine.check([root]).report.diagnostics:
    print(one.path, one.code, one.message)
"""


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="POSIX permissions")
def test_folders_and_files_without_permission() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "flow.py").write_text(flow("time.time()", "import time"), encoding="utf-8")
        (folder / "secret.py").write_text("import perdure\n", encoding="utf-8")
        (folder / "secret.py").chmod(0)
        (folder / "locked").mkdir()
        (folder / "locked" / "other.py").write_text("import perdure\n", encoding="utf-8")
        (folder / "locked").chmod(0)
        command = [sys.executable, "-c", LOCKED, name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        finally:
            (folder / "locked").chmod(0o755)
    lines = [line.partition(" `")[0] for line in done.stdout.splitlines()]
    assert lines == [
        "flow.py WFL201",
        "locked WFL003 locked can't be read: Permission denied",
        "secret.py WFL003 secret.py can't be read: Permission denied",
    ]


@pytest.mark.parametrize("name", ["call", "name", "list", "set", "attr", "star", "type"])
def test_functions_that_are_called_like_nodes_of_the_tree(name: str) -> None:
    text = flow(f"Thing().{name}()", f"class Thing:\n    def {name}(self): time.sleep(1)")
    registered = "import time\nfrom durabletask import task\nworker.add_orchestrator(flow)\n"
    assert codes(registered + text) == ["WFL308"]


def test_ctrl_c_ends_a_check_and_its_thread(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(flow("time.sleep(1)", "import time"), encoding="utf-8")
    engine = Engine(Project(str(tmp_path)), Config(root=str(tmp_path)))
    told: list[tuple[int, int]] = []

    def interrupt(files: int, functions: int) -> None:
        told.append((files, functions))
        _thread.interrupt_main()

    def check() -> None:
        engine.check(progress=interrupt)
        while True:  # it may arrive a moment after the last file
            pass

    # A debugger that was used before in this process leaves a handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            check()
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == [(0, 0)]
    assert not [one for one in threading.enumerate() if one.name == "wflint"]
    assert [d.code for d in engine.check([str(tmp_path)]).report.diagnostics] == ["WFL308"]
