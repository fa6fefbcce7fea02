"""Files of a project: which there are, how they are called, and what stands in them.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

SKIPPED: Final = frozenset(
    {
        *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".wflint_cache", "site-packages", ".eggs"),
        *("__pypackages__", ".ipynb_checkpoints"),
    }
)
"""Folders that hold nobody's workflows."""


class UnreadableError(Exception):
    """A file that can't be read, or is not in the encoding that it claims."""


class Project:
    """Files on the disk, with unsaved ones laid over them.

    Args:
        root: the folder that paths are shown relative to, and where configuration lies.
        src: import roots besides those that packages imply; relative to ``root``.
        overlay: texts by absolute path, in place of what is on the disk.
        alone: nothing but the overlay is there.
    """

    def __init__(
        self,
        root: str = ".",
        src: Sequence[str] = (),
        overlay: Mapping[str, str] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._alone = alone
        self.root = os.path.abspath(root)
        self.overlay = dict(overlay or {})
        self._roots: list[str] = [os.path.abspath(os.path.join(self.root, one)) for one in src]
        self._given = tuple(self._roots)
        self._found: dict[str, tuple[str, bool] | None] = {}
        self._names: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self.closed: dict[str, str] = {}
        """Folders that could not be looked into, and why."""

    # --- which files there are

    def discover(self, paths: Iterable[str], exclude: Sequence[str] = ()) -> Iterator[str]:
        """Absolute paths of Python files, in order, each once; links to folders are left alone."""
        seen: set[str] = set()
        for given in paths:
            path = os.path.abspath(os.path.join(self.root, given))
            found = [path] if self._is_file(path) else sorted(self._below(path, exclude))
            for one in found:
                if one not in seen:
                    seen.add(one)
                    yield one

    def _below(self, folder: str, exclude: Sequence[str]) -> Iterator[str]:
        for path in self.overlay:
            if path.startswith(folder + os.sep) and not self._excluded(path, exclude):
                yield path
        stack = [folder]
        while stack:
            current = stack.pop()
            try:
                with os.scandir(current) as entries:
                    items = list(entries)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it went away meanwhile
            except OSError as error:
                self.closed[current] = error.strerror or str(error)
                continue
            for entry in items:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if name in SKIPPED or self._excluded(entry.path, exclude):
                        continue
                    stack.append(entry.path)
                elif name.endswith((".py", ".pyi")) and entry.path not in self.overlay:
                    if name.endswith(".py") and not self._excluded(entry.path, exclude):
                        yield entry.path

    def _excluded(self, path: str, exclude: Sequence[str]) -> bool:
        if not exclude:
            return False
        shown = self.shown(path).replace(os.sep, "/")
        return any(matches(shown, pattern) for pattern in exclude)

    def shown(self, path: str) -> str:
        """A path as users see it."""
        relative = os.path.relpath(path, self.root)
        return path if relative.startswith("..") else relative

    def _is_file(self, path: str) -> bool:
        return path in self.overlay or (not self._alone and os.path.isfile(path))

    # --- how they are called

    def name_of(self, path: str) -> str:
        """The full name under which a file is imported; its folder becomes an import root."""
        found = self._names.get(path)
        if found is not None:
            return found
        folder, file = os.path.split(path)
        parts = [] if file == "__init__.py" else [file.rpartition(".")[0]]
        for root in self._given:
            if path.startswith(root + os.sep):
                inner = os.path.relpath(folder, root)
                above = [] if inner == "." else inner.split(os.sep)
                parts = above + parts
                break
        else:
            while self._is_file(os.path.join(folder, "__init__.py")):
                folder, last = os.path.split(folder)
                parts.insert(0, last)
                if not last:
                    break
            if folder not in self._roots:
                self._roots.append(folder)
                self._found.clear()
        name = ".".join(parts) or "__init__"
        known = self._names.values()
        if name in known:  # two scripts of the same name in different folders
            name = f"{name}@{self.shown(folder)}"
        self._names[path] = name
        return name

    def find(self, dotted: str) -> tuple[str, bool] | None:
        """Path of a module, and whether it is a package; ``None`` when it is not the project's."""
        if dotted in self._found:
            return self._found[dotted]
        for path, name in self._names.items():
            if name == dotted:
                found = (path, os.path.basename(path) == "__init__.py")
                self._found[dotted] = found
                return found
        inner = dotted.replace(".", os.sep)
        result: tuple[str, bool] | None = None
        for root in (*self._given, *self._roots, self.root):
            package = os.path.join(root, inner, "__init__.py")
            if self._is_file(package):
                result = (package, True)
                break
            plain = os.path.join(root, f"{inner}.py")
            if self._is_file(plain):
                result = (plain, False)
                break
        self._found[dotted] = result
        if result is not None:
            self._names.setdefault(result[0], dotted)
        return result

    # --- what stands in them

    def read(self, path: str) -> str:
        """A file's text, with its line ends as they are.

        Raises:
            UnreadableError: it is gone, may not be read, or is not text.
        """
        found = self.overlay.get(path, self._texts.get(path))
        if found is None:
            found = self._texts[path] = decode(self.read_bytes(path))
        return found

    def paths_read(self) -> list[str]:
        """Files whose text was needed."""
        return [path for path in self._texts if path not in self.overlay]

    def read_bytes(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            UnreadableError: it is gone, or may not be read.
        """
        overlaid = self.overlay.get(path)
        if overlaid is not None:
            return overlaid.encode("utf-8", "surrogatepass")
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from None


def decode(data: bytes) -> str:
    """The text of a Python file, by its byte-order mark or its coding comment.

    Raises:
        UnreadableError: it is not in that encoding.
    """
    head = data[:400].split(b"\n", 2)[:2]
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    if encoding == "utf-8" and any(b"coding" in line for line in head):
        import io
        import tokenize

        try:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError as error:
            raise UnreadableError(str(error)) from None
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableError(f"not {encoding}: {error}") from None


def matches(path: str, pattern: str) -> bool:
    """Whether a path with ``/`` between its parts fits a pattern, where ``**`` is any folders."""
    pattern = pattern.removeprefix("./")
    if fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(path, f"{pattern.rstrip('/')}/*"):
        return True
    if pattern.startswith("**/"):
        return matches(path, pattern[3:]) or fnmatch.fnmatch(path, f"*/{pattern[3:]}")
    if "/" not in pattern.rstrip("/*"):
        return any(fnmatch.fnmatch(part, pattern.rstrip("/*")) for part in path.split("/"))
    return False


def encode(data: bytes, text: str) -> bytes:
    """A new text in the encoding of the old file."""
    if data.startswith(b"\xef\xbb\xbf"):
        return text.encode("utf-8-sig")
    head = data[:400].split(b"\n", 2)[:2]
    encoding = "utf-8"
    if any(b"coding" in line for line in head):
        import io
        import tokenize

        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    return text.encode(encoding)
