"""Each turn replayed from the start in another process, where whatever may differ does differ.

The helper has another hash seed, time zone and locale, and other addresses. What a run does there
and what it did here must be the same.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, Final, cast

import msgspec
from perdure import (
    DataConverter,
    InternalError,
    JsonConverter,
    Middleware,
    UsageError,
    Workflow,
)
from perdure_backends import Backend

from .._core import Execution, Fault

_REMEMBERED: Final = 1000
"""Runs whose records the helper keeps."""

_HISTORY_PAGE: Final = 500
_LENGTH: Final = struct.Struct("<Q")


class Request(msgspec.Struct):
    """What the helper is asked: whether turns of a run, behind those that it has, fit the code.

    Attributes:
        module, file: where the workflow is.
        kept: how many turns the helper is to have already.
        records: the turns behind them.
        forget: runs that are not asked for any more.
        options: converter and middleware, pickled by this process; empty for the default ones.
    """

    module: str
    file: str
    workflow: str
    version: int
    instance_id: str
    run_id: str
    started_at: int
    kept: int
    records: list[bytes]
    forget: list[str]
    guard: bool
    options: bytes


class Reply(msgspec.Struct):
    """The divergence, in one line and in several; empty when there is none.

    Attributes:
        missing: it does not have the earlier turns (any more), all are needed.
    """

    missing: bool = False
    message: str = ""
    text: str = ""
    location: str = ""


class Paranoid:
    """Has turns replayed elsewhere before they are committed.

    Where the helper can't be asked, the worker logs that, and the turn counts.

    Args:
        backend: where earlier turns are read.
        converter, middleware, guard: as the worker's.
        blocking: wait for the helper in the calling thread, so that no time passes meanwhile.

    Raises:
        UsageError: converter or middleware can't be handed to another process.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        converter: DataConverter,
        middleware: Sequence[Middleware] = (),
        guard: bool = True,
        blocking: bool = False,
    ) -> None:
        self._backend = backend
        self._guard = guard
        self._blocking = blocking
        self._options = _pickled(converter, tuple(middleware))

    def admit(self, workflow: Workflow[..., Any]) -> None:
        """Raises UsageError when another process can't find a workflow."""
        home_of(workflow)

    async def check(self, execution: Execution, record: bytes) -> Fault | None:
        """Whether a turn that was just run goes the same way elsewhere.

        Args:
            execution: that ran it.
            record: the turn as it is to be stored.

        Raises:
            InternalError: the helper has died.
            BackendError: earlier turns can't be read.
        """
        workflow = execution.workflow
        home = home_of(workflow)
        if home is None:
            return None  # a stand-in of the test kit
        helper = _helper()
        before = execution.turn - 1
        request = Request(
            module=home[0],
            file=home[1],
            workflow=workflow.name,
            version=workflow.definition.version,
            instance_id=execution.instance_id,
            run_id=execution.run_id,
            started_at=execution.started_at,
            kept=before,
            records=[record],
            forget=[],
            guard=self._guard,
            options=self._options,
        )
        reply = await self._ask(helper, request)
        if reply.missing:
            request.kept = 0
            request.records = [*await self._records(execution.run_id, before), record]
            reply = await self._ask(helper, request)
        if not reply.message:
            return None
        return Fault(
            "nondeterministic",
            "a replay in another process, with another hash seed, time zone and locale, went "
            f"another way: {reply.text}",
            {"location": reply.location, "turn": str(execution.turn)},
        )

    async def _ask(self, helper: _Helper, request: Request) -> Reply:
        if self._blocking:
            return helper.ask(request)
        return await asyncio.to_thread(helper.ask, request)

    async def _records(self, run_id: str, turns: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < turns:
            page = await self._backend.read_history(run_id, len(found), _HISTORY_PAGE)
            if not page:
                raise InternalError(f"turns of run {run_id} are missing in the store")
            found += page
        return found[:turns]


def home_of(workflow: Workflow[..., Any]) -> tuple[str, str] | None:
    """Module and file in which another process finds a workflow; ``None`` for a stand-in.

    Raises:
        UsageError: it is not to be found by name: it was defined inside a function.
    """
    function = workflow.definition.function
    name = str(getattr(function, "__module__", ""))
    if name.startswith("perdure_runtime.testing"):
        return None
    module = sys.modules.get(name)
    if module is None or find(vars(module), workflow.name, workflow.definition.version) is None:
        raise UsageError(
            f"workflow {workflow.name!r} can't be replayed in another process: define it at the "
            f"top of a module, not inside a function ({name}.{function.__qualname__})"
        )
    return name, str(getattr(module, "__file__", "") or "")


def find(names: dict[str, Any], name: str, version: int) -> Workflow[..., Any] | None:
    """A workflow among the names of a module."""
    for value in names.values():
        if isinstance(value, Workflow):
            found = cast("Workflow[..., Any]", value)
            if found.name == name and found.definition.version == version:
                return found
    return None


def _pickled(converter: DataConverter, middleware: tuple[Middleware, ...]) -> bytes:
    plain = type(converter) is DataConverter and type(converter.converter) is JsonConverter
    if plain and not converter.codecs and not middleware:
        return b""
    try:
        return pickle.dumps((converter, middleware))
    except Exception as error:
        raise UsageError(
            "paranoid mode hands converter and middleware to another process, and they can't be "
            f"pickled: {error}"
        ) from error


# --- the helper's process -------------------------------------------------------------------


class _Helper:
    """The process, and what it remembers. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: collections.OrderedDict[str, None] = collections.OrderedDict()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Request) -> Reply:
        """Waits for an answer. The next one is asked of a new process if this one has died.

        Raises:
            InternalError: it has died.
        """
        with self._lock:
            self._used[request.run_id] = None
            self._used.move_to_end(request.run_id)
            while len(self._used) > _REMEMBERED:
                request.forget.append(self._used.popitem(last=False)[0])
            try:
                return self._exchange(request)
            except (OSError, EOFError, msgspec.MsgspecError) as error:
                self.stop()
                raise InternalError(f"the process that replays has died: {error}") from error

    def _exchange(self, request: Request) -> Reply:
        process = self.process
        if process is None:
            process = self.process = _start()
        if process.stdin is None or process.stdout is None:
            raise InternalError("a helper without pipes")
        write_frame(process.stdin, msgspec.msgpack.encode(request))
        return msgspec.msgpack.decode(read_frame(process.stdout), type=Reply)

    def stop(self) -> None:
        """Ends the process."""
        process, self.process = self.process, None
        self._used.clear()
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()  # it ends by itself, like this
                    except OSError:
                        pass
            process.kill()
            process.wait()


helpers: Final[dict[int, _Helper]] = {}


def _helper() -> _Helper:
    """One for each process, also after a fork."""
    found = helpers.get(os.getpid())
    if found is None:
        helpers.clear()
        found = helpers[os.getpid()] = _Helper()
        atexit.register(found.stop)
    return found


def _start() -> subprocess.Popen[bytes]:
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    seed = os.environ.get("PYTHONHASHSEED", "")
    zone = os.environ.get("TZ", "")
    other = {
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "4711" if seed != "4711" else "4712",
        "TZ": "<+1345>-13:45" if zone != "<+1345>-13:45" else "<-0930>9:30",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from perdure_runtime._replay._helper import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **other},
    )


def write_frame(pipe: IO[bytes], data: bytes) -> None:
    """Bytes behind their length."""
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes:
    """Raises EOFError when the other side is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError("nothing more comes")
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError("it was cut off")
    return data
