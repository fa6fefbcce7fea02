"""The standard library's functions whose results matter beyond their effects.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..syntax import Node
from ._base import Arg
from ._events import ESCAPE
from ._methods import check_key
from ._values import UNKNOWN, Type, Value, elements_of, join, join_all, of, tainted

if TYPE_CHECKING:
    from ._calls import Calls

_TASKS: Final = frozenset(
    {
        *("asyncio.create_task", "asyncio.ensure_future", "asyncio.shield", "asyncio.wait_for"),
        *("asyncio.TaskGroup.create_task", "asyncio.AbstractEventLoop.create_task"),
        *("asyncio.timeout", "asyncio.timeout_at"),
    }
)

_RUNNING: Final = frozenset(
    {
        *("asyncio.create_task", "asyncio.ensure_future", "asyncio.TaskGroup.create_task"),
        *("asyncio.AbstractEventLoop.create_task",),
    }
)

_RAW: Final = frozenset(
    {
        *("asyncio.sleep", "asyncio.wait_for", "asyncio.timeout", "asyncio.timeout_at"),
        *("asyncio.create_task", "asyncio.ensure_future", "asyncio.TaskGroup"),
        *("asyncio.Queue", "asyncio.Event", "asyncio.Lock", "asyncio.Semaphore", "asyncio.shield"),
        *("asyncio.Condition", "asyncio.BoundedSemaphore", "asyncio.PriorityQueue"),
    }
)
"""What is only deterministic on a loop that replays."""

_SECRETIVE: Final = frozenset({"functools.lru_cache", "functools.cache", "async_lru.alru_cache"})

_COPIES: Final = frozenset({"copy.copy", "copy.deepcopy", "typing.cast", "dataclasses.replace"})


def call_library(frame: Calls, name: str, arguments: list[Arg], node: Node) -> Value | None:
    """What the call gives; ``None`` where only the table of effects knows it."""
    if name.startswith("asyncio."):
        return _asyncio(frame, name, arguments, node)
    sources = tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))
    first = arguments[0].value if arguments else UNKNOWN
    if name == "functools.partial" and arguments:
        values = tuple(a.value for a in arguments[1:] if a.keyword is None and not a.star)
        kinds = [("partial", kind, values) for kind in first.types if kind[0] != "partial"]
        return Value(tuple(kinds), sources)
    if name in _COPIES and arguments:
        return arguments[-1].value if name == "typing.cast" else first
    if name == "functools.wraps":
        return of("ext", "wflint.identity")
    if name == "wflint.identity" and arguments:
        return first
    if name in _SECRETIVE:
        if first.has("fn", "bound"):
            return Value(tuple(("cached", kind) for kind in first.types))
        return of("ext", "functools.cache")
    if name == "functools.reduce" and len(arguments) > 1:
        second = arguments[1]
        if second.node is not None:
            frame.iterate(second.node, second.value, "WFL102", "functools.reduce()")
        pair = [Arg("", None, None, UNKNOWN), Arg("", None, None, elements_of(second.value))]
        return tainted(frame.call_value(first, pair, node), sources)
    if name == "dataclasses.asdict":
        return Value((("odict",),), sources)
    if name in ("collections.defaultdict", "collections.OrderedDict", "collections.Counter"):
        order: tuple[int, ...] = ()
        given = arguments[1:] if name.endswith("defaultdict") else arguments
        for argument in given:
            if argument.value.has("set") and argument.node is not None:
                order += frame.ordered_by("WFL105", argument.node, frame.shown(argument.node))
            order += argument.value.order
        element = None
        if name.endswith("defaultdict") and arguments:
            element = frame.call_value(first, [], node) if first.types else None
        return Value((("odict",),), sources, element, order)
    if name == "collections.deque":
        for argument in arguments[:1]:
            if argument.node is not None:
                frame.iterate(argument.node, argument.value, "WFL102", "a deque")
        return Value((("list",),), sources, elements_of(first), first.order)
    if name.startswith("itertools.") and arguments:
        for argument in arguments:
            if argument.node is not None and not argument.star:
                frame.iterate(argument.node, argument.value, "WFL102", name)
        element = join_all([elements_of(a.value) for a in arguments])
        for argument in arguments:
            if argument.value.has("fn", "bound", "ext"):
                frame.call_value(argument.value, [Arg("", None, None, element)], node)
        return Value((("iter",),), sources, element)
    if name.startswith("heapq.") or name in ("bisect.insort", "operator.itemgetter"):
        for argument in arguments:
            if argument.keyword == "key":
                check_key(frame, argument, node)
        return Value((), sources, first.element)
    if name in ("json.dumps", "json.dump", "pickle.dumps", "msgspec.json.encode"):
        return _encoded(frame, name, arguments, node, sources)
    if name == "contextlib.suppress":
        names = {kind[1] for a in arguments for kind in a.value.types if kind[0] == "ext"}
        return of("suppress", tuple(sorted(names)))
    return None


def _encoded(
    frame: Calls, name: str, arguments: list[Arg], node: Node, sources: tuple[int, ...]
) -> Value:
    first = arguments[0] if arguments else None
    keyed = any(a.keyword == "sort_keys" for a in arguments)
    if first is not None and first.node is not None and not keyed:
        value = first.value
        if value.has("odict", "dict") and value.order:
            frame.dict_used(first.node, value, name, is_tainted=True)
        elif value.has("set"):
            frame.iterate(first.node, value, "WFL102", name)
    return Value((("str",),), sources)


def _asyncio(frame: Calls, name: str, arguments: list[Arg], node: Node) -> Value | None:
    adapter = frame.adapter
    sources = tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))
    owned = adapter is None or adapter.loop == "own"
    if not owned and name in _RAW:
        frame.emit("WFL404", node[1], node[2], name)
    if name in ("asyncio.gather", "asyncio.wait", "asyncio.as_completed"):
        return _combined(frame, name, arguments, node, owned=owned)
    if name == "asyncio.to_thread" and arguments and arguments[0].value.has("act"):
        # A step is recorded wherever it runs.
        value = frame.call_value(arguments[0].value, arguments[1:], node)
        return value if value.has("coro", "cmd") else of("coro", value)
    if name == "asyncio.sleep":
        if arguments:
            frame.sink(arguments[0].value, "the identity of a command")
        if frame.reports and owned:
            frame.command_issued(node, name)
        return of("coro", arguments[1].value if len(arguments) > 1 else UNKNOWN)
    if name in _TASKS:
        first = arguments[0].value if arguments else UNKNOWN
        inner = UNKNOWN
        for kind in first.types:
            if kind[0] in ("coro", "cmd"):
                inner = join(inner, kind[1])
        kinds: tuple[Type, ...] = (("coro", inner),)
        if name in _RUNNING:
            # A group waits for its tasks; a task of nobody's may be collected.
            kinds += (("task",), ("detached",)) if "TaskGroup" in name else (("task",),)
        return Value(kinds, sources)
    if name in ("asyncio.get_event_loop", "asyncio.get_running_loop"):
        return of("xinst", "asyncio.AbstractEventLoop")
    if name == "asyncio.AbstractEventLoop.time":
        if owned:
            return of("float")
        return None
    if name == "asyncio.current_task":
        return of("xinst", "asyncio.Task")
    if name.rpartition(".")[2] in ("call_soon", "call_later", "call_at", "call_soon_threadsafe"):
        for argument in arguments:
            frame.call_back(argument.value, node)
            if name.endswith(("call_later", "call_at")):
                frame.sink(argument.value, ESCAPE)
        return UNKNOWN
    return None


def _combined(frame: Calls, name: str, arguments: list[Arg], node: Node, *, owned: bool) -> Value:
    inner = UNKNOWN
    many = 0
    coroutines = False
    values: list[Value] = []
    for argument in arguments:
        if argument.keyword is not None:
            continue
        value = argument.value
        listed = name != "asyncio.gather" or argument.star == "*"
        element = elements_of(value) if listed else value
        for kind in element.types:
            if kind[0] in ("coro", "cmd"):
                inner = join(inner, kind[1])
                values.append(kind[1])
                coroutines = coroutines or (kind[0] == "coro" and ("task",) not in element.types)
        many += _sequences(frame, argument.node, listed=listed)
        if listed and value.has("set") and argument.node is not None and not value.has("futures"):
            frame.iterate(argument.node, value, "WFL102", name)
    if many >= 2:
        frame.emit("WFL408", node[1], node[2], name)
    sources = tuple(dict.fromkeys(n for a in arguments for n in a.value.sources))
    if name == "asyncio.gather":
        named = {a.keyword for a in arguments}
        if (
            frame.adapter is not None
            and frame.adapter.loop == "app"
            and not (named & {"return_exceptions"})
        ):
            frame.emit("WFL409", node[1], node[2], name)
        starred = any(a.star for a in arguments)
        if (
            not starred
            and 0 < len(values) <= 8
            and len(values) == len([a for a in arguments if a.keyword is None])
        ):
            return of("coro", tainted(of("tup", tuple(values)), sources))
        return of("coro", Value((("list",),), sources, inner))
    future = of("coro", inner)
    if name == "asyncio.wait":
        if not owned:
            frame.emit("WFL403", node[1], node[2], name)
        futures = Value((("set",), ("futures",)), sources, future)
        return of("coro", of("tup", (futures, futures)))
    if not owned or coroutines:
        frame.emit("WFL403", node[1], node[2], name)
    return Value((("iter",),), sources, future)


def _sequences(frame: Calls, node: Node | None, *, listed: bool) -> int:
    """How many coroutines that issue several commands an argument stands for."""
    if node is None:
        return 0
    if node[0] == "call":
        return int(frame.commands_at.get(node[1], 0) > 1)
    if node[0] == "comp" and listed:
        return 2 * int(frame.commands_at.get(node[4][1], 0) > 1)
    if node[0] in ("list", "tuple", "set") and listed:
        return sum(_sequences(frame, one, listed=False) for one in node[3])
    if node[0] == "star":
        return _sequences(frame, node[3], listed=True)
    return 0
