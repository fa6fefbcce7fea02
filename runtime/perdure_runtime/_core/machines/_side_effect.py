"""A side effect: its function runs once, its value is recorded, replays return the record.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure import NonDeterminismError, Serializer
from perdure_backends.history import Command, SideEffectRecorded

from ._base import Owner


class SideEffects:
    """Has no state between steps: a side effect is issued and done within one call."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def run(
        self,
        number: int,
        function: Callable[[], Any],
        serializer: Serializer,
        recorded: Command | None,
        *,
        replaying: bool,
    ) -> Any:
        """The value, from the record while replaying.

        Raises:
            NonDeterminismError: history has something else under this number.
        """
        if not replaying:
            payload = serializer.encode_checked(function())
        elif isinstance(recorded, SideEffectRecorded):
            payload = recorded.value
        else:
            raise NonDeterminismError("a side effect that the history does not have")
        self._owner.issue(SideEffectRecorded(number, payload))
        # Decoded even when it was just made: the code sees the same value at each replay.
        return serializer.decode(payload)
