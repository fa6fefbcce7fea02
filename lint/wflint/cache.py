"""What is kept between runs: trees by their text, and the last output for unchanged files.

The folder ``.wflint_cache`` may be deleted at any time. Nothing in it is trusted: what can't be
read is made anew. Files are written aside and renamed, under a lock where several processes run.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from .syntax import Tree

FOLDER: Final = ".wflint_cache"
FORMAT: Final = 3
"""Changed whenever what is kept is."""

_KEPT_RESULTS: Final = 8


def version_key() -> str:
    """What a cache belongs to: this code, and the Python whose marshal wrote it."""
    from .syntax import VERSION

    return f"{FORMAT}.{VERSION}.{marshal.version}.{sys.version_info[:2]}.{_code_stamp()}"


def _code_stamp() -> str:
    """Changes with the linter's own files: rules, effects, adapters and all."""
    here = os.path.dirname(os.path.abspath(__file__))
    newest, size = 0, 0
    for folder, names, files in os.walk(here):
        names[:] = [name for name in names if name != "__pycache__"]
        for file in files:
            if file.endswith((".py", ".toml")):
                stat = os.stat(os.path.join(folder, file))
                newest = max(newest, stat.st_mtime_ns)
                size += stat.st_size
    return f"{newest}.{size}"


def digest(data: bytes) -> str:
    """What a text is known by."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Cache:
    """The cache of a project.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, FOLDER)
        self._trees: dict[str, bytes] | None = None
        self._used: dict[str, bytes] = {}
        self._key = version_key()
        self.misses = 0

    # --- trees

    def _load(self) -> dict[str, bytes]:
        if self._trees is None:
            self._trees = self._table("trees")
        return self._trees

    def has(self, text: str) -> bool:
        """Whether a text's tree is known."""
        return digest(text.encode("utf-8", "surrogatepass")) in self._load()

    def add(self, text: str, stored: bytes) -> None:
        """Takes in a tree that another process has made."""
        name = digest(text.encode("utf-8", "surrogatepass"))
        self._load()[name] = stored
        self._used[name] = stored

    def tree(self, text: str, lower: Callable[[str], Tree]) -> Tree:
        """The tree of a text, from the cache if it is there."""
        from .syntax import Comment, Tree

        name = digest(text.encode("utf-8", "surrogatepass"))
        stored = self._load().get(name)
        if stored is not None:
            try:
                body, comments = marshal.loads(stored)
                self._used[name] = stored
                return Tree(body, tuple(Comment(*one) for one in comments))
            except (ValueError, EOFError, TypeError):
                pass
        tree = lower(text)
        self.misses += 1
        self._used[name] = pack(tree)
        return tree

    def save(self) -> None:
        """Writes the trees of this run, and those that are already there."""
        if not self.misses and self._trees is not None and self._used.keys() <= self._trees.keys():
            return
        with self.locked():
            self._trees, before = None, self._used
            trees = {**self._load(), **before}
            if len(trees) > 4 * max(len(before), 250):
                trees = dict(before)  # most of it is of other days
            self._write("trees.marshal", {"key": self._key, "trees": trees})
            self._trees = trees

    # --- results

    def result(self, name: str) -> Any:
        """The last result under a name."""
        return self._table("results").get(name)

    def keep_result(self, name: str, value: Any) -> None:
        """Keeps a result."""
        with self.locked():
            results = self._table("results")
            results.pop(name, None)
            results[name] = value
            for old in list(results)[:-_KEPT_RESULTS]:
                del results[old]
            self._write("results.marshal", {"key": self._key, "results": results})

    # --- files

    def _table(self, name: str) -> dict[str, Any]:
        """What a file holds, if it was written by this very code."""
        found = _read(os.path.join(self.folder, f"{name}.marshal"))
        if not isinstance(found, dict):
            return {}
        held = cast("dict[str, Any]", found)
        table = held.get(name) if held.get("key") == self._key else None
        return cast("dict[str, Any]", table) if isinstance(table, dict) else {}

    def _write(self, name: str, value: Any) -> None:
        try:
            self._make_folder()
            handle, path = tempfile.mkstemp(dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    marshal.dump(value, file)
                os.replace(path, os.path.join(self.folder, name))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
        except OSError:
            pass  # a cache that can't be written is no reason to fail

    def _make_folder(self) -> None:
        if os.path.isdir(self.folder):
            return
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, ".gitignore"), "w", encoding="utf-8") as file:
            file.write("*\n")
        with open(os.path.join(self.folder, "CACHEDIR.TAG"), "w", encoding="utf-8") as file:
            file.write("Signature: 8a477f597d28d172789f06886806bc55\n")

    @contextlib.contextmanager
    def locked(self, name: str = "files") -> Generator[None]:
        """One process at a time, where the system has file locks."""
        try:
            import fcntl

            self._make_folder()
            file = open(os.path.join(self.folder, f"{name}.lock"), "w", encoding="utf-8")  # noqa: SIM115
        except (ImportError, OSError):
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def pack(tree: Tree) -> bytes:
    """A tree as it is kept."""
    return marshal.dumps((tree.body, tuple(tuple(one) for one in tree.comments)))


def _read(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except (OSError, ValueError, EOFError, TypeError):
        return None
