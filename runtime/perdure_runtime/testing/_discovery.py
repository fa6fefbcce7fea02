"""What a workflow can reach by its names, so that tests need not list it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any, cast

from perdure import Activity, Workflow

from .._registry import is_installed

Definition = Activity[..., Any] | Workflow[..., Any]


def reachable(workflow: Workflow[..., Any]) -> Iterator[Definition]:
    """Implemented workflows and activities in the namespaces that a workflow's code sees.

    Those of its module and of the project's modules that it imports, those in enclosing functions,
    activities of objects that are there, and all of that again for the workflows found.
    """
    seen: set[int] = set()
    namespaces: set[int] = set()
    pending: list[Workflow[..., Any]] = [workflow]
    while pending:
        for value in _names(pending.pop().definition.function, namespaces):
            for found in _definitions(value):
                if id(found.definition) in seen or not found.definition.implemented:
                    continue
                seen.add(id(found.definition))
                if isinstance(found, Workflow):
                    pending.append(found)
                yield found


def _names(function: Any, seen: set[int]) -> Iterator[object]:
    if not isinstance(function, FunctionType):
        return
    if id(function.__globals__) not in seen:
        seen.add(id(function.__globals__))
        yield from list(function.__globals__.values())
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet assigned
            continue


def _definitions(value: object) -> Iterable[Definition]:
    if isinstance(value, (Activity, Workflow)):
        found = cast("Definition", value)
        is_method = isinstance(found, Activity) and found.definition.signature.method
        return () if is_method and found.receiver is None else (found,)  # type: ignore[union-attr]  # pyright: ignore
    if isinstance(value, ModuleType):
        if not _is_of_project(value.__name__):
            return ()
        inner = list(vars(value).values())
        return [
            found for one in inner if not isinstance(one, ModuleType) for found in _definitions(one)
        ]
    if isinstance(value, type):
        return ()
    kind: Any = type(value)
    return [getattr(value, name) for name in _activity_methods(kind)]


@functools.lru_cache(maxsize=4096)
def _activity_methods(cls: Any) -> tuple[str, ...]:
    owners: tuple[type, ...] = cls.__mro__
    return tuple(
        name for owner in owners for name, one in vars(owner).items() if isinstance(one, Activity)
    )


@functools.cache
def _is_of_project(name: str) -> bool:
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    return (
        isinstance(path, str)
        and name.partition(".")[0] not in ("perdure", "perdure_runtime", "perdure_backends")
        and not is_installed(path)
    )
