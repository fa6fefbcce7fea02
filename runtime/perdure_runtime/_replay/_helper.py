"""The process that replays for paranoid workers.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import locale
import os
import pickle
import runpy
import sys
from typing import Any, Final

import msgspec
from perdure import PerdureError, Workflow
from perdure_backends import history as h

from ._files import History
from ._paranoid import Reply, Request, find, read_frame, write_frame
from ._replayer import Divergence, replay

_LOCALES: Final = ("tr_TR.UTF-8", "de_DE.UTF-8", "en_US.UTF-8", "C", "C.UTF-8")


def main() -> None:
    """Answers until its standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the user's modules print at import is no answer
    _other_locale()
    kept: dict[str, list[bytes]] = {}
    while True:
        try:
            frame = read_frame(sys.stdin.buffer)
        except (EOFError, KeyboardInterrupt):
            return
        request = msgspec.msgpack.decode(frame, type=Request)
        for run_id in request.forget:
            kept.pop(run_id, None)
        records = kept.get(request.run_id, [])[: request.kept]
        if len(records) < request.kept:
            write_frame(answers, msgspec.msgpack.encode(Reply(missing=True)))
            continue
        records += request.records
        kept[request.run_id] = records
        write_frame(answers, msgspec.msgpack.encode(_answer(request, records)))


def _answer(request: Request, records: list[bytes]) -> Reply:
    try:
        workflow = _workflow(request.module, request.file, request.workflow, request.version)
        converter, middleware = _options(request.options)
        run = History(
            request.instance_id,
            request.run_id,
            request.workflow,
            request.version,
            request.started_at,
            [h.decode_turn(record) for record in records],
        )
        result = replay(
            run,
            workflow,
            strict=True,
            converter=converter,
            middleware=middleware,
            guard=request.guard,
        )
    except Exception as error:
        problem = f"it could not be replayed there: {type(error).__name__}: {error}"
        return Reply(message=problem, text=problem)
    found = result.divergence
    if found is None:
        return Reply()
    return Reply(message=found.message, text=_text(found), location=found.location)


def _text(found: Divergence) -> str:
    # What to do about an edit is beside the point: there was none.
    return f"{found.message}\n  here: {found.expected or 'nothing more'}\n  there: " + (
        f"{found.actual or 'nothing more'}" + (f" at {found.location}" if found.location else "")
    )


@functools.cache
def _options(options: bytes) -> Any:
    # Written by the process that started this one, over a pipe that nobody else has.
    return pickle.loads(options) if options else (None, ())  # noqa: S301


@functools.cache
def _workflow(module: str, file: str, name: str, version: int) -> Workflow[..., Any]:
    found = find(_names(module, file), name, version)
    if found is None:
        raise PerdureError(f"module {module!r} has no workflow {name!r} here")
    return found


@functools.cache
def _names(module: str, file: str) -> dict[str, Any]:
    if module == "__main__":
        return runpy.run_path(file, run_name="__mp_main__")
    try:
        return vars(importlib.import_module(module))
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(module, file) if file else None
        if spec is None or spec.loader is None:
            raise
        loaded = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return vars(loaded)


def _other_locale() -> None:
    """Another one than the process has that asks, as far as the machine has one."""
    given = os.environ.get("LC_ALL") or os.environ.get("LANG") or "C"
    for name in _LOCALES:
        if name != given:
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, name)
                return
