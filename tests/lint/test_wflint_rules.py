"""Each rule's examples, and that rules, documentation and effects speak of the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lint_cases import report
from wflint.adapters import builtin_names, load_builtin
from wflint.config import Config, from_table
from wflint.diagnostics import Report
from wflint.effects import VALUE_CODES, load
from wflint.engine import check_texts
from wflint.explain import index, markdown
from wflint.fix.apply import fix_all
from wflint.rules import Case, Rule, all_rules, find_rule

DOCS = Path(__file__).parents[2] / "docs" / "lint"
RULES = list(all_rules().values())

CASES = [
    pytest.param(rule, kind == "bad", case, id=f"{rule.code}-{kind}-{number}")
    for rule in RULES
    for kind, cases in (("bad", rule.bad), ("good", rule.good))
    for number, case in enumerate(cases)
]

FIXED = [
    pytest.param(rule, case, id=f"{rule.code}-{number}")
    for rule in RULES
    for number, case in enumerate(rule.bad)
    if case.fixed is not None
]


def check(case: Case, text: str | None = None) -> Report:
    options: dict[str, Any] = {"level": "pedantic", "include-tests": True, **case.options}
    texts = {"flow.py": case.text() if text is None else text, **case.others}
    return check_texts(texts, from_table(options, Config(root="/project"))).report


@pytest.mark.parametrize(("rule", "expected", "case"), CASES)
def test_examples(rule: Rule, expected: bool, case: Case) -> None:
    found = check(case).diagnostics
    assert any(one.code == rule.code for one in found) == expected, [
        (one.line, one.code, one.message) for one in found
    ]


@pytest.mark.parametrize(("rule", "case"), FIXED)
def test_fixes(rule: Rule, case: Case) -> None:
    text = case.text()

    def again(texts: dict[str, str]) -> Report:
        return check(case, texts.get("flow.py", text))

    fixed = fix_all(check(case), lambda _: text, again, unsafe=rule.fix == "unsafe")
    assert case.fixed is not None
    body = "\n".join(f"    {line}" for line in case.fixed.splitlines())
    assert body in fixed.texts["flow.py"]
    assert rule.code not in {one.code for one in fixed.report.diagnostics}


def test_rules_are_complete() -> None:
    for code, rule in all_rules().items():
        assert re.fullmatch(r"WFL[0-7]\d\d", code)
        assert rule.bad, code
        assert rule.good, code
        assert rule.why.endswith("."), code
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name), code
        rule.message.format(symbol="", detail="", instead="", sink="")
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert find_rule("wfl101") is find_rule("set-iteration") is all_rules()["WFL101"]


def test_effects_and_adapters_name_rules_that_exist() -> None:
    known = set(all_rules())
    effects = load()
    named = {effect.code for effect in effects.symbols.values()}
    named |= {effect.code for effect in effects.patterns.values()}
    named |= {code for _, code, _ in effects.modules.values()} | set(VALUE_CODES)
    assert named - {""} <= known
    for name in builtin_names():
        adapter = load_builtin(name)
        assert adapter.off <= known, name
        assert {key for key in adapter.replace if key != "effect"} <= known, name


def test_what_is_named_by_rules_as_severity_is_one() -> None:
    for rule in RULES:
        assert rule.severity in ("error", "warning", "info")
        assert rule.scale in ("fixed", "sink", "unless-logged")
        assert rule.level in ("default", "strict", "pedantic")
        assert rule.fix in ("safe", "unsafe", "hint")


def test_the_required_rules_are_errors_at_every_sink_but_logging() -> None:
    text = (
        "import time\nimport perdure\nfrom perdure import workflow\n\n@workflow\n"
        "async def flow() -> float:\n    perdure.logger.info('%s', time.time())\n"
        "    return time.monotonic()\n"
    )
    found = {(one.line, one.severity) for one in report(text).diagnostics}
    assert found == {(7, "info"), (8, "error")}


def test_pages_are_those_of_the_rules() -> None:
    """`python tests/lint/write_pages.py` writes them."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "rules").iterdir()}
    expected = {f"{rule.code}.md": markdown(rule) for rule in RULES}
    expected["README.md"] = index()
    assert pages == expected
