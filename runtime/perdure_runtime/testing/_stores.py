"""The same tests on a real store, in real time.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from perdure_backends import open_backend

from ._base import Definitions


class StoreEnvironment(Definitions):
    """A worker and a client on a store; definitions are found, and mocked, as in tests without.

    Args:
        url: the store; migrated when it is opened.
        options: of the :class:`Worker`; ``queues``, too, where others than ``default`` are used.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.backend = open_backend(url)
        options.setdefault("poll_interval", 0.1)
        super().__init__(self.backend, **options)

    async def __aenter__(self) -> Self:
        await self.backend.open()
        try:
            return await super().__aenter__()
        except BaseException:
            await self.backend.aclose()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            await self.backend.aclose()
