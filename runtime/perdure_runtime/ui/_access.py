"""Who may look and act: passwords, tokens, a proxy's word, sessions, and what guards them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import ipaddress
import json
import secrets
import time
import tomllib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from perdure import UsageError
from starlette.requests import HTTPConnection

Role: TypeAlias = Literal["viewer", "operator"]

SESSION_COOKIE: Final = "perdure_session"
_HOURS: Final = 12
_FAILURES: Final = 5
_WINDOW: Final = 60.0
_ADDRESSES: Final = 10_000
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Somebody.

    Attributes:
        name: shown, and written to the audit log.
        role: ``viewer`` looks, ``operator`` acts too.
        payloads: whether inputs, results and messages are shown, decoded by the codecs.
    """

    name: str
    role: Role = "viewer"
    payloads: bool = True

    @property
    def operates(self) -> bool:
        """Whether they may act."""
        return self.role == "operator"


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """Trust in the headers of a reverse proxy, from named addresses only.

    Attributes:
        addresses: networks of the proxy, such as ``10.0.0.5/32``.
        user_header: says who it is.
        role_header: says the role; without it, everybody has ``role``.
    """

    addresses: tuple[str, ...]
    user_header: str = "X-Forwarded-User"
    role_header: str | None = None
    role: Role = "viewer"
    payloads: bool = True

    def user(self, connection: HTTPConnection) -> User | None:
        """Who the proxy says it is; ``None`` when it is not the proxy, or says nothing."""
        client = connection.client
        if client is None or not _among(client.host, self.addresses):
            return None
        name = connection.headers.get(self.user_header, "").strip()
        if not name:
            return None
        role = self.role
        if self.role_header is not None:
            said = connection.headers.get(self.role_header, "").strip()
            role = "operator" if said == "operator" else "viewer"
        return User(name, role, self.payloads)


def _among(host: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


class Access:
    """Who may use the page.

    Args:
        users: by name: the hash of the password (see :func:`hash_password`) and who it is.
        tokens: by token (for machines, as ``Authorization: Bearer …``, and for links): who it is.
        proxy: whose headers are believed.
        identify: says who a request comes from, for an app that has its own login.
        secret: signs sessions; a random one by default, so that they end with the process.
        clock: seconds, for sessions and rate limits.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, tuple[str, User]] | None = None,
        tokens: Mapping[str, User] | None = None,
        proxy: Proxy | None = None,
        identify: Callable[[HTTPConnection], User | None] | None = None,
        secret: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = dict(users or {})
        # Kept as hashes: comparing takes the same time however much of a token is right.
        self._tokens = {_hash(token): user for token, user in (tokens or {}).items()}
        self._proxy = proxy
        self._identify = identify
        self._secret = secret if secret is not None else secrets.token_bytes(32)
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    @classmethod
    def with_token(cls, token: str, user: User | None = None) -> Access:
        """For one person who has a token."""
        return cls(tokens={token: user if user is not None else User("token", "operator")})

    @property
    def has_passwords(self) -> bool:
        """Whether anybody can log in by name."""
        return bool(self._users)

    # --- who is it

    def user(self, connection: HTTPConnection) -> User | None:
        """Who a request comes from."""
        if self._identify is not None:
            found = self._identify(connection)
            if found is not None:
                return found
        if self._proxy is not None:
            found = self._proxy.user(connection)
            if found is not None:
                return found
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(token.strip())
        return self._by_session(connection.cookies.get(SESSION_COOKIE, ""))

    def by_token(self, token: str, address: str) -> User | None:
        """Who has a token; wrong ones count as failures."""
        found = self._by_token(token)
        if found is None:
            self._failed(address)
        return found

    def _by_token(self, token: str) -> User | None:
        return self._tokens.get(_hash(token)) if token else None

    def by_password(self, name: str, password: str, address: str) -> User | None:
        """Who logs in; it takes the same time whether the name is known or not."""
        stored, user = self._users.get(name, (_NOBODY, None))
        if check_password(password, stored) and user is not None:
            self._failures.pop(address, None)
            return user
        self._failed(address)
        return None

    # --- rate limit

    def _failed(self, address: str) -> None:
        if len(self._failures) >= _ADDRESSES:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(address, deque(maxlen=_FAILURES)).append(self._clock())

    def must_wait(self, address: str) -> int:
        """Seconds until somebody at an address may try to log in again; 0: now."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < _FAILURES:
            return 0
        left = failures[0] + _WINDOW - self._clock()
        return max(0, int(left) + 1) if left > 0 else 0

    # --- sessions

    def session(self, user: User) -> str:
        """A session's cookie."""
        by_name = self._users.get(user.name, (None, None))[1] == user
        data = {
            "name": user.name,
            "by": "password" if by_name else "token",
            "until": int(self._clock()) + _HOURS * 3600,
            "id": secrets.token_hex(8),
        }
        body = base64.urlsafe_b64encode(json.dumps(data).encode()).decode()
        return f"{body}.{self._sign(body)}"

    def _by_session(self, cookie: str) -> User | None:
        body, _, signature = cookie.partition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        try:
            data: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
        except (ValueError, binascii.Error):
            return None
        if data.get("until", 0) < self._clock():
            return None
        # As they are known now: who was taken from the file, or may do less, does so at once.
        if data.get("by") == "password":
            return self._users.get(data["name"], (None, None))[1]
        tokens = (user for user in self._tokens.values() if user.name == data["name"])
        return next(tokens, None)

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    # --- forms

    def form_token(self, connection: HTTPConnection, user: User) -> str:
        """What a form has to send back, for its action to be believed."""
        session = connection.cookies.get(SESSION_COOKIE, "")
        return self._sign(f"form {user.name} {session}")

    def check_form(self, connection: HTTPConnection, user: User, sent: str) -> bool:
        """Whether a form of ours was sent. A bearer's token is proof enough by itself."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._by_token(token.strip()) is not None:
            return True
        return hmac.compare_digest(sent.encode(), self.form_token(connection, user).encode())


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# --- passwords ------------------------------------------------------------------------------


def hash_password(password: str) -> str:
    """What is kept of a password: ``scrypt$salt$hash``."""
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
    return f"scrypt${salt.hex()}${digest.hex()}"


def check_password(password: str, stored: str) -> bool:
    """Whether it is the one of which that was kept."""
    kind, _, rest = stored.partition("$")
    salt, _, wanted = rest.partition("$")
    if kind != "scrypt":
        return False
    try:
        digest = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_SCRYPT)
        return hmac.compare_digest(digest, bytes.fromhex(wanted))
    except ValueError:
        return False


_NOBODY: Final = "scrypt$" + "00" * 16 + "$" + "00" * 64


# --- configuration --------------------------------------------------------------------------


def read_access(path: str | Path) -> Access:
    """Users, tokens and proxy from a TOML file.

    ::

        secret = "…"                       # optional: sessions outlive the process

        [users.ann]
        password = "scrypt$…"              # perdure hash-password
        role = "operator"                  # or "viewer", the default
        payloads = false                   # hidden; shown by default

        [tokens.deploy]
        token = "…"
        role = "operator"

        [proxy]
        addresses = ["10.0.0.5/32"]
        user_header = "X-Forwarded-User"
        role_header = "X-Perdure-Role"     # optional; else everybody has `role`

    Raises:
        UsageError: it can't be read, or says something else.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    _only(data, {"secret", "users", "tokens", "proxy"}, str(path))
    users: dict[str, tuple[str, User]] = {}
    for name, entry in _tables(data, "users", path).items():
        _only(entry, {"password", "role", "payloads"}, f"{path}: users.{name}")
        stored = entry.get("password", "")
        if not str(stored).startswith("scrypt$"):
            raise UsageError(
                f"{path}: users.{name} needs a password as `perdure hash-password` prints it"
            )
        users[name] = (str(stored), _user(name, entry, path))
    tokens: dict[str, User] = {}
    for name, entry in _tables(data, "tokens", path).items():
        _only(entry, {"token", "role", "payloads"}, f"{path}: tokens.{name}")
        token = str(entry.get("token", ""))
        if len(token) < 16:
            raise UsageError(f"{path}: tokens.{name} needs a token of 16 characters or more")
        tokens[token] = _user(name, entry, path)
    proxy: Proxy | None = None
    if "proxy" in data:
        entry = data["proxy"]
        allowed = {"addresses", "user_header", "role_header", "role", "payloads"}
        _only(entry, allowed, f"{path}: proxy")
        addresses = tuple(map(str, entry.get("addresses", ())))
        if not addresses:
            raise UsageError(f"{path}: proxy needs the addresses whose headers are believed")
        for address in addresses:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError as error:
                raise UsageError(f"{path}: proxy: {error}") from None
        user = _user("proxy", entry, path)
        proxy = Proxy(
            addresses,
            str(entry.get("user_header", "X-Forwarded-User")),
            entry.get("role_header"),
            user.role,
            user.payloads,
        )
    if not users and not tokens and proxy is None:
        raise UsageError(f"{path}: neither users nor tokens nor a proxy: nobody could get in")
    secret = data.get("secret")
    if secret is not None and len(str(secret)) < 32:
        raise UsageError(f"{path}: the secret needs 32 characters or more")
    return Access(
        users=users,
        tokens=tokens,
        proxy=proxy,
        secret=None if secret is None else str(secret).encode(),
    )


def _tables(data: dict[str, Any], name: str, path: str | Path) -> dict[str, dict[str, Any]]:
    found = data.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: [{name}.NAME] is a table for each of them")
    tables = cast("dict[str, Any]", found)
    for key, entry in tables.items():
        if not isinstance(entry, dict):
            raise UsageError(f"{path}: {name}.{key} is a table")
    return tables


def _only(data: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise UsageError(
            f"{where}: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


def _user(name: str, entry: dict[str, Any], path: str | Path) -> User:
    role = entry.get("role", "viewer")
    if role not in ("viewer", "operator"):
        raise UsageError(f"{path}: {name}: a role is viewer or operator, not {role!r}")
    payloads = entry.get("payloads", True)
    if not isinstance(payloads, bool):
        raise UsageError(f"{path}: {name}: payloads is true or false")
    return User(name, role, payloads)
