"""Private servers for the tests: PostgreSQL, MariaDB (or MySQL), Redis and a Redis Cluster.

``python tests/servers.py COMMAND …`` starts what the machine has on free ports of the loopback
interface, with its data in a temporary folder, runs the command with their URLs in its
environment, and stops them. What is missing is said plainly; where ``CI`` is set it is an error.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

POSTGRES = "PERDURE_TEST_POSTGRES"
MYSQL = "PERDURE_TEST_MYSQL"
REDIS = "PERDURE_TEST_REDIS"
CLUSTER = "PERDURE_TEST_REDIS_CLUSTER"

_PATIENCE = 60.0
_CLUSTER_MASTERS = 3


class MissingError(Exception):
    """A server's programs are not on this machine."""


def free_port() -> int:
    """A port of the loopback interface that nobody uses now, with its cluster-bus port."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if port + 10_000 > 65_535:
                continue
            try:
                two.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def program(name: str, *folders: str) -> str:
    """Where a program lies."""
    found = shutil.which(name)
    if found is None:
        for folder in sorted(folders, reverse=True):
            for path in sorted(Path("/").glob(f"{folder.lstrip('/')}/{name}"), reverse=True):
                return str(path)
        raise MissingError(f"{name} is not installed")
    return found


def other_user() -> str | None:
    """Whose the servers shall be: some refuse to be root's."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "mysql", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


class Server:
    """A process that is started, waited for, killed and started again.

    Args:
        command: how it is started.
        ready: says whether it answers; called until it does.
    """

    def __init__(
        self, command: Sequence[str], ready: Callable[[], bool], log: Path, user: str | None = None
    ) -> None:
        self.command = list(command)
        self.ready = ready
        self.log = log
        self.user = user
        self.process: subprocess.Popen[bytes] | None = None
        self.stop_signal = signal.SIGTERM

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, user=self.user, start_new_session=True
            )
        until = time.monotonic() + _PATIENCE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self.command[0]} does not start:\n{tail}")
            time.sleep(0.02)

    def kill(self, number: int) -> None:
        """Sends a signal and waits for the end."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _succeeds(*command: str) -> Callable[[], bool]:
    def check() -> bool:
        return subprocess.run(command, capture_output=True).returncode == 0

    return check


def _run(*command: str, user: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, user=user)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr).decode()[-3000:]}")


def _own(folder: Path, user: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user)


def postgres(folder: Path) -> tuple[Server, str]:
    """A PostgreSQL server with its stock durable settings."""
    places = "/usr/lib/postgresql/*/bin"
    initdb, binary = program("initdb", places), program("postgres", places)
    user = other_user()
    _own(folder, user)
    data, port = folder / "data", free_port()
    _run(initdb, "-D", str(data), "-U", "perdure", "-A", "trust", "-E", "UTF8", user=user)
    command = [
        *(binary, "-D", str(data), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
        *("-c", "max_connections=300"),
    ]
    ready = _succeeds(
        program("pg_isready", places), "-h", "127.0.0.1", "-p", str(port), "-U", "perdure"
    )
    server = Server(command, ready, folder / "log", user)
    server.stop_signal = signal.SIGINT  # on SIGTERM it waits until all clients have gone
    return server, f"postgresql://perdure@127.0.0.1:{port}/postgres"


def mysql(folder: Path) -> tuple[Server, str]:
    """A MariaDB server with its stock durable settings."""
    binary = program("mariadbd", "/usr/sbin")
    installer = program("mariadb-install-db", "/usr/bin")
    admin = program("mariadb-admin", "/usr/bin")
    user = other_user()
    _own(folder, user)
    data, port, plug = folder / "data", free_port(), folder / "socket"
    _run(
        *(installer, "--no-defaults", f"--datadir={data}", "--skip-test-db"),
        *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
        user=user,
    )
    command = [
        *(binary, "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={plug}"),
        *("--bind-address=127.0.0.1", "--max-connections=300", "--skip-name-resolve"),
    ]
    ready = _succeeds(admin, "--no-defaults", f"--socket={plug}", "-u", "root", "ping")
    server = Server(command, ready, folder / "log", user)
    return server, f"mysql://root@127.0.0.1:{port}/perdure"


def create_database(server: Server) -> None:
    """The database of a MySQL server's URL."""
    (plug,) = [part for part in server.command if part.startswith("--socket=")]
    client = program("mariadb", "/usr/bin")
    _run(client, "--no-defaults", plug, "-u", "root", "-e", "CREATE DATABASE perdure")


def redis(folder: Path, *options: str) -> tuple[Server, str]:
    """A Redis server; stock but for ``options``."""
    binary, client = program("redis-server"), program("redis-cli")
    _own(folder, None)
    port = free_port()
    command = [
        *(binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", *options),
    ]
    ready = _succeeds(client, "-p", str(port), "ping")
    return Server(command, ready, folder / "log"), f"redis://127.0.0.1:{port}/0"


def redis_cluster(folder: Path, *options: str) -> tuple[list[Server], str]:
    """Three masters on loopback, which share the slots."""
    client = program("redis-cli")
    clustered = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options)
    made = [redis(folder / str(n), *clustered) for n in range(_CLUSTER_MASTERS)]
    servers = [server for server, _ in made]
    for server in servers:
        server.start()
    ports = [server.command[server.command.index("--port") + 1] for server in servers]
    nodes = [f"127.0.0.1:{port}" for port in ports]
    _run(client, "--cluster", "create", *nodes, "--cluster-yes")
    until = time.monotonic() + _PATIENCE
    while not all(_cluster_is_up(client, port) for port in ports):
        if time.monotonic() > until:
            raise RuntimeError("the Redis Cluster does not come up")
        time.sleep(0.05)
    return servers, f"redis+cluster://{nodes[0]}"


def _cluster_is_up(client: str, port: str) -> bool:
    done = subprocess.run([client, "-p", port, "cluster", "info"], capture_output=True, text=True)
    return "cluster_state:ok" in done.stdout


class Servers:
    """All servers that the machine has, started for the length of a ``with`` block.

    Attributes:
        urls: environment variables with the URLs of what runs.
        missing: what could not be started, in words.
    """

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.missing: list[str] = []
        self._servers: list[Server] = []
        self._folder: str | None = None

    def __enter__(self) -> Servers:
        self._folder = tempfile.mkdtemp(prefix="perdure-servers-")
        os.chmod(self._folder, 0o755)
        root = Path(self._folder)
        try:
            for variable, make in ((POSTGRES, postgres), (MYSQL, mysql), (REDIS, redis)):
                try:
                    server, url = make(root / variable.rpartition("_")[2].lower())
                except MissingError as error:
                    self.missing.append(f"{variable}: {error}")
                    continue
                self._servers.append(server)
                server.start()
                self.urls[variable] = url
                if variable == MYSQL:
                    create_database(server)
            try:
                servers, url = redis_cluster(root / "cluster")
                self._servers += servers
                self.urls[CLUSTER] = url
            except MissingError as error:
                self.missing.append(f"{CLUSTER}: {error}")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops all of them and removes their data."""
        for server in self._servers:
            server.kill(9)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def main() -> int:
    """Runs a command with the servers beside it."""
    # A shell in the background hands SIGINT down as ignored, to all that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with Servers() as servers:
        for line in servers.missing:
            print(f"not tested for lack of a server: {line}", file=sys.stderr)
        if servers.missing and os.environ.get("CI"):
            print("in CI every server must be there", file=sys.stderr)
            return 1
        return subprocess.call(sys.argv[1:], env={**os.environ, **servers.urls})


if __name__ == "__main__":
    sys.exit(main())
