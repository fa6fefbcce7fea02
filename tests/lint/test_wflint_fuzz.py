"""Nothing crashes it: the standard library, what is installed, and what nobody would write."""

from __future__ import annotations

import os
import random
import sysconfig
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lint_cases import PRELUDE, flow, report
from wflint.analysis._modules import walk
from wflint.config import Config
from wflint.engine import check_texts
from wflint.syntax import UnparsableError
from wflint.syntax._lower import lower

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
INSTALLED = Path(sysconfig.get_paths()["purelib"])
SHARE = 1 if os.environ.get("FUZZ_ALL") else 40


def some(folder: Path) -> list[Path]:
    """Files of a folder: a share of them, another one at each run."""
    files = sorted(
        path
        for path in folder.rglob("*.py")
        if "lib2to3" not in path.parts and path.stat().st_size < 200_000
    )
    return files if SHARE == 1 else random.sample(files, len(files) // SHARE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", [LIBRARY, INSTALLED], ids=["library", "installed"])
def test_real_files_as_helpers_of_a_workflow(folder: Path) -> None:
    """Every function of a file is called from a workflow."""
    for path in some(folder):
        try:
            text = path.read_text(encoding="utf-8")
            tree = lower(text)
        except (UnparsableError, UnicodeDecodeError):
            continue
        names = [s[3][0] for s in tree.body if s[0] in ("def", "class")]
        body = "\n".join(f"thing.{name}({{'a'}}, print)" for name in names[:40]) or "pass"
        texts = {"flow.py": flow(body, "import thing"), "thing.py": text}
        check_texts(texts, Config(root="/project", level="pedantic"))


@pytest.mark.slow
def test_offsets_are_those_of_libcst() -> None:
    for path in some(LIBRARY)[:8]:
        text = path.read_bytes().decode("utf-8", "replace")
        try:
            tree = lower(text)
        except UnparsableError:
            continue
        for node in walk(tree.body):
            piece = text[node[1] : node[2]]
            if node[0] == "name" and isinstance(node[3], str):
                assert piece.strip("() \n\t\\") == node[3] or str(node[3]) in piece, path
            elif node[0] in ("call", "attr", "bin", "comp", "list", "dict"):
                cst.parse_expression(f"({piece}\n)")


IDENTIFIERS = st.sampled_from(["names", "data", "time", "act", "x", "perdure", "flow", "helper"])
EXPRESSIONS: st.SearchStrategy[str] = st.recursive(
    st.one_of(
        IDENTIFIERS,
        st.sampled_from(["1", "'s'", "{1, 2}", "{}", "None", "time.time()", "[]", "{'a': 1}"]),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]} + {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"[{p[0]}, {p[1]}]"),
        st.tuples(inner, inner).map(lambda p: f"{{{p[0]}: {p[1]}}}"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}({p[1]}, key={p[1]}, **{p[0]})"),
        st.tuples(inner, inner).map(lambda p: f"[x for x in {p[0]} if {p[1]}]"),
        st.tuples(inner, inner).map(lambda p: f"{{x: x for x in {p[0]} if {p[1]}}}"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[0]})"),
        st.tuples(inner, inner).map(lambda p: f"sorted({p[0]}, key=lambda x: {p[1]})"),
        inner.map(lambda e: f"(lambda x: {e})"),
        inner.map(lambda e: f"(await {e})"),
        inner.map(lambda e: f"{e}.name"),
        inner.map(lambda e: f"{e}['a']"),
        inner.map(lambda e: f"*{e},").map(lambda e: f"[{e}]"),
        inner.map(lambda e: f"f'{{{e}!r}}'" if "'" not in e else e),
        inner.map(lambda e: f"(y := {e})"),
    ),
    max_leaves=8,
)


def block(depth: int) -> st.SearchStrategy[str]:
    simple = st.one_of(
        EXPRESSIONS,
        EXPRESSIONS.map(lambda e: f"x = {e}"),
        EXPRESSIONS.map(lambda e: f"x, *names = {e}"),
        EXPRESSIONS.map(lambda e: f"data[{e}] = x"),
        EXPRESSIONS.map(lambda e: f"x += {e}"),
        EXPRESSIONS.map(lambda e: f"return {e}"),
        EXPRESSIONS.map(lambda e: f"del data[{e}]"),
        EXPRESSIONS.map(lambda e: f"raise {e}"),
        st.just("pass"),
        st.just("global helper"),
    )
    if not depth:
        return simple
    inner = st.lists(block(depth - 1), min_size=1, max_size=2).map(
        lambda lines: "\n".join(f"    {line}" for part in lines for line in part.splitlines())
    )
    return st.one_of(
        simple,
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"if {p[0]}:\n{p[1]}"),
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"for x in {p[0]}:\n{p[1]}"),
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"while {p[0]}:\n{p[1]}"),
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"with {p[0]} as x:\n{p[1]}"),
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"try:\n{p[1]}\nexcept {p[0]}:\n    pass"),
        st.tuples(EXPRESSIONS, inner).map(lambda p: f"match {p[0]}:\n    case x:\n        pass"),
        inner.map(lambda b: f"async def helper(x, *y, **z):\n{b}"),
        inner.map(lambda b: f"class helper(x):\n{b}"),
    )


@settings(
    max_examples=400 if os.environ.get("CI") else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(block(2), min_size=1, max_size=5))
def test_programs_that_nobody_would_write(parts: list[str]) -> None:
    body = "\n".join(parts)
    before = "import time\ndef helper(x):\n    return [x, flow]\n"
    text = flow(body, before, "names: set[str], data: dict[str, object]")
    once = report(text, level="pedantic")
    again = report(text, level="pedantic")
    assert once.diagnostics == again.diagnostics
    for one in once.diagnostics:
        assert 1 <= one.line <= text.count("\n") + 1
        assert one.column >= 1


def test_no_text_is_too_odd() -> None:
    for text in ("", "\n", "\ufeff", "x", "\f\nx=1\n", "x = '\\N{DASH}'", "# only"):
        lower(text.replace("\ufeff", ""))
    report({"flow.py": PRELUDE, "empty.py": ""})
