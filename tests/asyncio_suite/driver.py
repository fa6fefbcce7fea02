"""Runs CPython's own asyncio tests against the deterministic loop.

Run as a script, in a process of its own, by an interpreter that has ``test.test_asyncio``::

    python driver.py test_tasks test_locks …

Prints one JSON object: tests run, skipped, and the ids of those that did not pass. What the loop
lacks on purpose (running itself, real time) is added here by a subclass; what it refuses on
purpose is switched off here or listed in ``exceptions.json``.
"""

from __future__ import annotations

import asyncio
import heapq
import importlib
import itertools
import json
import sys
import unittest
import warnings
from typing import Any

from perdure_runtime._core import _loop
from perdure_runtime._core._loop import WorkflowLoop

base_events: Any = importlib.import_module("asyncio.base_events")


class SuiteLoop(WorkflowLoop):
    """The loop plus what a test harness needs: it runs, it stops, its time jumps."""

    def __init__(self, gen: Any = None) -> None:
        super().__init__(1, self._arm_timer, lambda handle: None)
        self._heap: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._generator = gen() if gen is not None else None
        if self._generator is not None:
            next(self._generator)
        self._whens: list[float] = []
        self._stopping = False
        self._closed = False
        self._debug = False
        self._factory: Any = None
        self._default_executor = None
        self.slow_callback_duration = 0.1

    # --- running

    def run_forever(self) -> None:
        self._check_closed()
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")
        self._stopping = False
        with self.entered():
            while not self._stopping:
                self._run_once()
        self._stopping = False

    def _run_once(self) -> None:
        if not self._ready and self._generator is None and not self._stopping:
            self._jump()
        while self._heap and self._heap[0][0] <= self.time() + 1e-9:
            self._ready.append(heapq.heappop(self._heap)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        whens, self._whens = self._whens, []
        for when in whens:
            if self._generator is not None:
                self.advance_time(self._generator.send(when))

    def _jump(self) -> None:
        while self._heap and self._heap[0][2].cancelled():
            heapq.heappop(self._heap)
        if not self._heap:
            raise RuntimeError("the loop would wait for ever")
        self.microseconds = max(self.microseconds, round(self._heap[0][0] * 1_000_000))

    def run_until_complete(self, future: Any) -> Any:
        self._check_closed()
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False
        future.add_done_callback(self._stop_for)
        try:
            self.run_forever()
        except BaseException:
            if is_new and future.done() and not future.cancelled():
                future.exception()
            raise
        finally:
            future.remove_done_callback(self._stop_for)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def _stop_for(self, future: Any) -> None:
        if not future.cancelled() and isinstance(
            future.exception(), (SystemExit, KeyboardInterrupt)
        ):
            return
        self.stop()

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        self._closed = True
        self._ready.clear()
        self._heap.clear()
        if self._generator is not None:
            try:
                self._generator.send(0)
            except StopIteration:
                pass
            else:
                raise AssertionError("Time generator is not finished")

    def is_closed(self) -> bool:
        return self._closed

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    # --- time

    def advance_time(self, advance: float | None) -> None:
        if advance:
            self.microseconds += round(advance * 1_000_000)

    def _arm_timer(self, handle: asyncio.TimerHandle, delay: int) -> None:
        heapq.heappush(self._heap, (handle.when(), next(self._order), handle))

    def _timer(self, delay: int, callback: Any, args: Any, context: Any) -> asyncio.TimerHandle:
        self._check_closed()
        self._whens.append((self.microseconds + delay) / 1_000_000)
        return super()._timer(delay, callback, args, context)

    # --- what the harness expects

    def call_soon(  # type: ignore[override]  # as the base does
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self._check_closed()
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]  # as the base does
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        self._debug = enabled

    def set_task_factory(self, factory: Any) -> None:
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._factory = factory

    def get_task_factory(self) -> Any:
        return self._factory

    def create_task(
        self, coro: Any, *, name: Any = None, context: Any = None, **kwargs: Any
    ) -> Any:
        self._check_closed()
        if self._factory is None:
            return super().create_task(coro, name=name, context=context, **kwargs)
        if sys.version_info >= (3, 14):
            return self._factory(self, coro, name=name, context=context, **kwargs)
        if sys.version_info >= (3, 13):
            task = self._factory(self, coro, name=name, context=context, **kwargs)
        elif context is None:
            task = self._factory(self, coro)
        else:
            task = self._factory(self, coro, context=context)
        if name is not None and not task.done():
            task.set_name(name)
        return task

    async def shutdown_default_executor(self, timeout: Any = None) -> None:
        return

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        # Where the tests look; what exactly the text says is not theirs to check.
        lines = [str(context.get("message") or "Unhandled exception in event loop")]
        lines += [f"{key}: {context[key]!r}" for key in sorted(context) if key != "message"]
        error = context.get("exception")
        base_events.logger.error(
            "\n".join(lines),
            exc_info=(type(error), error, error.__traceback__) if error is not None else False,
        )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._handler is not None:
            self._call_handler(context)
        else:
            self.default_exception_handler(context)


def _allow(coro: Any) -> None:
    """In place of the refusal of as_completed over coroutines."""


def _install() -> Any:
    utils: Any = importlib.import_module("test.test_asyncio.utils")

    setattr(_loop, "_refuse_as_completed", _allow)  # noqa: B010  (ours, private)

    def new_test_loop(self: Any, gen: Any = None) -> SuiteLoop:
        loop = SuiteLoop(gen)  # type: ignore[abstract]  # refusing methods are set by name
        self.set_event_loop(loop)
        return loop

    utils.TestCase.new_test_loop = new_test_loop
    asyncio.events.new_event_loop = SuiteLoop
    asyncio.new_event_loop = SuiteLoop
    setattr(unittest.IsolatedAsyncioTestCase, "loop_factory", SuiteLoop)  # noqa: B010  (3.13+)


def _plain(test_id: str) -> str:
    return test_id.removeprefix("test.test_asyncio.")


def main(modules: list[str]) -> None:
    _install()
    suite = unittest.TestSuite()
    missing: list[str] = []
    for name in modules:
        try:
            module = importlib.import_module(f"test.test_asyncio.{name}")
        except ModuleNotFoundError:
            missing.append(name)
            continue
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    warnings.simplefilter("ignore")
    with open("/dev/null", "w") as quiet:
        result = unittest.TextTestRunner(quiet, verbosity=0).run(suite)
    failed = {_plain(t.id()): text for t, text in (*result.failures, *result.errors)}
    print(
        json.dumps(
            {
                "run": result.testsRun,
                "skipped": len(result.skipped),
                "missing": missing,
                "failed": {name: text[-1500:] for name, text in sorted(failed.items())},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
