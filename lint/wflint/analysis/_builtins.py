"""What builtins and the methods of containers give, and whether they care for order.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

RELAXED: Final = frozenset(
    {
        *("len", "sorted", "any", "all", "set", "frozenset", "sum", "bool", "isinstance", "dict"),
        *("type", "callable", "hasattr", "issubclass", "id"),
    }
)
"""Builtins whose result does not depend on the order of what they get."""

RELAXED_UNLESS_KEYED: Final = frozenset({"min", "max"})

RELAXED_CALLS: Final = frozenset(
    {
        *("collections.Counter", "math.prod", "math.fsum", "statistics.mean", "statistics.median"),
        *("copy.copy", "copy.deepcopy", "heapq.nsmallest", "heapq.nlargest", "weakref.WeakSet"),
    }
)
"""The same beyond the builtins."""

SCALARS: Final = {
    "len": "int",
    "any": "bool",
    "all": "bool",
    "bool": "bool",
    "int": "int",
    "float": "float",
    "str": "str",
    "repr": "str",
    "ascii": "str",
    "format": "str",
    "chr": "str",
    "hex": "str",
    "oct": "str",
    "bin": "str",
    "ord": "int",
    "hash": "int",
    "id": "int",
    "round": "int",
    "bytes": "bytes",
    "isinstance": "bool",
    "issubclass": "bool",
    "callable": "bool",
    "hasattr": "bool",
    "input": "str",
}

SEQUENCES: Final = {
    "list": "list",
    "tuple": "tuple",
    "iter": "iter",
    "enumerate": "iter",
    "zip": "iter",
    "map": "iter",
    "filter": "iter",
    "reversed": "iter",
    "next": "",
}
"""Builtins that put what they get into an order."""

TEXT: Final = frozenset({"str", "repr", "ascii", "format", "print"})

SET_METHODS: Final = frozenset(
    {"union", "intersection", "difference", "symmetric_difference", "copy"}
)
"""Methods of sets that give sets."""

SET_CONSUMERS: Final = frozenset(
    {
        *("union", "intersection", "difference", "symmetric_difference", "update", "isdisjoint"),
        *("issubset", "issuperset", "difference_update", "intersection_update"),
        *("symmetric_difference_update",),
    }
)
"""Methods of sets that take whatever order."""

ADDERS: Final = frozenset(
    {"append", "add", "insert", "extend", "update", "setdefault", "appendleft", "extendleft"}
)
"""Methods that put something into a container."""

STR_METHODS: Final = frozenset(
    {
        *("format", "upper", "lower", "strip", "lstrip", "rstrip", "replace", "title", "join"),
        *("capitalize", "casefold", "center", "ljust", "rjust", "zfill", "encode", "decode"),
        *("removeprefix", "removesuffix", "expandtabs", "swapcase", "translate", "hex"),
    }
)

LOG_METHODS: Final = frozenset(
    {"debug", "info", "warning", "warn", "error", "exception", "critical", "log", "fatal"}
)
