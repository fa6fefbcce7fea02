"""Workflows and activities by the name of the module that holds them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from perdure import Activity, UsageError, Workflow

from ._registry import definitions_in


def load(target: str) -> tuple[list[Workflow[..., Any]], list[object]]:
    """Workflows and activities that a command line names.

    Raises:
        UsageError: there is no such module or attribute, or nothing in it.
    """
    name, _, attribute = target.partition(":")
    module = import_target(name)
    if not attribute:
        found = definitions_in(module)
        if not found.workflows and not found.activities:
            raise UsageError(f"{name} holds neither workflows nor activities")
        return found.workflows, list(found.activities)
    value: Any = getattr(module, attribute, None)
    if value is None:
        raise UsageError(f"{name} has no attribute {attribute!r}")
    if callable(value) and not isinstance(value, (Activity, Workflow)):
        value = value()
    several: list[object] = []
    if isinstance(value, (list, tuple)):
        several.extend(cast("Iterable[object]", value))
    else:
        several.append(cast("object", value))
    workflows: list[Workflow[..., Any]] = []
    activities: list[object] = []
    for item in several:
        if isinstance(item, Workflow):
            workflows.append(cast("Workflow[..., Any]", item))
        else:
            activities.append(item)
    return workflows, activities


def import_target(name: str) -> ModuleType:
    """A module by dotted name or by file.

    Raises:
        UsageError: it can't be imported.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise UsageError(f"there is no file {name}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{name} can't be imported")
        sys.path.insert(0, str(path.resolve().parent))
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise UsageError(
                f"there is no module {name!r} (looked in {here} and the installed packages)"
            ) from error
        raise
