"""Which server holds a shard: the only one, or a node of a Redis Cluster.

All keys of a shard share one slot, so each round trip concerns one node, and a plain client for
each node is enough. redis-py's own cluster client is not used: its pipelines are tried again behind
our back, commands that have succeeded among them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import redis.exceptions as errors

Node = tuple[str, int]
"""Host and port."""

Connect = Callable[[Node | None], Any]
"""A client on the running event loop, for a node or for the only server (``None``)."""


class Nodes(Protocol):
    """Clients on one event loop."""

    async def client(self, slot: int) -> Any:
        """The client of the server that holds a slot."""
        ...

    async def clients(self) -> list[Any]:
        """The clients of all servers that hold slots."""
        ...

    def moved(self, error: BaseException) -> bool:
        """Learns from an error; whether the same may be asked again at once."""
        ...

    async def aclose(self) -> None:
        """Closes the clients."""
        ...


class Single:
    """One server, which holds everything."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def client(self, slot: int) -> Any:
        """See :meth:`Nodes.client`."""
        return self._client

    async def clients(self) -> list[Any]:
        """See :meth:`Nodes.clients`."""
        return [self._client]

    def moved(self, error: BaseException) -> bool:
        """See :meth:`Nodes.moved`: nothing moves."""
        return False

    async def aclose(self) -> None:
        """See :meth:`Nodes.aclose`."""
        await self._client.aclose()


class Cluster:
    """The nodes of a Redis Cluster.

    Args:
        seeds: nodes that are asked first.
        connect: makes a client for a node.
    """

    def __init__(self, seeds: Sequence[Node], connect: Connect) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._clients: dict[Node, Any] = {}
        self._ranges: list[tuple[int, int, Node]] = []
        self._moves: dict[int, Node] = {}
        self._asking = asyncio.Lock()

    async def client(self, slot: int) -> Any:
        """See :meth:`Nodes.client`."""
        node = self._node(slot)
        if node is None:
            async with self._asking:
                if self._node(slot) is None:
                    await self._ask()
            node = self._node(slot)
        if node is None:
            raise errors.ConnectionError(f"no node of the cluster holds slot {slot}")
        return self._client_of(node)

    async def clients(self) -> list[Any]:
        """See :meth:`Nodes.clients`."""
        async with self._asking:
            if not self._ranges:
                await self._ask()
        return [self._client_of(node) for node in sorted({node for *_, node in self._ranges})]

    def _node(self, slot: int) -> Node | None:
        moved = self._moves.get(slot)
        if moved is not None:
            return moved
        for first, last, node in self._ranges:
            if first <= slot <= last:
                return node
        return None

    def _client_of(self, node: Node) -> Any:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._connect(node)
        return client

    async def _ask(self) -> None:
        """Asks one node after the other who holds what."""
        failed: Exception = errors.ConnectionError("no node of the cluster is known")
        for node in dict.fromkeys((*self._clients, *self._seeds)):
            try:
                answer = await self._client_of(node).execute_command("CLUSTER", "SLOTS")
            except (errors.RedisError, OSError) as error:
                if not isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError):
                    raise  # it answers, and will say the same again
                failed = error
                continue
            # A node that does not know its own address is where it was asked.
            self._ranges = [
                (int(first), int(last), ((master[0] or b"").decode() or node[0], int(master[1])))
                for first, last, master, *_ in answer
            ]
            self._moves.clear()
            return
        raise failed

    def moved(self, error: BaseException) -> bool:
        """See :meth:`Nodes.moved`."""
        if isinstance(error, errors.MovedError):
            told: Any = error
            self._moves[told.slot_id] = (told.host or self._seeds[0][0], told.port)
            return True
        over = errors.ReadOnlyError, errors.ClusterDownError
        if not isinstance(error, errors.ResponseError) or isinstance(error, over):
            # A node is gone, or no master any more: others will say who has taken over.
            self._ranges, self._moves = [], {}
        return False

    async def aclose(self) -> None:
        """See :meth:`Nodes.aclose`."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()
