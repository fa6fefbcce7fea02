"""Installs what watches, counts who needs it, and judges calls.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import (
    CodeType,
    FrameType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any, Final, NoReturn

from perdure import NonDeterministicCall, Workflow

from .._core import is_ours
from .._registry import is_installed
from ._table import AUDITED, CALLS, CLOCKS, MACHINERY, PYDEVD, SEEDLESS

MONITORING: Final = sys.version_info >= (3, 12)
"""Whether each call of workflow code is seen, and not only those through module attributes."""

# Typed loosely: 3.11, for which this project is checked, does not have it.
_monitoring: Final[Any] = getattr(sys, "monitoring", None)

_TOOL_NAME: Final = "perdure"
_MOST_HARMLESS: Final = 20_000
_STATIC: Final = (MethodDescriptorType, WrapperDescriptorType, type)
"""Kinds of callables of which there is one object each."""

_STDLIB: Final = frozenset(sys.stdlib_module_names)


# Threads in which workflow code runs now. Empty nearly always: that is what others pay for.
_running: Final[dict[int, int]] = {}


class Guard:
    """What an execution carries: that it is guarded, and which libraries may do as they like.

    Args:
        allow: names of modules or packages whose calls are not judged.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self.allow = tuple(allow)

    def enter(self) -> None:
        """Workflow code begins to run in this thread."""
        thread = threading.get_ident()
        _running[thread] = _running.get(thread, 0) + 1

    def leave(self) -> None:
        """It has yielded."""
        thread = threading.get_ident()
        depth = _running[thread] - 1
        if depth:
            _running[thread] = depth
        else:
            del _running[thread]

    def allows(self, module: str) -> bool:
        """Whether a module is one of the allowed ones, or in one of them."""
        return any(module == name or module.startswith(f"{name}.") for name in self.allow)


def _active() -> Guard | None:
    """The guard of the workflow that runs in this thread, if one is to be guarded now."""
    loop = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]  # documented as public
    context = getattr(loop, "workflow_context", None)
    return None if context is None else context.active_guard()


def _refuse(call: str, instead: str, frame: FrameType) -> NoReturn:
    raise NonDeterministicCall(call, instead, f"{frame.f_code.co_filename}:{frame.f_lineno}")


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@functools.cache
def _is_project(filename: str) -> bool:
    """Whether a file is the project's own: not the library, not installed, not ours."""
    return not (
        filename.startswith("<frozen")
        or is_ours(filename)
        or is_installed(os.path.realpath(filename))
    )


# --- Python 3.12 and later: calls made by chosen code objects -------------------------------


class _Monitor:
    """Watches the calls of workflows, and of the project's functions that they call."""

    def __init__(self) -> None:
        self._tool: int | None = None
        self._watched: set[CodeType] = set()
        self._forbidden: dict[Any, tuple[str, str]] = {}
        self._harmless: set[Any] = set()
        monitoring = _monitoring
        for tool in (4, 3):
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, _TOOL_NAME)
                monitoring.register_callback(tool, monitoring.events.CALL, self._callback())
                self._tool = tool
                return

    def refresh(self) -> None:
        """Learns of modules that were imported since."""
        for name, instead in CALLS.items():
            target = _resolve(name)
            if target is not None:
                self._forbidden[target] = (name, instead)

    def stop(self) -> None:
        if self._tool is not None:
            monitoring = _monitoring
            for code in self._watched:
                monitoring.set_local_events(self._tool, code, 0)
            monitoring.register_callback(self._tool, monitoring.events.CALL, None)
            monitoring.free_tool_id(self._tool)
        self._tool = None
        self._watched.clear()
        self._forbidden.clear()
        self._harmless.clear()

    def watch(self, code: CodeType) -> None:
        """Reports the calls of a code object, and of those within it."""
        if self._tool is None or code in self._watched:
            return
        self._watched.add(code)
        monitoring = _monitoring
        monitoring.set_local_events(self._tool, code, monitoring.events.CALL)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.watch(constant)

    def _callback(self) -> Callable[[CodeType, int, Any, Any], None]:
        harmless, judge = self._harmless, self._judge

        def called(code: CodeType, offset: int, target: Any, first: Any) -> None:
            # Runs at each call of workflow code: most of them call what was judged before.
            try:
                if target in harmless:
                    return
            except Exception:  # a callable object whose hash is its own affair
                return
            judge(target, first)

        return called

    def _judge(self, target: Any, first: Any) -> None:
        found = self._forbidden.get(target)
        if found is None:
            if self._follow(target, first) and len(self._harmless) < _MOST_HARMLESS:
                self._harmless.add(target)
            return
        guard = _active()
        if guard is not None:
            frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
            module = _module_of(frame)
            if not _is_machinery(module.partition(".")[0]) and not guard.allows(module):
                _refuse(*found, frame)

    def _follow(self, target: Any, first: Any) -> bool:
        """Helpers are watched from their first call on, if it comes from a workflow.

        Returns:
            Whether there is nothing to find out about this very object any more. Those that are
            made anew for each call (bound methods, closures) are not worth remembering.
        """
        lasting = not isinstance(target, MethodType)
        if not lasting:
            target = target.__func__
        elif isinstance(target, type):
            if target is _seedless():
                if first is _monitoring.MISSING and _active() is not None:
                    frame = sys._getframe(3)  # pyright: ignore[reportPrivateUsage]
                    _refuse(f"{SEEDLESS}() without a seed", CALLS["random.random"], frame)
                return False
            target = getattr(target, "__init__", None)
        if not isinstance(target, FunctionType):
            return lasting and isinstance(target, _STATIC)
        code = target.__code__
        if code not in self._watched:
            if _active() is None:
                return False
            if _is_project(code.co_filename):
                self.watch(code)
        return lasting and target.__closure__ is None


def _resolve(name: str) -> Any:
    """The object of a qualified name, or ``None`` where this platform does not have it."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is None and ".".join(parts[:length]) in ("time", "os", "random", "builtins"):
            module = importlib.import_module(".".join(parts[:length]))
        if module is not None:
            found: Any = module
            for part in parts[length:]:
                found = getattr(found, part, None)
            return found
    return None


@functools.cache
def _seedless() -> Any:
    return _resolve(SEEDLESS)


# --- Python 3.11: wrapped functions of modules ----------------------------------------------


class _Wrapper:
    """Puts a judge around functions of modules and methods of classes; classes stay as they are."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    def refresh(self) -> None:
        """Wraps what has been imported since."""
        wrapped = {(id(holder), attribute) for holder, attribute, _ in self._originals}
        for name, instead in CALLS.items():
            path, _, attribute = name.rpartition(".")
            holder = sys.modules.get(path) or _resolve(path)
            original = getattr(holder, attribute, None)
            if holder is None or original is None or isinstance(original, type):
                continue
            if (id(holder), attribute) in wrapped:
                continue
            try:
                setattr(holder, attribute, _judged(original, name, instead))
            except TypeError:  # a class written in C
                continue
            self._originals.append((holder, attribute, original))

    def stop(self) -> None:
        for holder, attribute, original in self._originals:
            setattr(holder, attribute, original)
        self._originals.clear()

    def watch(self, code: CodeType) -> None:
        """Nothing to do: whoever calls is judged."""


def _is_machinery(top: str) -> bool:
    return top in MACHINERY or top.startswith(PYDEVD)


def _judged(original: Callable[..., Any], name: str, instead: str) -> Callable[..., Any]:
    running = _running

    def judge() -> None:
        guard = _active()
        frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        if guard is None or not _is_project(frame.f_code.co_filename):
            return
        module = _module_of(frame)
        if not _is_machinery(module.partition(".")[0]) and not guard.allows(module):
            _refuse(name, instead, frame)

    @functools.wraps(original)
    def judged(*args: Any, **kwargs: Any) -> Any:
        if running:
            judge()
        return original(*args, **kwargs)

    @functools.wraps(original)
    def judged_clock() -> Any:
        if running:
            judge()
        return original()

    return judged_clock if name in CLOCKS else judged


# --- all versions: files, sockets, threads, processes ---------------------------------------


def _audit(event: str, arguments: Any) -> None:
    if not _running:
        return
    found = AUDITED.get(event)
    guard = _active() if found is not None else None
    if found is None or guard is None:
        return
    if event == "open" and f"{os.sep}zoneinfo{os.sep}" in str(arguments[0]):
        return  # ZoneInfo is written in C: its own frames are not there to be seen
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back  # a wrapper's own frame
    while frame is not None and not is_ours(frame.f_code.co_filename):
        module = _module_of(frame)
        top = module.partition(".")[0]
        if _is_machinery(top) or guard.allows(module) or "importlib" in frame.f_code.co_filename:
            return
        if top not in _STDLIB:
            _refuse(*found, frame)
        frame = frame.f_back


# --- installing -----------------------------------------------------------------------------

_lock: Final = threading.Lock()
_count = 0
_watcher: _Monitor | _Wrapper | None = None
_hooked = False


def installed() -> bool:
    """Whether anybody needs the guard now."""
    return _count > 0


def install(workflows: Iterable[Workflow[..., Any]]) -> None:
    """Starts watching these workflows, beside those that are watched already."""
    global _count, _watcher, _hooked
    with _lock:
        if _watcher is None:
            _watcher = _Monitor() if MONITORING else _Wrapper()
        _watcher.refresh()
        _count += 1
        if not _hooked:
            _hooked = True
            sys.addaudithook(_audit)  # for the life of the process; it rests while nobody needs it
        for workflow in workflows:
            _watcher.watch(workflow.definition.function.__code__)


def watch(workflow: Workflow[..., Any]) -> None:
    """Watches one more workflow, while somebody watches at all."""
    with _lock:
        if _watcher is not None:
            _watcher.watch(workflow.definition.function.__code__)


def uninstall() -> None:
    """Stops watching, once nobody needs it any more."""
    global _count, _watcher
    with _lock:
        _count -= 1
        if not _count and _watcher is not None:
            _watcher.stop()
            _watcher = None
