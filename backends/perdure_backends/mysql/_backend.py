"""The store's face: from URL or pool to a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any

from perdure import InvalidOptionError

from .._relational import RelationalBackend
from .._urls import Location, Options
from . import _migrations
from ._database import MysqlDatabase

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")
_PORT = 3306


class MysqlBackend(RelationalBackend):
    """A store in a MySQL or MariaDB database.

    Args:
        host, port, user, password, database: where it is.
        socket: path of a socket, in place of host and port.
        ssl_context: for TLS; none by default.
        pool: instead of all these, an open ``aiomysql`` pool of yours, made with
            :func:`~perdure_backends.mysql.connection_options`; it stays yours, and nothing is
            migrated unless asked for.
        prefix: what the names of the tables begin with.
        pool_size: connections at most, besides one for each worker.
        timeout: seconds that one round trip may take.
        migrate: create or update the tables when opened.
        transaction_pooler: something in between hands out another connection for each
            transaction.
        clock: microseconds since the epoch, in place of the server's clock; for tests.

    Raises:
        InvalidOptionError: a malformed prefix.
    """

    def __init__(
        self,
        *,
        host: str = "localhost",
        port: int = _PORT,
        user: str | None = None,
        password: str = "",
        database: str = "",
        socket: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        pool: Any = None,
        prefix: str = "perdure_",
        pool_size: int = 10,
        timeout: float = 30.0,
        migrate: bool | None = None,
        transaction_pooler: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise InvalidOptionError(
                "mysql: a prefix has up to 31 letters, digits and underscores, "
                f"and begins with no digit, not {prefix!r}"
            )
        place = socket or f"{host}:{port}"
        shown = "mysql (your pool)" if pool is not None else f"mysql://{place}/{database}"
        access: dict[str, Any] = {"user": user, "password": password, "db": database}
        if socket is not None:
            access["unix_socket"] = socket
        else:
            access.update(host=host, port=port)
        if ssl_context is not None:
            access["ssl"] = ssl_context
        super().__init__(
            MysqlDatabase(
                access,
                shown=shown,
                prefix=prefix,
                pool_size=pool_size,
                timeout=timeout,
                transaction_pooler=transaction_pooler,
                pool=pool,
            ),
            migrate=pool is None if migrate is None else migrate,
            version=_migrations.CODE_VERSION,
            clock=clock,
        )


def from_url(location: Location) -> MysqlBackend:
    """``mysql://user:password@host:3306/database?prefix=perdure_&pool_size=10``.

    TLS: ``tls=yes`` checks the server's certificate against the system's authorities or those of
    ``tls_ca=FILE``; ``tls=unverified`` encrypts only.

    Raises:
        InvalidOptionError: no database, an unknown option, or a value out of range.
    """
    options = Options("mysql", location)
    if not location.path:
        raise InvalidOptionError(
            "mysql: the URL names no database; write mysql://user@host/database"
        )
    nodes = location.nodes(_PORT)
    if len(nodes) > 1:
        raise InvalidOptionError("mysql: one host only; a proxy or DNS can stand for several")
    tls = options.choice("tls", "no", ("no", "yes", "unverified"))
    ca = options.optional("tls_ca")
    socket = options.optional("socket")
    prefix = options.text("prefix", "perdure_")
    pool_size = options.integer("pool_size", 10, least=1)
    timeout = options.number("timeout", 30.0)
    migrate = options.flag("migrate", default=True)
    pooler = options.choice("pooler", "none", ("none", "transaction"))
    options.done()
    return MysqlBackend(
        host=nodes[0][0],
        port=nodes[0][1],
        user=location.user,
        password=location.password or "",
        database=location.path,
        socket=socket,
        ssl_context=_tls(tls, ca),
        prefix=prefix,
        pool_size=pool_size,
        timeout=timeout,
        migrate=migrate,
        transaction_pooler=pooler == "transaction",
    )


def _tls(wanted: str, ca: str | None) -> ssl.SSLContext | None:
    if wanted == "no":
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidOptionError(f"mysql: tls_ca={ca} can't be read: {error}") from error
    if wanted == "unverified":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
