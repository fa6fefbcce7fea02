"""What symbols outside of the project do: the table of effects.

A TOML file for each package. A table describes a module::

    [time]
    kind = "mixed"                  # what its other symbols are: pure, io, ambient, mixed, unknown
    code = "WFL301"                 # the rule for its other symbols, if any
    WFL201 = ["time", "monotonic"]  # the rule for these; a trailing `*` matches what follows
    WFL202 = ["ctime <1"]           # only when fewer than one argument is given
    pure = ["struct_time"]          # these have no effect
    read = ["timezone"]             # these of the above take effect when they are read
    hint = "…"                      # more for messages

    [time.returns]
    set = ["…"]                     # what calls give: set, dict, list, str, int, float, bytes

Modules of one nature need no table: ``[modules]`` lists them under ``pure``, or under the rule for
all that is in them.

The most specific entry wins: a symbol over a pattern, an inner module over an outer one, and the
user's own over ours.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Optional, cast

if TYPE_CHECKING:
    from ..analysis._base import Arg
    from ..analysis._values import Value

VALUE_CODES: Final = frozenset(
    {
        *("WFL106", "WFL107", "WFL201", "WFL202", "WFL203", "WFL211", "WFL212", "WFL213"),
        *("WFL214", "WFL215", "WFL221", "WFL222", "WFL223", "WFL224", "WFL410"),
    }
)
"""Rules for values that differ, and not for things that are done."""

KINDS: Final = frozenset({"pure", "io", "ambient", "mixed", "unknown"})
RETURNS: Final = frozenset(
    {"set", "dict", "list", "str", "int", "float", "bool", "bytes", "iter", "unordered"}
)


class EffectsError(ValueError):
    """A table that can't be understood."""


class Effect(NamedTuple):
    """What a symbol does.

    Attributes:
        code: the rule that speaks of it; empty when it does nothing.
        below: only with fewer arguments than this; ``None``: always.
        read: reading the name is enough.
        hint: more for messages.
        returns: what a call gives.
        otherwise: what it does with more arguments.
    """

    code: str
    below: int | None = None
    read: bool = False
    hint: str = ""
    returns: str = ""
    otherwise: Optional[Effect] = None  # noqa: UP045 - a string can't be joined by `|`

    def chosen(self, arguments: list[Arg]) -> Effect:
        """The effect of a call with these arguments."""
        if self.applies(arguments):
            return self
        return self.otherwise or self._replace(code="", below=None)

    def applies(self, arguments: list[Arg]) -> bool:
        """Whether a call with these arguments has the effect."""
        return self.below is None or len(arguments) < self.below

    def result(self) -> Value | None:
        """What a call gives, if that is known."""
        from ..analysis._values import Value

        if not self.returns:
            return None
        if self.returns == "unordered":
            return Value((("list",), ("unordered", "the file system")))
        if self.returns in RETURNS:
            return Value(((self.returns,),))
        return Value((("xinst", self.returns),))


class Effects:
    """The table, looked up by full names."""

    def __init__(self) -> None:
        self._symbols: dict[str, Effect] = {}
        self._modules: dict[str, tuple[str, str, str]] = {}
        self._patterns: dict[str, Effect] = {}
        self._log: set[str] = set()
        self._found: dict[str, Effect | None] = {}
        self._owners: set[str] | None = None

    # --- filling

    def add_module(self, name: str, table: Mapping[str, Any]) -> None:
        """Takes in a module's table.

        Raises:
            EffectsError: a key or a value is not known.
        """
        kind = str(table.get("kind", "unknown"))
        if kind not in KINDS:
            raise EffectsError(f"[{name}]: kind {kind!r} is none of {', '.join(sorted(KINDS))}")
        hint = str(table.get("hint", ""))
        self._modules[name] = (kind, str(table.get("code", "")), hint)
        read = set(table.get("read", ()))
        returns = {
            symbol: what for what, symbols in table.get("returns", {}).items() for symbol in symbols
        }
        for key, value in table.items():
            if key in ("kind", "code", "hint", "returns", "read", "since", "until"):
                continue
            if key == "log":
                self._log.update(f"{name}.{symbol}" for symbol in value)
                continue
            if key != "pure" and not _is_code(key):
                raise EffectsError(f"[{name}]: unknown key {key!r}")
            code = "" if key == "pure" else key
            for entry in value:
                symbol, _, condition = entry.partition(" <")
                below = int(condition) if condition else None
                effect = Effect(code, below, symbol in read, hint, returns.pop(symbol, ""))
                self._add(f"{name}.{symbol}", effect)
        for symbol, what in returns.items():
            code = self._modules[name][1]
            self._add(f"{name}.{symbol}", Effect(code, None, False, hint, what))

    def _add(self, name: str, effect: Effect) -> None:
        if name.endswith("*"):
            self._patterns[name[:-1]] = effect
            return
        known = self._symbols.get(name)
        if known is not None and (known.below is None) != (effect.below is None):
            with_fewer, with_more = (known, effect) if effect.below is None else (effect, known)
            effect = with_fewer._replace(otherwise=with_more)
        self._symbols[name] = effect
        self._owners = None
        self._found.clear()

    def add_user(self, name: str, entry: Any) -> None:
        """An entry of the user's: ``"pure"``, ``"deterministic"``, a code, or a table.

        Raises:
            EffectsError: it is none of these.
        """
        if entry in ("pure", "deterministic"):
            self._add(name, Effect(""))
        elif isinstance(entry, str) and _is_code(entry):
            self._add(name, Effect(entry))
        elif isinstance(entry, dict) and _is_code(str(cast("dict[str, Any]", entry).get("code"))):
            table = cast("dict[str, Any]", entry)
            hint = str(table.get("replace", table.get("hint", "")))
            self._add(name, Effect(str(table["code"]), None, bool(table.get("read")), hint))
        else:
            raise EffectsError(
                f'{name}: {entry!r} is no effect; use "pure", a code like "WFL201", or '
                '{ code = "WFL201", replace = "…" }'
            )

    # --- looking up

    def lookup(self, name: str) -> Effect | None:
        """What is known of a symbol; ``None``: nothing."""
        if name in self._found:
            return self._found[name]
        found = self._found[name] = self._lookup(name)
        return found

    def _lookup(self, name: str) -> Effect | None:
        exact = self._symbols.get(name)
        if exact is not None:
            return exact
        best = ""
        for length in range(len(name), 0, -1):
            if name[:length] in self._patterns:
                best = name[:length]
                break
        owner = name
        while owner:
            owner = owner.rpartition(".")[0]
            if best and len(best) > len(owner):
                return self._patterns[best]
            if owner in self._symbols:
                # A method of a class that is listed: what is not listed itself does nothing,
                # unless making the object was the effect already.
                return Effect("")
            if owner in self._modules:
                kind, code, hint = self._modules[owner]
                if kind == "unknown":
                    return None
                return Effect(code, None, False, hint)
        return self._patterns[best] if best else None

    def on_read(self, name: str) -> Effect | None:
        """The effect of reading a name, if that is one."""
        effect = self._symbols.get(name)
        return effect if effect is not None and effect.read else None

    def knows(self, name: str) -> bool:
        """Whether a symbol, or one within it, is listed."""
        if self._owners is None:
            owners: set[str] = set()
            for one in self._symbols:
                while one not in owners and one:
                    owners.add(one)
                    one = one.rpartition(".")[0]
            self._owners = owners
        return name in self._owners

    def is_log(self, name: str) -> bool:
        """Whether a call writes a log."""
        return name in self._log

    @property
    def modules(self) -> Mapping[str, tuple[str, str, str]]:
        """Kind, code and hint of modules by their names."""
        return self._modules

    @property
    def symbols(self) -> Mapping[str, Effect]:
        """Effects by full names, without patterns."""
        return self._symbols

    @property
    def patterns(self) -> Mapping[str, Effect]:
        """Effects by what names begin with."""
        return self._patterns


def _is_code(text: str) -> bool:
    return len(text) == 6 and text.startswith("WFL") and text[3:].isdigit()


def _uniform(code: str) -> dict[str, Any]:
    """The table of a module of one nature."""
    return {"kind": "pure"} if code == "pure" else {"kind": "io", "code": code}


def load(names: Iterable[str] = ()) -> Effects:
    """The table that comes with the linter."""
    effects = Effects()
    folder = files(__package__ or "").joinpath("db")
    found = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
    for name in names or found:
        data = tomllib.loads(folder.joinpath(name).read_text(encoding="utf-8"))
        for module, table in data.items():
            if module == "modules":
                for code, listed in table.items():
                    for one in listed:
                        effects.add_module(one, _uniform(code))
            else:
                effects.add_module(module, table)
    return effects
