"""From a URL to a store; drivers are imported when they are asked for.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, cast

from perdure import InvalidOptionError

from .contract import Backend


class Location(NamedTuple):
    """The parts of a store's URL; percent-encoding is undone.

    Attributes:
        hosts: host and port as they were written, several with commas.
        path: behind the first slash.
    """

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    options: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> Location:
        """The parts of a URL."""
        from urllib.parse import parse_qsl, unquote, urlsplit  # only where a store is opened

        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, colon, password = credentials.partition(":")
        return cls(
            parts.scheme,
            unquote(user) if user else None,
            unquote(password) if colon else None,
            hosts,
            unquote(parts.path.removeprefix("/")),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
        )

    @property
    def shown(self) -> str:
        """Where it is, for people: without user, password and options."""
        return f"{self.scheme}://{self.hosts}/{self.path}"

    def at(self, scheme: str, hosts: str, port: int | None = None) -> str:
        """The same URL elsewhere: with another scheme, and other hosts or one host and port."""
        from urllib.parse import quote, urlencode

        credentials = ""
        if self.user is not None or self.password is not None:
            secret = "" if self.password is None else f":{quote(self.password, safe='')}"
            credentials = f"{quote(self.user or '', safe='')}{secret}@"
        if port is not None:
            hosts = f"[{hosts}]:{port}" if ":" in hosts else f"{hosts}:{port}"
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{scheme}://{credentials}{hosts}/{quote(self.path)}{query}"

    def nodes(self, default_port: int) -> list[tuple[str, int]]:
        """Hosts with their ports.

        Raises:
            InvalidOptionError: a port is no number.
        """
        found: list[tuple[str, int]] = []
        for item in (self.hosts or "localhost").split(","):
            host, colon, port = item.rpartition(":")
            if not colon or port.endswith("]"):
                host, port = item, str(default_port)
            if not port.isdigit():
                raise InvalidOptionError(f"{self.scheme}: {port!r} is no port")
            found.append((host.strip("[]") or "localhost", int(port)))
        return found


class Options:
    """The options of a URL, each taken once and checked.

    Args:
        name: of the store, for errors.
    """

    def __init__(self, name: str, location: Location) -> None:
        self._name = name
        self._location = location
        self._left = dict(location.options)
        self._known: list[str] = []

    def _take(self, key: str) -> str | None:
        self._known.append(key)
        return self._left.pop(key, None)

    def _error(self, text: str) -> InvalidOptionError:
        return InvalidOptionError(f"{self._name}: {text}")

    def text(self, key: str, default: str) -> str:
        """A word."""
        found = self._take(key)
        return default if found is None else found

    def optional(self, key: str) -> str | None:
        """A word that may be missing."""
        return self._take(key)

    def integer(self, key: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        """A whole number."""
        found = self._take(key)
        if found is None:
            return default
        span = f"{least} or more" if most is None else f"from {least} to {most}"
        try:
            value = int(found)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise self._error(f"{key} is a whole number, {span}, not {found!r}")
        return value

    def number(self, key: str, default: float) -> float:
        """A number of seconds."""
        found = self._take(key)
        try:
            value = default if found is None else float(found)
        except ValueError:
            value = -1.0
        if not value > 0:
            raise self._error(f"{key} is a number of seconds, not {found!r}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Yes or no."""
        return self.choice(key, "yes" if default else "no", ("yes", "no")) == "yes"

    def choice(self, key: str, default: str, among: Sequence[str]) -> str:
        """One of some words, in upper or lower case."""
        found = self._take(key)
        if found is None:
            return default
        for word in among:
            if word.lower() == found.lower():
                return word
        words = f"{', '.join(among[:-1])} or {among[-1]}"
        raise self._error(f"{key} is {words}, not {found!r}")

    def done(self) -> None:
        """No option is left.

        Raises:
            InvalidOptionError: the URL has an option that the store does not know.
        """
        if self._left:
            unknown = ", ".join(sorted(self._left))
            known = ", ".join(self._known)
            raise self._error(
                f"unknown option {unknown}" + (f"; known are {known}" if known else "")
            )

    def rest(self) -> str:
        """The URL with the options that were not taken, for a driver that knows them."""
        here = self._location._replace(options=self._left)
        return here.at(here.scheme, here.hosts)


class _Factory(Protocol):
    def __call__(self, location: Location) -> Backend: ...


_SCHEMES: Final = {
    "memory": "memory",
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "postgres": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "redis": "redis",
    "rediss": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
}

_EXTRAS: Final = {"asyncpg": "postgres", "aiomysql": "mysql", "pymysql": "mysql", "redis": "redis"}


def open_backend(url: str) -> Backend:
    """A store for a URL, not yet opened.

    ``memory://`` · ``sqlite:///relative.db`` · ``sqlite:////absolute.db`` · ``sqlite:///:memory:``
    · ``postgresql://user@host/database`` · ``mysql://user@host/database`` · ``redis://host/0``,
    with options as the query, such as ``?synchronous=NORMAL``.

    Raises:
        InvalidOptionError: the URL names no known store, or an unknown option, or the store's
            driver is not installed.
    """
    location = Location.parse(url)
    module = _SCHEMES.get(location.scheme)
    if module is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(_SCHEMES))
        raise InvalidOptionError(
            f"no store is known for {location.scheme or url!r}; a backend URL starts with {known}"
        )
    if module in ("memory", "sqlite") and location.hosts:
        raise InvalidOptionError(
            f"{location.scheme}: {location.hosts!r} stands where a host would; a path takes three "
            "slashes, as in sqlite:///orders.db"
        )
    try:
        found = importlib.import_module(f"{__package__}.{module}")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        raise InvalidOptionError(
            f"{location.scheme}: the driver {error.name} is not installed; "
            f"pip install 'perdure[{extra}]'"
        ) from error
    return cast("_Factory", found.from_url)(location)
