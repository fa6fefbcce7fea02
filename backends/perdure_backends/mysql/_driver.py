"""aiomysql, which has no types, behind the few calls that we make.

PYTEST_DONT_REWRITE
"""

# aiomysql has neither types nor stubs; nothing of it leaves this module but as Any.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUntypedBaseClass=false

from __future__ import annotations

import asyncio
from typing import Any

import aiomysql  # type: ignore[import-untyped]
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import conversions

from .._relational import opened


class QuietCursor(aiomysql.Cursor):  # type: ignore[misc]
    """A cursor that does not ask for warnings, which would cost a round trip each time."""

    async def _show_warnings(self, conn: Any) -> None:
        pass


def connection_options() -> dict[str, Any]:
    """What connections must be opened with: options for ``aiomysql.create_pool``."""
    return {
        "charset": "utf8mb4",
        "autocommit": True,
        "client_flag": CLIENT.MULTI_STATEMENTS,
        "cursorclass": QuietCursor,
        # Text lies in VARBINARY columns, payloads in BLOBs.
        "conv": {**conversions, FIELD_TYPE.VAR_STRING: _as_text},
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "sql_mode": "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
    }


def _as_text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


async def connect(access: dict[str, Any]) -> Any:
    """A connection."""
    return await aiomysql.connect(**access)


class Pool:
    """aiomysql's pool behind a queue of our own.

    In its own, nobody is woken when a connection comes back that was closed, though there is room
    for another one then; and who is cancelled while a connection is made leaves it half open.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._size: int = pool.maxsize or 1000  # aiomysql's own: as many as are asked for
        self._free = asyncio.Semaphore(self._size)

    async def acquire(self) -> Any:
        """A connection, once one of them is free."""
        await self._free.acquire()
        try:
            if self._pool.freesize:
                return await self._pool.acquire()
            return await opened(self._pool.acquire(), self._pool.release)
        except BaseException:
            self._free.release()
            raise

    def release(self, raw: Any) -> None:
        """Takes a connection back."""
        self._pool.release(raw)
        self._free.release()

    async def close(self) -> None:
        """Waits until all are back, and closes them."""
        for _ in range(self._size):
            await self._free.acquire()
        self._pool.close()
        await self._pool.wait_closed()

    async def terminate(self) -> None:
        """Closes all at once."""
        self._pool.terminate()
        await self._pool.wait_closed()


async def create_pool(access: dict[str, Any], size: int) -> Pool:
    """A pool on the running event loop."""
    return Pool(await aiomysql.create_pool(minsize=1, maxsize=size, pool_recycle=1800, **access))


def changed(raw: Any) -> int:
    """Rows that the last statement has changed."""
    count: int = raw.affected_rows()
    return count


async def execute(raw: Any, text: str) -> list[list[Any]]:
    """Sends statements in one packet; the answers of those that select rows."""
    async with raw.cursor(QuietCursor) as cursor:
        await cursor.execute(text)
        answers: list[list[Any]] = []
        while True:
            if cursor.description:
                answers.append(await cursor.fetchall())
            if not await cursor.nextset():
                return answers
