"""What a worker can run: workflows and activities by name, with their declared collisions.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from perdure import Activity, DataConverter, RegistrationError, Workflow
from perdure.extension import CATCH_ALL
from perdure_backends.records import Offer


class Registry:
    """Checked definitions.

    Args:
        workflows: workflows; several versions of one name may stand side by side.
        activities: activities, or instances of classes whose methods are activities.
        converter: proves that all types can be converted.
        resources: what activities are given by annotation.

    Raises:
        RegistrationError: two things with one name, a declaration without implementation, an
            activity method without its instance, a type that can't be converted.
    """

    def __init__(
        self,
        workflows: Iterable[Workflow[..., Any]],
        activities: Iterable[object],
        converter: DataConverter,
        resources: Resources | None = None,
    ) -> None:
        self.converter = converter
        self._resources = resources if resources is not None else Resources(())
        self._given: dict[int, dict[str, Any]] = {}
        self._workflows: dict[tuple[str, int], Workflow[..., Any]] = {}
        self._activities: dict[str, Activity[..., Any]] = {}
        for workflow in workflows:
            self._add_workflow(workflow)
        for item in activities:
            for activity in activities_of(item):
                self._add_activity(activity)
        self._list()

    def _list(self) -> None:
        self.offers = tuple(
            Offer(name, 0 if name == CATCH_ALL else version) for name, version in self._workflows
        )
        self.activity_names = tuple(self._activities)

    def workflow(self, name: str, version: int) -> Workflow[..., Any]:
        """The workflow that was offered under this name and version, or the catch-all."""
        found = self._workflows.get((name, version))
        return found if found is not None else self._workflows[CATCH_ALL, 1]

    def activity(self, name: str) -> Activity[..., Any] | None:
        """The activity of this name, or the catch-all, if there is one."""
        found = self._activities.get(name)
        return found if found is not None else self._activities.get(CATCH_ALL)

    def offers_workflow(self, name: str, version: int) -> bool:
        """Whether it has this workflow, or a catch-all."""
        return (name, version) in self._workflows or (CATCH_ALL, 1) in self._workflows

    def has_workflow(self, name: str, version: int) -> bool:
        """Whether this very workflow was given."""
        return (name, version) in self._workflows

    def has_activity(self, name: str) -> bool:
        """Whether this very activity was given."""
        return name in self._activities

    def put(self, definition: Workflow[..., Any] | Activity[..., Any]) -> None:
        """Adds a definition, or puts it in the place of another one: for tests.

        Raises:
            RegistrationError: it is only declared, or its types can't be converted.
        """
        names = (definition.name, *definition.definition.aliases)
        if isinstance(definition, Workflow):
            for name in names:
                self._workflows.pop((name, definition.definition.version), None)
            self._add_workflow(definition)
        else:
            for name in names:
                self._activities.pop(name, None)
            self._add_activity(definition)
        self._list()

    def resources_for(self, activity: Activity[..., Any]) -> dict[str, Any]:
        """What an activity is given, by the names of its parameters."""
        definition = activity.definition
        if not definition.signature.injected:
            return {}
        found = self._given.get(id(definition))
        if found is None:
            found = self._given[id(definition)] = {
                name: self._resources.get(annotation, f"{definition.name}({name})")
                for name, annotation in definition.signature.injections().items()
            }
        return found

    def _add_workflow(self, workflow: object) -> None:
        if not isinstance(workflow, Workflow):
            raise RegistrationError(f"{workflow!r} is not a workflow; decorate it with @workflow")
        found = cast("Workflow[..., Any]", workflow)
        definition = found.definition
        if not definition.implemented:
            raise RegistrationError(
                f"workflow {definition.name!r} is only declared ({_where(found)}); give the worker "
                "the module that implements it"
            )
        definition.signature.converted(self.converter)
        for name in (definition.name, *definition.aliases):
            other = self._workflows.setdefault((name, definition.version), found)
            _check_same(other, found, "workflow", name)

    def _add_activity(self, activity: Activity[..., Any]) -> None:
        definition = activity.definition
        if not definition.implemented:
            raise RegistrationError(
                f"activity {definition.name!r} is only declared ({_where(activity)}); give the "
                "worker the module that implements it"
            )
        if definition.signature.method and activity.receiver is None:
            raise RegistrationError(
                f"activity {definition.name!r} is a method ({_where(activity)}); give the worker "
                "an instance of its class, which holds the shared state"
            )
        definition.signature.converted(self.converter)
        self._resources.check(definition.name, definition.signature.injections())
        for name in (definition.name, *definition.aliases):
            other = self._activities.setdefault(name, activity)
            _check_same(other, activity, "activity", name)


class Resources:
    """What a worker was given for its activities.

    Args:
        given: objects, found by their class, or by type in a mapping.
        own: what the worker itself adds later, by type.
    """

    def __init__(
        self, given: Iterable[object] | Mapping[Any, object], own: Iterable[type] = ()
    ) -> None:
        self._by_type: dict[Any, object] = {}
        self._objects: list[object] = []
        if isinstance(given, Mapping):
            self._by_type.update(cast("Mapping[Any, object]", given))
        else:
            self._objects = list(given)
        self._own = tuple(own)

    def add(self, type: type, resource: object) -> None:
        """What the worker itself has."""
        self._by_type.setdefault(type, resource)

    def get(self, annotation: Any, what: str) -> object:
        """The resource for a parameter.

        Raises:
            RegistrationError: there is none, or more than one.
        """
        if annotation in self._by_type:
            return self._by_type[annotation]
        exact = [one for one in self._objects if type(one) is annotation]
        matching = exact or [
            one for one in self._objects if isinstance(annotation, type) and _is(one, annotation)
        ]
        if len(matching) == 1:
            return matching[0]
        shown = getattr(annotation, "__qualname__", annotation)
        if matching:
            raise RegistrationError(
                f"{what} asks for a {shown}, and {len(matching)} resources are one; give the "
                f"worker resources={{{shown}: …}}"
            )
        raise RegistrationError(
            f"{what} asks for a {shown}, which the worker was not given; pass it in "
            "Worker(resources=[…])"
        )

    def check(self, name: str, injections: Mapping[str, Any]) -> None:
        """Makes sure that all is there. Raises as :meth:`get`."""
        for parameter, annotation in injections.items():
            if annotation not in self._own:
                self.get(annotation, f"{name}({parameter})")


def _is(value: object, cls: type) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:  # a Protocol that is not runtime_checkable
        return False


def _check_same(
    one: Workflow[..., Any] | Activity[..., Any],
    two: Workflow[..., Any] | Activity[..., Any],
    kind: str,
    name: str,
) -> None:
    if one.definition is not two.definition:
        raise RegistrationError(
            f"two definitions have the {kind} name {name!r}: {_where(one)} and {_where(two)}; "
            "give one of them another name with `name=`"
        )


def _where(item: Workflow[..., Any] | Activity[..., Any]) -> str:
    code = item.definition.function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def activities_of(item: object) -> list[Activity[..., Any]]:
    """An activity as it is, or those that are methods of an object.

    Raises:
        RegistrationError: it is neither.
    """
    if isinstance(item, Activity):
        return [cast("Activity[..., Any]", item)]
    if isinstance(item, type):
        raise RegistrationError(
            f"{item.__qualname__} is a class; give the worker an instance of it, which holds the "
            "shared state"
        )
    methods = [
        getattr(item, name)
        for cls in type(item).__mro__
        for name, value in vars(cls).items()
        if isinstance(value, Activity) and getattr(type(item), name, None) is not None
    ]
    if not methods:
        raise RegistrationError(
            f"{item!r} is neither an activity nor an object with activity methods; decorate its "
            "functions with @activity"
        )
    return methods


# --- what a module holds --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Definitions in a module's globals."""

    workflows: list[Workflow[..., Any]]
    activities: list[Activity[..., Any]]


def definitions_in(module: ModuleType) -> Found:
    """The implemented workflows and plain activities among a module's globals."""
    workflows: dict[int, Workflow[..., Any]] = {}
    activities: dict[int, Activity[..., Any]] = {}
    for value in vars(module).values():
        if isinstance(value, Workflow) and value.definition.implemented:  # pyright: ignore[reportUnknownMemberType]
            workflows[id(value.definition)] = value  # pyright: ignore[reportUnknownMemberType]
        elif isinstance(value, Activity):
            activity = cast("Activity[..., Any]", value)
            if activity.definition.implemented and not activity.definition.signature.method:
                activities[id(activity.definition)] = activity
    return Found(list(workflows.values()), list(activities.values()))


# --- build id -------------------------------------------------------------------------------


def build_id(workflows: Iterable[Workflow[..., Any]]) -> str:
    """A hash of the source of the workflows and of the project's modules that they reach.

    Modules of the standard library and of installed packages do not count.
    """
    seen: dict[str, Path] = {}
    pending = [workflow.definition.function.__module__ for workflow in workflows]
    while pending:
        name = pending.pop()
        module = sys.modules.get(name)
        path = _project_file(module)
        if name in seen or module is None or path is None:
            continue
        seen[name] = path
        for value in vars(module).values():
            if isinstance(value, ModuleType):
                pending.append(value.__name__)
            else:
                pending.append(str(getattr(value, "__module__", "")))
    # Contents alone: a script's module has another name in the next process.
    contents = sorted(_content_hash(path) for path in seen.values())
    return hashlib.blake2b(b"".join(contents), digest_size=8).hexdigest()


def _content_hash(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return bytes(16)


@functools.cache
def _installed() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names]
    return tuple({os.path.realpath(path) + os.sep for path in paths if path})


def is_installed(path: str) -> bool:
    """Whether a resolved path lies in the standard library or among installed packages."""
    return path.startswith(_installed())


def _project_file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    if module is None or not isinstance(name, str) or not name.endswith(".py"):
        return None
    if module.__name__.partition(".")[0] in ("perdure", "perdure_runtime", "perdure_backends"):
        return None
    path = Path(name).resolve()
    return None if is_installed(str(path)) else path
