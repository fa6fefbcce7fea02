"""Configuration: ``[tool.wflint]`` in ``pyproject.toml``, or ``.wflint.toml``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

from ._where import find_config as find_config


class ConfigError(ValueError):
    """A configuration that can't be understood; the message says what to do."""


LEVELS: Final = ("default", "strict", "pedantic")
SEVERITIES: Final = ("info", "warning", "error")
TESTS: Final = {"tests/**": ("WFL3", "WFL6", "WFL7"), "**/tests/**": ("WFL3", "WFL6", "WFL7")}


@dataclass(frozen=True, slots=True)
class Config:
    """See ``docs/lint/configuration.md``.

    Attributes:
        root: the folder that the configuration lies in.
        path: the file, if there is one.
        adapters: names of frameworks, or ``auto`` for all.
        own_adapters: the user's own, by name.
        effects: the user's own entries of the table of effects.
        src: import roots.
        exclude: patterns of files and folders that are not looked at.
        select, ignore: codes, beginnings of codes, or names.
        level: which rules: ``default``, ``strict`` (with those marked so), ``pedantic``.
        strict_payloads: ambient payloads are errors too; on in ``strict``.
        severity: other severities by code.
        per_file_ignores: codes by pattern.
        dict_iteration: ``strict``, ``tainted`` or ``off``.
        replay_safe_loggers: full names of loggers that are silent on replay.
        deterministic: functions taken for granted, by full name.
        require_reason: suppressions need one.
        fail_level: the severity from which a run fails.
        include_tests: findings in tests count.
        baseline: the file of findings that are known.
    """

    root: str = "."
    path: str | None = None
    adapters: tuple[str, ...] = ("auto",)
    own_adapters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any])
    effects: Mapping[str, Any] = field(default_factory=dict[str, Any])
    src: tuple[str, ...] = ("src",)
    exclude: tuple[str, ...] = ()
    select: tuple[str, ...] = ("WFL",)
    ignore: tuple[str, ...] = ()
    level: str = "default"
    severity: Mapping[str, str] = field(default_factory=dict[str, str])
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    dict_iteration: str = "strict"
    replay_safe_loggers: tuple[str, ...] = ()
    deterministic: tuple[str, ...] = ()
    require_reason: bool = False
    fail_level: str = "error"
    include_tests: bool = False
    baseline: str = ".wflint-baseline.json"

    def selects(self, code: str, level: str) -> bool:
        """Whether a rule of this level is on."""
        if any(code.startswith(one) for one in self.ignore):
            return False
        if any(code.startswith(one) and len(one) > 4 for one in self.select):
            return True  # named itself, or nearly so
        if LEVELS.index(level) > LEVELS.index(self.level):
            return False
        return any(code.startswith(one) for one in self.select)

    def fingerprint(self) -> str:
        """Changes whenever a setting does."""
        return repr([(one.name, getattr(self, one.name)) for one in fields(self)])


def _strings(key: str, value: Any) -> tuple[str, ...]:
    given: list[Any] = [value]
    if isinstance(value, list):
        given = value  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(one, str) for one in given):
        raise ConfigError(f"{key}: a list of strings is needed, not {value!r}")
    return tuple(given)


def _choice(*allowed: str) -> Callable[[str, Any], str]:
    def check(key: str, value: Any) -> str:
        if value not in allowed:
            raise ConfigError(f"{key}: {value!r} is none of {', '.join(allowed)}")
        return str(value)

    return check


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: true or false is needed, not {value!r}")
    return value


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key}: a string is needed, not {value!r}")
    return value


def _codes(key: str, value: Any) -> tuple[str, ...]:
    from .rules import all_rules, find_rule

    found: list[str] = []
    for one in _strings(key, value):
        rule = find_rule(one)
        if rule is not None:
            found.append(rule.code)
        elif one.upper() == "ALL":
            found.append("WFL")
        elif any(code.startswith(one.upper()) for code in all_rules()):
            found.append(one.upper())
        else:
            raise ConfigError(f"{key}: there is no rule {one!r}; see `wflint rules`")
    return tuple(found)


def _table(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: a table is needed, not {value!r}")
    return dict(cast("dict[str, Any]", value))


def _severities(key: str, value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, severity in _table(key, value).items():
        for code in _codes(key, [name]):
            found[code] = _choice(*SEVERITIES)(f"{key}.{name}", severity)
    return found


def _per_file(key: str, value: Any) -> dict[str, tuple[str, ...]]:
    return {
        pattern: _codes(f"{key}.{pattern}", codes) for pattern, codes in _table(key, value).items()
    }


def _level(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "strict" if value else "default"
    return _choice(*LEVELS)(key, value)


_KEYS: Final[dict[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "adapters": ("adapters", _strings),
    "adapter": ("own_adapters", _table),
    "effects": ("effects", _table),
    "src": ("src", _strings),
    "exclude": ("exclude", _strings),
    "select": ("select", _codes),
    "ignore": ("ignore", _codes),
    "level": ("level", _level),
    "strict": ("level", _level),
    "severity": ("severity", _severities),
    "per-file-ignores": ("per_file_ignores", _per_file),
    "dict-iteration": ("dict_iteration", _choice("strict", "tainted", "off")),
    "replay-safe-loggers": ("replay_safe_loggers", _strings),
    "deterministic": ("deterministic", _strings),
    "require-reason": ("require_reason", _boolean),
    "fail-level": ("fail_level", _choice(*SEVERITIES)),
    "include-tests": ("include_tests", _boolean),
    "baseline": ("baseline", _string),
}


def from_table(data: Mapping[str, Any], config: Config | None = None) -> Config:
    """Settings from a table.

    Raises:
        ConfigError: a key is unknown, or a value is not of its kind.
    """
    values: dict[str, Any] = {}
    for key, value in data.items():
        known = _KEYS.get(key)
        if known is None:
            import difflib

            close = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"unknown setting {key!r}{hint}")
        name, check = known
        values[name] = check(key, value)
    return replace(config or Config(), **values)


def load_config(path: str | None) -> Config:
    """The settings of a file; defaults when there is none.

    Raises:
        ConfigError: it can't be read or understood; the message names the file.
    """
    if path is None:
        return Config(root=os.getcwd())
    import tomllib

    root = os.path.dirname(os.path.abspath(path))
    try:
        with open(path, "rb") as file:
            data: Any = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if os.path.basename(path) == "pyproject.toml":
        data = data.get("tool", {}).get("wflint", {})
    elif "tool" in data:
        data = data["tool"].get("wflint", {})
    try:
        return from_table(data, Config(root=root, path=os.path.abspath(path)))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
