"""Replays in a process of their own.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from typing import Any

from perdure import Workflow

from .._connect import connect
from .._loading import load
from ._verify import Verifier


def verify_chunk(target: str, url: str, run_ids: list[str], strict: bool) -> list[dict[str, Any]]:
    """Some runs, in a process of their own; gives fields of :class:`Verified`."""
    workflows = _workflows(target)

    async def main() -> list[dict[str, Any]]:
        async with connect(url) as backend:
            verifier = Verifier(backend, workflows, strict=strict)
            records = await backend.describe_runs(run_ids)
            return [
                dataclasses.asdict(await verifier.verify(record))
                for record in records
                if record is not None  # removed meanwhile
            ]

    return asyncio.run(main())


@functools.cache
def _workflows(target: str) -> list[Workflow[..., Any]]:
    """Those of a module, which a process runs once and not for each chunk."""
    return load(target)[0]
