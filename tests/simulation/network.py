"""Processes that die and freeze, and a network between them and the store that does its worst."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import Any

from perdure import BackendUnavailableError
from perdure_backends import Wakeups
from perdure_backends.memory import MemoryBackend


@dataclasses.dataclass(frozen=True)
class Faults:
    """What goes wrong, as probabilities for each call or each second."""

    delay: float = 0.02
    lost_request: float = 0.02
    lost_answer: float = 0.02
    doubled: float = 0.01
    kills: float = 0.1
    freezes: float = 0.05
    drift: float = 0.05


class Process:
    """A simulated process: alive, frozen or dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self._pending: list[asyncio.Future[None]] = []
        self._thawed = asyncio.Event()
        self._thawed.set()

    def kill(self) -> None:
        """Nothing of it happens any more."""
        self.dead = True

    def freeze(self) -> None:
        """Its calls neither leave nor arrive until it is thawed."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Goes on as if nothing had been."""
        self._thawed.set()

    async def gate(self) -> None:
        """Passes when the process runs; never, once it is dead."""
        await self._thawed.wait()
        if self.dead:
            never = asyncio.get_running_loop().create_future()
            self._pending.append(never)  # or the garbage collector would end who waits for it
            await never


MUTATING = frozenset(
    {
        *("start", "send", "commit", "release", "settle", "heartbeat", "end_session"),
        *("ask", "answer", "claim_queries"),
    }
)


class Link:
    """A store as one process sees it, over the network."""

    def __init__(
        self,
        store: MemoryBackend,
        process: Process,
        rng: random.Random,
        faults: Faults,
        trace: Callable[[str], None],
    ) -> None:
        self._store = store
        self._process = process
        self._rng = rng
        self._faults = faults
        self._trace = trace
        self._late: set[asyncio.Task[Any]] = set()

    @property
    def wakeups(self) -> Wakeups:
        """The store's."""
        return self._store.wakeups

    @property
    def url(self) -> str:
        """For people."""
        return f"sim://{self._process.name}"

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""

    async def keep_session(self, session_id: str) -> Any:
        """A keeper whose renewals go over the network too."""
        return _Keeper(self, session_id)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        target = getattr(self._store, name)

        async def call(*args: Any) -> Any:
            return await self.transmit(name, target, args)

        return call

    async def renew(self, session_id: str) -> bool:
        """Renews a session over the network."""
        answer: bool = await self.transmit("renew", self._store.renew_session, (session_id,))
        return answer

    async def transmit(self, name: str, target: Callable[..., Awaitable[Any]], args: Any) -> Any:
        """One call, with what may happen to it on the way."""
        rng, faults = self._rng, self._faults
        await self._process.gate()
        await asyncio.sleep(rng.expovariate(1 / faults.delay))
        await self._process.gate()
        if rng.random() < faults.lost_request:
            self._trace(f"{self._process.name}: {name} lost on its way")
            raise BackendUnavailableError("the request was lost")
        result = await target(*args)
        self._trace(f"{self._process.name}: {name}{_brief(args)} -> {_brief(result)}")
        if name in MUTATING and rng.random() < faults.doubled:
            late = asyncio.ensure_future(self._again(name, target, args))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        if rng.random() < faults.lost_answer:
            self._trace(f"{self._process.name}: the answer to {name} is lost")
            raise BackendUnavailableError("the answer was lost")
        await asyncio.sleep(rng.expovariate(1 / faults.delay))
        await self._process.gate()
        return result

    async def _again(self, name: str, target: Callable[..., Awaitable[Any]], args: Any) -> None:
        await asyncio.sleep(self._rng.expovariate(1 / (20 * self._faults.delay)))
        result = await target(*args)
        self._trace(f"{self._process.name}: {name} arrives again -> {_brief(result)}")


class _Keeper:
    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id

    async def renew(self) -> bool:
        return await self._link.renew(self._session_id)

    async def aclose(self) -> None:
        pass


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "…"
