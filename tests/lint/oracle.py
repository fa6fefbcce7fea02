"""Runs examples of rules on the replay core: ``python oracle.py record|replay FOLDER``.

``record`` runs each workflow to its end and keeps its history; ``replay``, in a process with
another hash seed, time zone, clock, environment and working directory, replays it and compares
commands with their payloads. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import sys
import time
import typing
from pathlib import Path
from typing import Any, cast

import msgspec
from perdure import DataConverter, WorkflowFailedError
from perdure_backends import history as h
from perdure_runtime import Client, Worker, connect
from perdure_runtime._core import Execution
from perdure_runtime._registry import definitions_in

NAMES = ["ada", "bob", "cleo", "dan", "eve", "fay"]
YEARS = 20 * 365 * 86400


def argument(kind: Any) -> Any:
    """A value of an annotated type."""
    origin = typing.get_origin(kind) or kind
    if origin in (set, frozenset):
        return set(NAMES) if origin is set else frozenset(NAMES)
    if origin is list:
        return list(NAMES)
    if origin is dict:
        return {name: number for number, name in enumerate(reversed(NAMES))}
    return {str: "ada", int: 3, float: 3.0, bool: True}.get(origin)


async def record(names: list[str], folder: Path) -> dict[str, str]:
    """Runs each workflow; what could not be run has a reason."""
    problems: dict[str, str] = {}
    async with connect(f"sqlite:///{folder / 'store.db'}?synchronous=NORMAL") as backend:
        client = Client(backend)
        for name in names:
            try:
                module = importlib.import_module(name)
                found = definitions_in(module)
                flow = module.flow
                kinds = typing.get_type_hints(flow.fn)
                kinds.pop("return", None)
                async with Worker(
                    backend,
                    workflows=found.workflows,
                    activities=found.activities,
                    queues=[name],
                    guard=False,
                ):
                    call = flow.options(id=name, queue=name)
                    async with asyncio.timeout(5):
                        await client.run(call, *(argument(kind) for kind in kinds.values()))
            except WorkflowFailedError:
                pass  # which is a history as well
            except Exception as error:
                problems[name] = f"{type(error).__name__}: {error}"
    return problems


def shuffled(value: Any) -> Any:
    """Dictionaries as a store gives them back that sorts their keys."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {key: shuffled(table[key]) for key in sorted(table)}
    if isinstance(value, list):
        return [shuffled(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


async def replay(names: list[str], folder: Path) -> dict[str, str]:
    """Replays each history; divergences by name."""
    diverged: dict[str, str] = {}
    async with connect(f"sqlite:///{folder / 'store.db'}?synchronous=NORMAL") as backend:
        client = Client(backend)
        for name in names:
            module = importlib.import_module(name)
            handle = client.handle_by_id(name)
            record = await handle.describe()
            execution = Execution(
                module.flow,
                instance_id=record.instance_id,
                run_id=record.run_id,
                started_at=record.started_at,
                converter=DataConverter(),
                strict=True,
            )
            async for turn in handle.history():
                events = [
                    msgspec.structs.replace(
                        event, input=json.dumps(shuffled(json.loads(event.input))).encode()
                    )
                    if isinstance(event, h.WorkflowStarted)
                    else event
                    for event in turn.events
                ]
                fault = execution.replay(msgspec.structs.replace(turn, events=events))
                if fault is not None:
                    diverged[name] = str(fault)[:300]
                    break
            execution.close()
    return diverged


def shift_the_clock() -> None:
    """The process that replays is years ahead."""
    real = time.time
    time.time = lambda: real() + YEARS


def main() -> None:
    verb, folder = sys.argv[1], Path(sys.argv[2])
    names: list[str] = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    sys.path.insert(0, str(folder))
    random.seed(verb)
    if verb == "replay":
        shift_the_clock()
    work = record if verb == "record" else replay
    sys.stdout.write(json.dumps(asyncio.run(work(names, folder))) + "\n")


if __name__ == "__main__":
    main()
