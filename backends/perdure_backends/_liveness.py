"""Proof that a worker process on this host is gone: the lock on its file is free.

Each process holds one POSIX lock on one file, opened once (closing *any* descriptor of a file
drops the process's locks on it). A session's row says where that file is. A lock that can be
taken proves that its owner is gone, provided that boot id, device and inode agree: then it is the
very file, on this very kernel. Process ids prove nothing (they are reused, and containers have
their own). Sessions of this process are judged by a registry, never by the lock, and a fork opens
a file of its own.

The file of a process that died stays: it is the proof for each of its sessions, in each store and
shard, and who takes one over knows nothing of the others. Whoever opens a file of its own in the
folder clears away what has lain there marked for an hour, see :func:`_tidy`.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

try:
    import fcntl
except ImportError:  # Windows: leases run out, nothing shortens them
    fcntl = None  # type: ignore[assignment]

_guard: Final = threading.Lock()
_OPENING: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)  # the folder may lie in /tmp
_DEAD: Final = b"dead"
_YOUNG: Final = 60  # seconds; a younger file may belong to one who is about to lock it
_KEPT: Final = 3600  # seconds from the mark to the removal


class _ProcessLock:
    """This process's lock in one folder."""

    def __init__(self, folder: Path) -> None:
        if fcntl is None:
            raise OSError("no POSIX locks here")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{secrets.token_hex(8)}.lock"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(self._fd)
        self.identity = {"device": status.st_dev, "inode": status.st_ino}
        _tidy(folder, self.path)


_locks: dict[str, _ProcessLock] = {}
_sessions: set[str] = set()


def _after_fork() -> None:
    # The parent's locks are not inherited, and its sessions are not ours.
    _locks.clear()
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def boot_id() -> str:
    """What names this boot of this kernel; empty when unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return ""


def register(session_id: str, folder: Path | None) -> str:
    """Notes a session of this process and returns the proof for its row."""
    with _guard:
        _sessions.add(session_id)
        boot = boot_id()
        if folder is None or fcntl is None or not boot:
            return "{}"
        key = str(folder)
        try:
            lock = _locks.get(key)
            if lock is None or not lock.path.exists():
                lock = _locks[key] = _ProcessLock(folder)
                atexit.register(_remove, str(lock.path), os.getpid())
        except OSError:
            return "{}"
        return json.dumps({"boot": boot, "path": str(lock.path), **lock.identity})


def unregister(session_id: str) -> None:
    """A session of this process has ended in good order."""
    with _guard:
        _sessions.discard(session_id)


def proven_dead(session_id: str, proof: str) -> bool:
    """Whether the session's process is certainly gone. ``False`` means: nobody knows."""
    with _guard:
        if session_id in _sessions or fcntl is None:
            return False
        data: dict[str, Any] = json.loads(proof)
        if not data or data.get("boot") != boot_id():
            return False
        path = str(data["path"])
        if any(str(lock.path) == path for lock in _locks.values()):
            return False  # our own file: opening it here would drop our lock
        return _lock_is_free(path, data)


def _lock_is_free(path: str, data: dict[str, Any]) -> bool:
    try:
        fd = os.open(path, _OPENING)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        same = (status.st_dev, status.st_ino) == (data["device"], data["inode"])
        return same and _try_lock(fd)
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    """Whether nobody held the lock; it goes with the descriptor."""
    if fcntl is None:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _tidy(folder: Path, ours: Path) -> None:
    """Marks the files of dead processes, and removes those that were marked an hour ago.

    A file's age says nothing about when its process died, so the mark does.
    """
    now = time.time()
    for path in folder.glob("*.lock"):
        if path == ours:
            continue  # opening it here would drop our lock
        try:
            fd = os.open(path, _OPENING)
        except OSError:
            continue
        try:
            status = os.fstat(fd)
            age = now - status.st_mtime
            if age < _YOUNG or not _try_lock(fd):
                continue
            if not status.st_size:
                os.write(fd, _DEAD)
            elif age > _KEPT:
                os.unlink(path)
        except OSError:
            continue
        finally:
            os.close(fd)


def _remove(path: str, pid: int) -> None:
    """Removes our file when the process ends, unless sessions stay behind that it proves dead."""
    if os.getpid() != pid or _sessions:
        return
    try:
        os.unlink(path)
    except OSError:
        pass
