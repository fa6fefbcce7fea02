"""What a function can see of its workflow's variables, as a value that can be compared.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

_MOST: Final = 20_000
"""Values looked at; beyond that a change goes unseen."""

_ATOMS: Final = (int, float, complex, str, bytes, bool, type(None), enum.Enum)
_OPAQUE: Final = (type, ModuleType, asyncio.Future, asyncio.AbstractEventLoop)


def snapshot(function: Callable[..., Any]) -> list[object]:
    """The variables of the enclosing functions (and of ``self``), flattened."""
    seen: set[int] = set()
    flat: list[object] = []
    stack: list[Any] = []
    if isinstance(function, MethodType):
        stack.append(function.__self__)
        function = function.__func__
    stack += _captured(function)
    while stack and len(flat) < _MOST:
        value = stack.pop()
        if isinstance(value, _ATOMS):
            flat.append(value)
            continue
        flat.append(id(value))
        if id(value) in seen or isinstance(value, _OPAQUE):
            continue
        seen.add(id(value))
        stack.extend(_parts(value))
    return flat


def _captured(function: Any) -> list[Any]:
    values: list[Any] = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            values.append("empty")
    return values


def _parts(value: Any) -> list[Any]:
    if isinstance(value, FunctionType):
        return _captured(value)
    container: Any = value  # whatever the checks below find out, its parts can be anything
    if isinstance(value, Mapping):
        return [part for pair in container.items() for part in pair]
    if isinstance(value, AbstractSet):
        return sorted(container, key=id)
    if isinstance(value, Sequence):
        return list(container)
    if type(value).__module__.startswith("perdure_runtime."):
        return []
    names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__slots__", ())
    parts = [getattr(value, name, None) for name in names if isinstance(name, str)]
    variables: dict[str, Any] = getattr(value, "__dict__", {})
    return [*parts, *variables.values()]
