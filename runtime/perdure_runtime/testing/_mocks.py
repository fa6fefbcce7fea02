"""Stand-ins for activities and sub-workflows, typed as what they stand for.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import collections
import copy
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import msgspec
from perdure import Activity, UsageError, Workflow, is_replaying
from perdure.extension import ActivityDefinition

P = ParamSpec("P")
R = TypeVar("R")


class MockCall(NamedTuple):
    """How a mock was called: arguments in the order of the parameters, defaults filled in."""

    args: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.args))})"


class Mock(Generic[P, R]):
    """Stands for an activity or sub-workflow; made by ``env.mock(…)``.

    Arguments and results go through the converter as those of the real thing do. Without any
    behaviour, a call fails the test with a message that says so.

    Attributes:
        calls: each call that reached it; of activities each attempt.
    """

    def __init__(self, original: Activity[P, R] | Workflow[P, R]) -> None:
        self.original = original
        self.calls: list[MockCall] = []
        self._once: collections.deque[Callable[..., Any]] = collections.deque()
        self._always: Callable[..., Any] | None = None

    @property
    def kind(self) -> str:
        """``activity`` or ``workflow``."""
        return "activity" if isinstance(self.original, Activity) else "workflow"

    # --- behaviour

    def returns(self, value: R) -> Mock[P, R]:
        """Each call returns this."""
        self._always = _constant(value)
        return self

    def returns_each(self, *values: R) -> Mock[P, R]:
        """The next calls return these, one after the other."""
        self._once.extend(_constant(value) for value in values)
        return self

    def raises(self, error: BaseException, *, times: int | None = None) -> Mock[P, R]:
        """Calls raise this.

        Args:
            times: only the next so many do; all of them by default.
        """

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise error

        if times is None:
            self._always = fail
        else:
            self._once.extend([fail] * times)
        return self

    def runs(self, fake: Callable[P, R] | Callable[P, Awaitable[R]]) -> Mock[P, R]:
        """Each call runs this function, plain or ``async``.

        Raises:
            UsageError: it can't be called as the original is.
        """
        self._check(fake)
        self._always = fake
        return self

    # --- assertions

    def assert_called(self, times: int | None = None) -> None:
        """It was called (so many times).

        Raises:
            AssertionError: it was not.
        """
        count = len(self.calls)
        if (times is None and count) or times == count:
            return
        wanted = "at least once" if times is None else _times(times)
        raise AssertionError(
            f"{self.kind} {self.original.name!r} was to be called {wanted}, and was called "
            f"{_times(count)}{self._shown()}"
        )

    def assert_not_called(self) -> None:
        """Nobody called it. Raises as :meth:`assert_called`."""
        self.assert_called(0)

    def assert_called_with(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Some call had these arguments. Raises as :meth:`assert_called`."""
        wanted = self._bound(args, kwargs)
        if wanted not in self.calls:
            raise AssertionError(
                f"{self.kind} {self.original.name!r} was never called with {wanted}"
                f"{self._shown() or '; it was not called'}"
            )

    def assert_called_once_with(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """There was one call, with these arguments. Raises as :meth:`assert_called`."""
        self.assert_called(1)
        wanted = self._bound(args, kwargs)
        if self.calls[0] != wanted:
            raise AssertionError(
                f"{self.kind} {self.original.name!r} was called with {self.calls[0]}, "
                f"not with {wanted}"
            )

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MockCall:
        return MockCall(tuple(self.original.definition.signature.bind(args, kwargs)))

    def _shown(self) -> str:
        return "".join(f"\n  {call}" for call in self.calls)

    # --- for the environment

    def definition(self) -> Activity[..., Any] | Workflow[..., Any]:
        """What the worker gets in place of the original."""
        signature = copy.copy(self.original.definition.signature)
        signature.injected = ()
        signature.method = False

        async def stand_in(*args: Any, **kwargs: Any) -> Any:
            if self.kind == "activity" or not is_replaying():
                self.calls.append(self._bound(args, kwargs))
            behaviour = self._next()
            result = behaviour(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        stand_in.__name__ = stand_in.__qualname__ = f"mock_of_{self.original.name}"
        definition = self.original.definition
        changes: dict[str, Any] = {"function": stand_in, "signature": signature}
        if isinstance(definition, ActivityDefinition):
            changed = msgspec.structs.replace(
                definition, is_async=True, executor="thread", implemented=True, **changes
            )
            return Activity(changed, self.original.default_options)  # type: ignore[arg-type]
        renewed = msgspec.structs.replace(definition, implemented=True, **changes)
        return Workflow(renewed, self.original.default_options)  # type: ignore[arg-type]

    def _next(self) -> Callable[..., Any]:
        if self._once:
            return self._once.popleft()
        if self._always is None:
            raise UsageError(
                f"the mock of {self.kind} {self.original.name!r} was called and does not know what "
                "to do: say returns(…), returns_each(…), raises(…) or runs(…)"
            )
        return self._always

    def _check(self, fake: Callable[..., Any]) -> None:
        wanted = self.original.definition.signature
        positional = [p for p in wanted.parameters if p.kind is not p.KEYWORD_ONLY]
        try:
            inspect.signature(fake).bind(
                *positional, **dict.fromkeys(wanted.keyword_only, positional)
            )
        except TypeError as error:
            given = inspect.signature(fake)
            shown = inspect.Signature(list(wanted.parameters))
            raise UsageError(
                f"the fake {getattr(fake, '__qualname__', fake)}{given} can't be called as "
                f"{self.kind} {self.original.name}{shown} is: {error}"
            ) from None


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
