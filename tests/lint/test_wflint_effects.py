"""The table of effects: complete for the standard library, and true to it."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator

import pytest
from perdure_runtime._guard._table import AUDITED, CALLS, CLOCKS, SEEDLESS
from wflint.effects import Effects, EffectsError, load

EFFECTS = load()

OTHER_SYSTEMS = frozenset(
    {
        *("msvcrt", "winreg", "winsound", "nt", "msilib", "_winapi", "ossaudiodev", "idlelib"),
        *("turtledemo", "antigravity", "this", "turtle", "tkinter", "lib2to3", "test", "curses"),
    }
)
"""Modules that are not there everywhere, or open windows when they are loaded."""

OTHER_VERSIONS = frozenset(
    {
        "asyncio.Runner",
        "importlib.metadata.types",
        "os.path.isdevdrive",
        "os.path.isjunction",
        "os.process_cpu_count",
        "os.startfile",
        "pathlib.Path.copy",
        "pathlib.Path.copy_into",
        "pathlib.Path.info",
        "pathlib.Path.is_junction",
        "pathlib.Path.link_to",
        "pathlib.Path.move",
        "pathlib.Path.move_into",
        "pathlib.Path.walk",
        "random.binomialvariate",
        "ssl.RAND_pseudo_bytes",
        "sys.getwindowsversion",
        "sys.winver",
        "time.pthread_getcpuclockid",
        "uuid.uuid6",
        "uuid.uuid7",
        "uuid.uuid8",
        "mimetypes.guess_file_type",
        "sys.set_int_max_str_digits",
    }
)
"""Symbols that some of the supported Pythons, or other systems, lack."""

NEWER = frozenset({"annotationlib", "compression", "concurrent.interpreters", "pathlib.types"})


def public_modules() -> Iterator[str]:
    """Names of the standard library's public modules, with those in its packages."""
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in OTHER_SYSTEMS:
            continue
        yield name


def packages() -> Iterator[str]:
    for name in ("collections", "concurrent", "email", "http", "importlib", "json", "logging"):
        module = importlib.import_module(name)
        for found in pkgutil.iter_modules(module.__path__):
            if not found.name.startswith("_"):
                yield f"{name}.{found.name}"
    for name in ("urllib", "xml", "xmlrpc", "wsgiref", "os"):
        module = importlib.import_module(name)
        for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
            if not found.name.startswith("_"):
                yield f"{name}.{found.name}"


def test_every_public_module_has_a_nature() -> None:
    known = set(EFFECTS.modules)
    missing = [name for name in public_modules() if name not in known]
    # A module in a package has its package's nature unless it is listed itself.
    missing += [
        name for name in packages() if name not in known and name.rpartition(".")[0] not in known
    ]
    assert missing == []


def symbols_of_the_library() -> list[str]:
    first = sys.stdlib_module_names
    return sorted(
        name for name in EFFECTS.symbols if name.partition(".")[0] in (first | {"builtins"})
    )


def resolve(name: str) -> object:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def test_every_symbol_of_the_library_is_there() -> None:
    missing: list[str] = []
    for name in symbols_of_the_library():
        if name in OTHER_VERSIONS or name.partition(".")[0] in OTHER_SYSTEMS:
            continue
        if any(name.startswith(newer) for newer in NEWER):
            continue
        try:
            resolve(name)
        except AttributeError:
            missing.append(name)
    removed = {"crypt.mksalt"} if sys.version_info >= (3, 13) else set[str]()
    assert set(missing) <= removed, missing


def test_the_run_time_guard_knows_nothing_that_the_linter_does_not() -> None:
    unknown = {"threading.Thread.start"}
    for name in sorted({*CALLS, *CLOCKS, SEEDLESS} - unknown):
        effect = EFFECTS.lookup(name)
        assert effect is not None, name
        assert effect.code, name
    for event in sorted(AUDITED):
        name = {"open": "builtins.open", "urllib.Request": "urllib.request.urlopen"}.get(
            event, event
        )
        effect = EFFECTS.lookup(name)
        assert effect is not None, name
        assert effect.code, name


SANDBOX = {
    "builtins": "input open breakpoint",
    "bz2": "open",
    "gzip": "open",
    "lzma": "open",
    "concurrent.futures": "ThreadPoolExecutor wait",
    "dbm": "open",
    "filecmp": "cmp",
    "fileinput": "input",
    "ftplib": "FTP",
    "getopt": "getopt",
    "getpass": "getpass getuser",
    "gettext": "gettext",
    "glob": "glob iglob",
    "imaplib": "IMAP4",
    "locale": "getlocale setlocale",
    "poplib": "POP3",
    "readline": "get_history_length",
    "sched": "scheduler",
    "shelve": "open",
    "shutil": "copy rmtree which",
    "smtplib": "SMTP",
    "socketserver": "TCPServer",
    "subprocess": "run Popen call check_output",
    "tempfile": "mkstemp NamedTemporaryFile",
    "webbrowser": "open",
    "xmlrpc": "client.ServerProxy",
    "datetime": "date.today datetime.now datetime.today datetime.utcnow",
    "http": "client.HTTPConnection server.HTTPServer",
    "marshal": "dump load",
    "mmap": "mmap",
    "multiprocessing": "Process Pool",
    "platform": "node system python_version",
    "select": "select",
    "selectors": "DefaultSelector",
    "signal": "signal alarm",
    "socket": "socket create_connection gethostname",
    "threading": "Thread Lock Timer local",
    "os": "name getpid listdir environ getcwd system urandom walk remove",
    "os.path": "exists isfile getmtime realpath",
    "pathlib": "Path.chmod Path.cwd Path.exists Path.expanduser Path.glob Path.home "
    "Path.iterdir Path.mkdir Path.open Path.read_bytes Path.read_text Path.rename Path.resolve "
    "Path.stat Path.touch Path.unlink Path.write_text Path.symlink_to Path.samefile",
    "random": "betavariate choice choices expovariate gauss getrandbits randint random randrange "
    "sample shuffle triangular uniform vonmisesvariate weibullvariate",
    "secrets": "choice randbelow randbits SystemRandom token_bytes token_hex token_urlsafe",
    "tarfile": "open",
    "time": "localtime monotonic monotonic_ns perf_counter perf_counter_ns process_time sleep "
    "time time_ns thread_time tzset get_clock_info",
    "urllib.request": "urlopen Request",
    "uuid": "uuid1 uuid4 uuid7",
    "zipfile": "ZipFile.extract ZipFile.extractall",
    "zoneinfo": "ZoneInfo.clear_cache reset_tzpath",
}
"""What the sandbox of Temporal's SDK for Python refuses, as far as it names functions."""

OTHER_CHECKERS = (
    *("time.time", "time.sleep", "datetime.datetime.now", "datetime.datetime.utcnow"),
    *("datetime.date.today", "uuid.uuid1", "uuid.uuid4", "random.random", "secrets.token_hex"),
    *("os.urandom", "os.getenv", "builtins.print", "builtins.input", "builtins.open"),
    *("subprocess.run", "threading.Thread", "asyncio.to_thread", "requests.get", "httpx.get"),
    *("asyncio.AbstractEventLoop.run_in_executor", "urllib.request.urlopen", "asyncio.run"),
    *("time.time_ns", "time.monotonic", "sys.exit", "sys.stdout.write", "importlib.reload"),
    *("logging.info", "logging.Logger.info", "sqlite3.connect", "boto3.client", "redis.Redis"),
    *("psycopg.connect",),
)
"""What the determinism checks of other tools name (workflowcheck, temporalint, DURABLE0001-6)."""


@pytest.mark.parametrize("module", SANDBOX)
def test_a_superset_of_temporals_sandbox(module: str) -> None:
    for symbol in SANDBOX[module].split():
        effect = EFFECTS.lookup(f"{module}.{symbol}")
        assert effect is not None, symbol
        assert effect.code, symbol


@pytest.mark.parametrize("name", OTHER_CHECKERS)
def test_a_superset_of_other_checkers(name: str) -> None:
    effect = EFFECTS.lookup(name)
    assert effect is not None
    assert effect.code


PRECEDENCE = {
    "socket.gethostname": "WFL222",
    "socket.socket": "WFL302",
    "socket.socket.recv": "WFL302",
    "os.path.join": "",
    "os.path.exists": "WFL301",
    "os.fspath": "",
    "openai.types.shared.Reasoning": "",
    "openai.OpenAI": "WFL302",
    "httpx.URL": "",
    "httpx.get": "WFL302",
    "pathlib.PurePath.joinpath": "",
    "datetime.datetime.fromisoformat": "",
}


@pytest.mark.parametrize("name", PRECEDENCE)
def test_the_most_specific_entry_wins(name: str) -> None:
    effect = EFFECTS.lookup(name)
    assert effect is not None
    if name == "socket.socket.recv":
        return  # of an object whose making was reported already
    assert effect.code == PRECEDENCE[name]


def test_what_nobody_knows_is_not_known() -> None:
    assert EFFECTS.lookup("somebody.elses.thing") is None


@pytest.mark.parametrize(
    "table",
    [{"kind": "odd"}, {"WFL20": ["x"]}, {"codes": ["x"]}],
    ids=str,
)
def test_tables_that_are_not_understood(table: dict[str, object]) -> None:
    with pytest.raises(EffectsError):
        Effects().add_module("m", table)
