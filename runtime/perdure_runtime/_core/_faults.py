"""Why a turn could not be run or replayed: what a worker parks (or fails) an instance with.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses

from perdure import NonDeterminismError


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """The reason, as :class:`perdure_backends.records.Park` names it, and the facts.

    Attributes:
        reason: ``mismatch``, ``nondeterministic``, ``payload``, ``newer_history``,
            ``history_limit``, ``stuck``, ``blocked``, ``internal``.
        message: for people.
        details: the facts by name.
        error: the exception behind it, if there is one.
    """

    reason: str
    message: str
    details: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    error: BaseException | None = None

    @classmethod
    def mismatch(cls, error: NonDeterminismError) -> Fault:
        """Code and history disagree."""
        details = {
            "expected": error.expected or "nothing more",
            "actual": error.actual or "nothing more",
            "turn": str(error.turn),
            "position": str(error.position),
            "location": error.location,
            "recorded": error.recorded,
        }
        return cls("mismatch", str(error), details, error)
