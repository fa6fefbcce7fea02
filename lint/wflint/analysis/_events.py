"""What the analysis finds: places with a code, ambient inputs, and where those end up.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

CONTROL: Final = "control flow"
IDENTITY: Final = "the identity of a command"
PAYLOAD: Final = "a command's payload"
STATE: Final = "workflow state or result"
LOG: Final = "logging"
ESCAPE: Final = "code that is not known"
"""Where a value may end up, from the worst."""

SINKS: Final = (CONTROL, IDENTITY, PAYLOAD, ESCAPE, STATE, LOG)


@dataclass(slots=True)
class Edit:
    """A replacement of text, by offsets."""

    start: int
    end: int
    text: str


@dataclass(slots=True)
class Fix:
    """What would remove a finding.

    Attributes:
        safety: ``safe`` or ``unsafe``.
        edits: replacements in the finding's own file.
        imports: modules or ``module:name`` that the new text needs.
    """

    safety: str
    edits: list[Edit]
    imports: tuple[str, ...] = ()


@dataclass(slots=True)
class Event:
    """Something that a rule has a say in.

    Attributes:
        symbol: what it is about, as users call it.
        detail: more for the message.
        quiet: it only happens when nothing is replayed.
        mode: what kind of code it stands in.
        sink: the order of things ends up in logging only.
    """

    code: str
    module: str
    start: int
    end: int
    symbol: str = ""
    detail: str = ""
    quiet: bool = False
    mode: str = "workflow"
    log_only: bool = False
    fix: Fix | None = None
    data: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Two events with the same key are one finding."""
        return (self.code, self.module, self.start, self.symbol)


@dataclass(slots=True)
class Source:
    """An ambient input: a value that differs from run to run, or from worker to worker."""

    number: int
    code: str
    module: str
    start: int
    end: int
    symbol: str
    detail: str = ""
    fix: Fix | None = None
    sinks: set[str] = field(default_factory=set[str])
    mode: str = "workflow"
    is_sorted: bool = False
