"""The audit log: who did what to an instance, and why; kept in the store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from perdure_backends import Backend, Documents, new_id
from perdure_backends.records import Document

AUDIT: Final = "audit"
"""The collection. Keys begin with the time, so that they are in order."""

_log: Final = logging.getLogger("perdure.audit")


class Entry(msgspec.Struct, omit_defaults=True):
    """An action.

    Attributes:
        at: the store's time, microseconds since the epoch.
        by: who acted.
        address: from where.
        details: what else there is to say, such as the name of a signal; never a payload.
        outcome: ``asked`` until it is known, then ``done`` or the type of the error.
    """

    at: int
    by: str
    action: str
    instance_id: str
    reason: str = ""
    details: str = ""
    address: str = ""
    outcome: str = "asked"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode


class Audit:
    """The log of a store. Also written to the logger ``perdure.audit``."""

    def __init__(self, backend: Backend) -> None:
        self._store = backend if isinstance(backend, Documents) else None

    @property
    def kept(self) -> bool:
        """Whether the store keeps it."""
        return self._store is not None

    async def write(self, entry: Entry, key: str | None = None) -> str:
        """Keeps an entry; the key that it gives is for its outcome."""
        key = key if key is not None else f"{entry.at:020d}-{new_id()[:12]}"
        if self._store is not None:
            await self._store.put_documents([Document(AUDIT, key, _encode(entry))])
        if entry.outcome != "asked":
            _log.info(
                "%s by %s: %s (%s)",
                entry.action,
                entry.by,
                entry.outcome,
                entry.reason or "no reason given",
                extra={"instance_id": entry.instance_id, "reason": entry.reason},
            )
        return key

    async def read(self, after: str | None, limit: int) -> tuple[list[Entry], str | None]:
        """Entries, the newest first, and what continues behind them."""
        if self._store is None:
            return [], None
        page = await self._store.list_documents(AUDIT, after, limit + 1, newest_first=True)
        entries: list[Entry] = []
        for one in page[:limit]:
            try:
                entries.append(_decode(one.value))
            except msgspec.MsgspecError:
                continue  # of another version
        return entries, page[limit - 1].key if len(page) > limit else None
