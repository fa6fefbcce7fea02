"""From a URL to a store; drivers are imported when they are asked for.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import importlib
from typing import Final, Protocol, cast

from perdure import InvalidOptionError

from .contract import Backend


class _Factory(Protocol):
    def __call__(self, location: str, options: dict[str, str]) -> Backend: ...


_SCHEMES: Final = {
    "memory": "perdure_backends.memory",
    "sqlite": "perdure_backends.sqlite",
}


def open_backend(url: str) -> Backend:
    """A store for a URL, not yet opened.

    ``memory://`` · ``sqlite:///relative.db`` · ``sqlite:////absolute.db`` · ``sqlite:///:memory:``
    with options as the query, such as ``?synchronous=NORMAL``.

    Raises:
        InvalidOptionError: the URL names no known store, or an unknown option.
    """
    from urllib.parse import parse_qsl, unquote, urlsplit

    parts = urlsplit(url)
    module = _SCHEMES.get(parts.scheme)
    if module is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(_SCHEMES))
        raise InvalidOptionError(
            f"no store is known for {parts.scheme or url!r}; a backend URL starts with {known}"
        )
    if parts.netloc:
        raise InvalidOptionError(
            f"{parts.scheme}: {parts.netloc!r} stands where a host would; a path takes three "
            "slashes, as in sqlite:///orders.db"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    factory = cast("_Factory", importlib.import_module(module).from_url)
    location = unquote(parts.path[1:] if parts.path.startswith("/") else parts.path)
    return factory(location, options)


def option_error(scheme: str, unknown: set[str], known: tuple[str, ...]) -> InvalidOptionError:
    """The error for options that a store does not know."""
    return InvalidOptionError(
        f"{scheme}: unknown option {', '.join(sorted(unknown))}; known are {', '.join(known)}"
    )
