"""Answers queries: from the instance in memory, or from its committed history.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from perdure import BackendError, Failure, PerdureError
from perdure_backends import Backend
from perdure_backends import history as h
from perdure_backends.records import QueryAnswer, QueryClaim, QueryTask

from .._batcher import Batcher
from .._registry import Registry
from ._instances import Instances
from ._loading import Loader

_log: Final = logging.getLogger("perdure.runtime")

_AT_ONCE: Final = 20


class QueryRunner:
    """Takes queries from the store and answers them. Needs no lease and leaves no trace."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        instances: Instances,
        loader: Loader,
        *,
        queues: tuple[str, ...],
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._instances = instances
        self._loader = loader
        self._queues = queues
        self._running: set[asyncio.Task[None]] = set()
        self._answers: Batcher[QueryAnswer, None] = Batcher(self._send, patience=5.0)

    async def take(self, session_id: str) -> None:
        """Starts answering what waits."""
        limit = _AT_ONCE - len(self._running)
        if limit <= 0:
            return
        tasks = await self._backend.claim_queries(
            QueryClaim(
                session_id=session_id,
                queues=self._queues,
                offers=self._registry.offers,
                limit=limit,
            )
        )
        for task in tasks:
            running = asyncio.get_running_loop().create_task(self._answer(task))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Gives up what is being answered; others take it."""
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running))
        await self._answers.idle()

    async def _answer(self, task: QueryTask) -> None:
        try:
            outcome = await self._ask(task)
        except (BackendError, h.NewerHistoryError) as error:
            _log.warning("a query of %r could not be answered: %s", task.instance_id, error)
            return
        except Exception as error:
            _log.exception("internal error in a query of %r", task.instance_id)
            outcome = Failure.of(error)
        answer = (
            QueryAnswer(id=task.id, failure=outcome)
            if isinstance(outcome, Failure)
            else QueryAnswer(id=task.id, result=outcome)
        )
        self._answers.submit(answer, lambda _: None)

    async def _ask(self, task: QueryTask) -> bytes | Failure:
        asked = h.decode_query(task.entry)
        live = self._instances.idle(task.run_id, task.turn)
        if live is not None and live.execution is not None:
            answer = live.execution.query(asked.name, asked.argument, asked.headers)
            if live.execution.tainted:
                self._instances.discard(live)
            return answer
        execution = self._loader.make_execution(task)
        try:
            fault = await self._loader.replay(execution, task.run_id, task.turn)
            if fault is not None:
                return Failure(
                    "CodeDoesNotFit",
                    f"the code of the worker that was asked does not fit the history: "
                    f"{fault.message}",
                )
            return execution.query(asked.name, asked.argument, asked.headers)
        finally:
            execution.close()

    async def _send(self, answers: Sequence[QueryAnswer]) -> Sequence[None]:
        try:
            await self._backend.answer(answers)
        except PerdureError as error:
            _log.warning("answers to queries are not stored: %s", error)
        return [None] * len(answers)
