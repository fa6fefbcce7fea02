"""A call kept for later: the target with its options, and its bound arguments.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Call(Generic[R_co]):
    """What ``checkout.bind(order)`` gives: taken by methods that start something later."""

    __slots__ = ("arguments", "target")

    def __init__(self, target: Any, arguments: tuple[Any, ...]) -> None:
        self.target = target
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"<call of {self.target!r}>"
