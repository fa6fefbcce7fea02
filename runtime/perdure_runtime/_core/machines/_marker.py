"""Patch markers: which changes of the code this run has seen from the start.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from perdure_backends.history import Command, PatchRecorded

from ._base import Owner


class PatchMarkers:
    """Decides once for each id and run: new code leaves a marker, old histories have none."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._decided: dict[str, bool] = {}

    def known(self, patch_id: str) -> bool | None:
        """What was decided for an id, if something was."""
        return self._decided.get(patch_id)

    def decide(
        self, patch_id: str, number: int, recorded: Command | None, *, replaying: bool
    ) -> bool:
        """Whether the new code is taken; if so, command ``number`` is the marker."""
        taken = not replaying or (isinstance(recorded, PatchRecorded) and recorded.id == patch_id)
        self._decided[patch_id] = taken
        if taken:
            self._owner.issue(PatchRecorded(number, patch_id))
        return taken

    def retire(self, patch_id: str, number: int, recorded: Command | None) -> bool:
        """The new code is all there is; whether command ``number`` is a marker of before."""
        self._decided[patch_id] = True
        found = isinstance(recorded, PatchRecorded) and recorded.id == patch_id
        if found:
            self._owner.issue(PatchRecorded(number, patch_id))
        return found
