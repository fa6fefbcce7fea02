"""Environments for tests that are plain functions.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from perdure import Activity, Call, Duration, Signal, UsageError, Workflow

from .._sync import SyncHandle
from ._base import Definitions
from ._environment import Callback, Environment
from ._mocks import Mock
from ._store import Listener
from ._stores import StoreEnvironment

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E", bound=Definitions)


class Blocking(Generic[E]):
    """An environment whose methods block, on an event loop of its own.

    In an ``async`` test, ``async with env as inside:`` gives the asynchronous one, on that test's
    loop; nothing else of this object may be used then.

    Args:
        make: makes the environment.
        options: of it.
    """

    __test__ = False

    def __init__(self, make: Callable[..., E], **options: Any) -> None:
        self._make = make
        self._options = options
        self._runner: asyncio.Runner | None = None
        self._environment: E | None = None

    # --- life

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends worker and event loop. Idempotent."""
        runner, self._runner = self._runner, None
        environment, self._environment = self._environment, None
        if runner is not None:
            try:
                if environment is not None:
                    runner.run(environment.__aexit__(None, None, None))
            finally:
                runner.close()

    async def __aenter__(self) -> E:
        if self._runner is not None:
            raise UsageError("this environment has an event loop of its own already")
        self._environment = environment = self._make(**self._options)
        await environment.__aenter__()
        return environment

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            await environment.__aexit__(exc_type, exc, traceback)

    def configure(self, **options: Any) -> None:
        """Sets options of the environment, before its first use.

        Raises:
            UsageError: it is in use already.
        """
        if self._environment is not None:
            raise UsageError("configure() comes before anything else: the environment is in use")
        self._options.update(options)

    @property
    def used(self) -> bool:
        """Whether it runs on a loop of its own."""
        return self._runner is not None

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the environment's loop; for what has no method here."""
        return self._started().run(coroutine, context=contextvars.copy_context())

    @property
    def environment(self) -> E:
        """The asynchronous one behind this, on this one's loop."""
        self._started()
        if self._environment is None:
            raise UsageError("this environment is closed")
        return self._environment

    def _started(self) -> asyncio.Runner:
        if self._runner is not None:
            return self._runner
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError(
                "this is an async test: `async with env as inside:` gives what can be awaited"
            )
        runner = asyncio.Runner()
        environment = self._make(**self._options)
        try:
            # A worker elsewhere would know nothing of the context of this test either.
            runner.run(environment.__aenter__(), context=contextvars.Context())
        except BaseException:
            runner.close()
            raise
        self._runner, self._environment = runner, environment
        return runner

    # --- what all environments have

    def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Starts an instance and returns its result; see :meth:`Environment.run`."""
        return self.call(self.environment.run(workflow, *args, **kwargs))

    def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> SyncHandle[R]:
        """Starts an instance; see :meth:`Environment.start`."""
        return SyncHandle(self, self.call(self.environment.start(workflow, *args, **kwargs)))

    def signal_with_start(self, call: Call[R], signal: Signal[T], payload: T) -> SyncHandle[R]:
        """See :meth:`Environment.signal_with_start`."""
        started = self.environment.signal_with_start(call, signal, payload)
        return SyncHandle(self, self.call(started))

    def handle(self, instance_id: str, workflow: Workflow[P, R]) -> SyncHandle[R]:
        """A handle by id: of a sub-workflow, say."""
        return SyncHandle(self, self.environment.handle(instance_id, workflow))

    def register(self, *definitions: object) -> None:
        """See :meth:`Environment.register`."""
        self.environment.register(*definitions)

    @overload
    def mock(self, original: Activity[P, R]) -> Mock[P, R]: ...
    @overload
    def mock(self, original: Workflow[P, R]) -> Mock[P, R]: ...
    def mock(self, original: Activity[P, R] | Workflow[P, R]) -> Mock[P, R]:
        """See :meth:`Environment.mock`."""
        if isinstance(original, Workflow):
            return self.environment.mock(original)
        return self.environment.mock(original)


class SyncEnvironment(Blocking[Environment]):
    """An :class:`Environment` whose methods block.

    ::

        with SyncEnvironment() as env:
            env.mock(charge).returns(Receipt("r1"))
            assert env.run(checkout, order) == "r1"

    Args:
        options: of the :class:`Environment`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(Environment, **options)

    @property
    def now(self) -> datetime:
        """See :attr:`Environment.now`."""
        return self.environment.now

    def settle(self) -> None:
        """See :meth:`Environment.settle`."""
        self.call(self.environment.settle())

    def advance(self, by: Duration) -> None:
        """See :meth:`Environment.advance`."""
        self.call(self.environment.advance(by))

    def advance_to(self, moment: datetime) -> None:
        """See :meth:`Environment.advance_to`."""
        self.call(self.environment.advance_to(moment))

    def crash(self) -> None:
        """See :meth:`Environment.crash`."""
        self.call(self.environment.crash())

    def call_later(self, delay: Duration, callback: Callback) -> None:
        """See :meth:`Environment.call_later`; callbacks run on the environment's loop, where they
        use ``env.environment`` and its asynchronous handles."""
        self.environment.call_later(delay, callback)

    def call_at(self, moment: datetime, callback: Callback) -> None:
        """See :meth:`Environment.call_at`, and :meth:`call_later`."""
        self.environment.call_at(moment, callback)

    def listen(self, listener: Listener) -> None:
        """See :meth:`Environment.listen`."""
        self.environment.listen(listener)


class SyncStoreEnvironment(Blocking[StoreEnvironment]):
    """A :class:`StoreEnvironment` whose methods block: its worker runs while one of them does.

    Args:
        url: the store.
        options: of the :class:`Worker`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(StoreEnvironment, url=url, **options)
