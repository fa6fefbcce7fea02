"""Frameworks, as data: what is a workflow, what is recorded, what replays, what to use instead.

Each TOML file here is one. Users describe their own in the same words in their configuration.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

ROLES: Final = frozenset(
    {
        "workflow",  # decorates a workflow function
        "workflow-class",  # decorates a class whose methods all run in workflow context
        "activity",  # decorates a function that is recorded, not replayed
        "handler",  # decorates a function that runs in workflow context; `kind` says which
        "register",  # a call that makes the function in argument `callee` a workflow
        "register-activity",
        "command",  # a call that is recorded, and compared at replay
        "wait",  # suspends, but is no command
        "callback",  # calls its `callback` once and records the result
        "continue",  # continue-as-new
        "patched",  # a branch for old histories
        "replaying",  # whether history is replayed
        "inside",  # whether workflow code is running
        "value",  # only has a meaning in a workflow
        "random",  # draws from the workflow's generator
        "logger",  # silent on replay
        "combine",  # awaits several things, in a known order
        "bypass",  # switches a safeguard off
        "same",  # gives the object that it is called on
        "plain",  # nothing of interest
    }
)

STYLES: Final = ("async", "generator", "sync")
LOOPS: Final = ("own", "app", "none")


class AdapterError(ValueError):
    """A description of a framework that can't be understood."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """What an adapter says of a name.

    Attributes:
        role: one of :data:`ROLES`.
        adapter: whose it is.
        kind: of a handler: ``signal``, ``query``, ``update`` or ``validator``.
        identity: arguments (by position or keyword) that say what is done, and not with what.
        options: keywords that are neither that nor payload.
        callee: the argument that is the activity or workflow.
        callback: arguments that are functions which are called.
        needs: keywords of which one has to be given.
        runs: how those run: ``side``, ``predicate`` or ``workflow``.
    """

    role: str
    adapter: Adapter
    kind: str = ""
    identity: tuple[int | str, ...] = ()
    options: tuple[str, ...] = ()
    callee: int | None = None
    callback: tuple[int | str, ...] = ()
    runs: str = "side"
    returns: str = ""
    needs: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Adapter:
    """A framework.

    Attributes:
        name: as in the configuration.
        title: as its users call it.
        imports: modules whose import means that a file uses it.
        opaque: packages that are deterministic by decree.
        style: how workflows are written: ``async``, ``generator`` or ``sync``.
        loop: whose event loop runs a workflow: ``own``, the ``app``'s, or ``none``.
        direct_call: whether calling an activity like a function is the right form.
        off: rules that don't apply.
        context_types: types of a workflow's first parameter.
        failures: exceptions that end a workflow; empty: all do.
        replace: for a rule, what to use instead.
        fixes: for a symbol, the expression that does the same.
    """

    name: str
    title: str = ""
    imports: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    style: str = "async"
    loop: str = "own"
    direct_call: bool = False
    off: frozenset[str] = frozenset()
    context_types: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    replace: dict[str, str] = field(default_factory=dict[str, str])
    fixes: dict[str, str] = field(default_factory=dict[str, str])
    symbols: dict[str, Symbol] = field(default_factory=dict[str, Symbol])


_KEYS: Final = frozenset(
    {
        *("name", "title", "imports", "opaque", "style", "loop", "direct-call", "off"),
        *("context-types", "failures", "replace", "fixes", "symbols"),
    }
)


def read_adapter(name: str, data: Mapping[str, Any]) -> Adapter:
    """An adapter from its table.

    Raises:
        AdapterError: a key or a value is not known.
    """
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise AdapterError(f"adapter {name!r}: unknown key {unknown[0]!r}")
    adapter = Adapter(
        name=name,
        title=str(data.get("title", name)),
        imports=tuple(data.get("imports", ())),
        opaque=tuple(data.get("opaque", data.get("imports", ()))),
        style=_one_of(name, "style", data.get("style", "async"), STYLES),
        loop=_one_of(name, "loop", data.get("loop", "own"), LOOPS),
        direct_call=bool(data.get("direct-call", False)),
        off=frozenset(data.get("off", ())),
        context_types=tuple(data.get("context-types", ())),
        failures=tuple(data.get("failures", ())),
        replace=dict(data.get("replace", {})),
        fixes=dict(data.get("fixes", {})),
    )
    for symbol, table in data.get("symbols", {}).items():
        described = {"role": table} if isinstance(table, str) else dict(table)
        role = _one_of(name, f"role of {symbol}", described.pop("role", None), sorted(ROLES))
        values: dict[str, Any] = {}
        for key, value in described.items():
            if key in ("identity", "options", "callback", "needs"):
                value = tuple(value)
            elif key not in ("kind", "callee", "runs", "returns"):
                raise AdapterError(f"adapter {name!r}, {symbol}: unknown key {key!r}")
            values[key] = value
        adapter.symbols[symbol] = Symbol(role, adapter, **values)
    # The other contexts of a framework inherit what the first one has.
    for first in adapter.context_types[:1]:
        for symbol, entry in list(adapter.symbols.items()):
            if symbol.startswith(f"{first}."):
                for other in adapter.context_types[1:]:
                    adapter.symbols.setdefault(other + symbol[len(first) :], entry)
    return adapter


def _one_of(name: str, what: str, value: Any, allowed: Iterable[str]) -> str:
    if value not in allowed:
        known = ", ".join(allowed)
        raise AdapterError(f"adapter {name!r}: {what} is {value!r}; it is one of {known}")
    return str(value)


class Adapters:
    """All frameworks that are looked for."""

    def __init__(self, adapters: Iterable[Adapter]) -> None:
        self.all = tuple(adapters)
        self.none = Adapter("none")
        self._symbols: dict[str, Symbol] = {}
        self._opaque: set[str] = set()
        self._contexts: dict[str, Adapter] = {}
        for adapter in self.all:
            self._symbols.update(adapter.symbols)
            self._opaque.update(adapter.opaque)
            for name in adapter.context_types:
                self._contexts[name] = adapter
        self._loggers = frozenset(
            name for name, symbol in self._symbols.items() if symbol.role == "logger"
        )

    def symbol(self, name: str) -> Symbol | None:
        """What is known of a name."""
        return self._symbols.get(name)

    def is_opaque(self, name: str) -> bool:
        """Whether a module or symbol belongs to a framework itself."""
        while name:
            if name in self._opaque:
                return True
            name = name.rpartition(".")[0]
        return False

    def is_logger(self, name: str) -> bool:
        """Whether something is called on a logger that is silent on replay."""
        return name in self._loggers or name.rpartition(".")[0] in self._loggers

    def context_type(self, name: str) -> Adapter | None:
        """The framework whose workflows take such a first parameter."""
        return self._contexts.get(name)

    @property
    def imports(self) -> tuple[str, ...]:
        """Top-level modules whose import makes a file a candidate."""
        return tuple(dict.fromkeys(name for one in self.all for name in one.imports))

    def get(self, name: str) -> Adapter | None:
        """An adapter by its name."""
        return next((one for one in self.all if one.name == name), None)


def builtin_names() -> tuple[str, ...]:
    """Names of the frameworks that come with the linter."""
    found = (item.name for item in files(__package__ or "").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load_builtin(name: str) -> Adapter:
    """A framework that comes with the linter."""
    text = files(__package__ or "").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return read_adapter(name, tomllib.loads(text))
