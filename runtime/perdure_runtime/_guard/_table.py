"""What workflow code must not call, and what to use instead; as data.

Names are those of the standard library, fully qualified. The linter's table of effects holds the
same names.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

_NOW: Final = "use perdure.now()"
_CLOCK: Final = "use perdure.now(), or asyncio's loop.time(), which are the turn's time"
_SLEEP: Final = "use `await perdure.sleep(...)` or `await asyncio.sleep(...)`"
_RANDOM: Final = "use perdure.random(), whose numbers are the same at each replay"
_UUID: Final = "use perdure.uuid4()"
_ACTIVITY: Final = "move it into an activity"
_SIDE: Final = "read it in an activity, or with perdure.side_effect(...)"
_THREAD: Final = "use an activity (plain `def` ones run in threads), or asyncio tasks"
_PROCESS: Final = 'use an activity, if need be with executor="process"'

_RANDOM_FUNCTIONS: Final = (
    *("random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform"),
    *("triangular", "betavariate", "binomialvariate", "expovariate", "gammavariate", "gauss"),
    *("lognormvariate", "normalvariate", "paretovariate", "vonmisesvariate", "weibullvariate"),
    *("getrandbits", "randbytes", "seed"),
)

CALLS: Final[dict[str, str]] = {
    "time.time": _NOW,
    "time.time_ns": _NOW,
    "time.monotonic": _CLOCK,
    "time.monotonic_ns": _CLOCK,
    "time.perf_counter": _CLOCK,
    "time.perf_counter_ns": _CLOCK,
    "time.process_time": _CLOCK,
    "time.process_time_ns": _CLOCK,
    "time.thread_time": _CLOCK,
    "time.clock_gettime": _CLOCK,
    "time.clock_gettime_ns": _CLOCK,
    "time.localtime": _NOW,
    "time.gmtime": _NOW,
    "time.ctime": _NOW,
    "time.sleep": _SLEEP,
    "datetime.datetime.now": _NOW,
    "datetime.datetime.utcnow": _NOW,
    "datetime.datetime.today": _NOW,
    "datetime.date.today": _NOW,
    **{f"random.{name}": _RANDOM for name in _RANDOM_FUNCTIONS},
    "random.SystemRandom": _RANDOM,
    "uuid.uuid1": _UUID,
    "uuid.uuid4": _UUID,
    "uuid.getnode": _SIDE,
    "os.urandom": _RANDOM,
    "os.getrandom": _RANDOM,
    "secrets.token_bytes": _RANDOM,
    "secrets.token_hex": _RANDOM,
    "secrets.token_urlsafe": _RANDOM,
    "secrets.randbelow": _RANDOM,
    "secrets.randbits": _RANDOM,
    "secrets.choice": _RANDOM,
    "os.getenv": _SIDE,
    "os.getpid": _SIDE,
    "os.getcwd": _SIDE,
    "os.cpu_count": _SIDE,
    "os.getlogin": _SIDE,
    "os.listdir": _ACTIVITY,
    "os.scandir": _ACTIVITY,
    "os.stat": _ACTIVITY,
    "os.system": _PROCESS,
    "os.popen": _PROCESS,
    "os.fork": _PROCESS,
    "platform.node": _SIDE,
    "socket.gethostname": _SIDE,
    "socket.gethostbyname": _ACTIVITY,
    "socket.getaddrinfo": _ACTIVITY,
    "socket.create_connection": _ACTIVITY,
    "socket.socket": _ACTIVITY,
    "subprocess.run": _PROCESS,
    "subprocess.call": _PROCESS,
    "subprocess.check_call": _PROCESS,
    "subprocess.check_output": _PROCESS,
    "subprocess.Popen": _PROCESS,
    "threading.Thread": _THREAD,
    "threading.Thread.start": _THREAD,
    "threading.Timer": "use perdure.timer()",
    "concurrent.futures.ThreadPoolExecutor": _THREAD,
    "concurrent.futures.ProcessPoolExecutor": _PROCESS,
    "urllib.request.urlopen": _ACTIVITY,
    "builtins.open": _ACTIVITY,
    "builtins.input": "wait for a perdure.Signal",
    "io.open": _ACTIVITY,
}
"""Calls by name, and what to do instead."""

CLOCKS: Final = frozenset(
    {
        *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns"),
        *("time.perf_counter", "time.perf_counter_ns", "time.process_time", "time.process_time_ns"),
    }
)
"""Calls without arguments that others make often: theirs must stay cheap."""

SEEDLESS: Final = "random.Random"
"""Harmless with a seed, and only then."""

AUDITED: Final[dict[str, tuple[str, str]]] = {
    "open": ("open()", _ACTIVITY),
    "os.listdir": ("os.listdir()", _ACTIVITY),
    "os.scandir": ("os.scandir()", _ACTIVITY),
    "os.mkdir": ("os.mkdir()", _ACTIVITY),
    "os.remove": ("os.remove()", _ACTIVITY),
    "os.rename": ("os.rename()", _ACTIVITY),
    "os.rmdir": ("os.rmdir()", _ACTIVITY),
    "os.system": ("os.system()", _PROCESS),
    "os.fork": ("os.fork()", _PROCESS),
    "os.posix_spawn": ("os.posix_spawn()", _PROCESS),
    "subprocess.Popen": ("a subprocess", _PROCESS),
    "socket.connect": ("socket.connect()", _ACTIVITY),
    "socket.bind": ("socket.bind()", _ACTIVITY),
    "socket.getaddrinfo": ("socket.getaddrinfo()", _ACTIVITY),
    "socket.gethostbyname": ("socket.gethostbyname()", _ACTIVITY),
    "socket.sendto": ("socket.sendto()", _ACTIVITY),
    "sqlite3.connect": ("sqlite3.connect()", _ACTIVITY),
    "tempfile.mkstemp": ("tempfile.mkstemp()", _ACTIVITY),
    "tempfile.mkdtemp": ("tempfile.mkdtemp()", _ACTIVITY),
    "time.sleep": ("time.sleep()", _SLEEP),
    "urllib.Request": ("urllib.request", _ACTIVITY),
    "_thread.start_new_thread": ("a thread", _THREAD),
    "_thread.start_joinable_thread": ("a thread", _THREAD),
}
"""Audit events, what people call them, and what to do instead."""

MACHINERY: Final = frozenset(
    {
        *("asyncio", "logging", "traceback", "linecache", "tokenize", "importlib", "inspect"),
        *("warnings", "zipimport", "pkgutil", "encodings", "codecs", "locale", "gettext"),
        *("zoneinfo", "tzdata", "pdb", "bdb", "cmd", "code", "readline", "rlcompleter"),
        *("debugpy", "IPython", "ipdb", "pudb"),
    }
)
"""Modules that may read clocks and files for themselves: the machinery of Python, and debuggers."""

PYDEVD: Final = ("pydev", "_pydev")
"""How the modules of the debugger of VS Code and PyCharm begin, wherever the editor keeps them."""
