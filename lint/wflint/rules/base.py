"""What a rule is: words about one kind of place, how bad it is, and examples that prove it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

FAMILIES: Final = {
    0: "tool hygiene",
    1: "ordering and identity",
    2: "ambient inputs",
    3: "I/O and side effects",
    4: "concurrency",
    5: "state and dynamic code",
    6: "workflow API",
    7: "signatures and data",
}

LEVELS: Final = ("default", "strict", "pedantic")


@dataclass(frozen=True, slots=True)
class Case:
    """An example.

    Attributes:
        body: statements of a workflow, or a whole file when ``whole``.
        before: what stands at the top of the file: imports, helpers, activities.
        signature: the workflow's parameters.
        fixed: the body as ``--fix`` (or ``--unsafe-fixes``) leaves it.
        adapter: the framework; whole files import theirs.
        others: further files by path.
        options: configuration, as in a file.
    """

    body: str
    before: str = ""
    signature: str = ""
    fixed: str | None = None
    whole: bool = False
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def text(self, body: str | None = None) -> str:
        """The file."""
        body = self.body if body is None else body
        if self.whole:
            return body
        lines = [self.before.rstrip(), ""] if self.before else []
        if "perdure" not in self.before:
            lines.insert(0, "import perdure\nfrom perdure import activity, workflow")
        lines += ["@activity", "async def act(value: object = None) -> str: ...", ""]
        lines += ["@workflow", f"async def flow({self.signature}) -> None:"]
        lines += [f"    {line}" if line else "" for line in body.splitlines()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        message: a template of ``{symbol}``, ``{detail}``, ``{instead}`` and ``{sink}``.
        severity: where it does not depend on where a value ends up.
        scale: ``fixed``; ``sink``: as bad as the worst place where the value ends up;
            ``unless-logged``: an error unless it only goes into a log.
        level: the set of rules that it belongs to.
        fix: ``safe``, ``unsafe`` or ``hint``.
        why: what goes wrong.
        replay: two runs side by side that diverge.
        wrong_if: when the finding is wrong, or of no interest.
        local: looks at one place only, not at what reaches it.
    """

    code: str
    name: str
    message: str
    severity: str
    why: str
    bad: tuple[Case, ...]
    good: tuple[Case, ...]
    scale: str = "fixed"
    level: str = "default"
    fix: str = "hint"
    replay: str = ""
    wrong_if: str = ""
    local: bool = False

    @property
    def family(self) -> str:
        """What it is about."""
        return FAMILIES[int(self.code[3])]
