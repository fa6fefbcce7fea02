"""What is known of a value: what it may be, what it holds, and what it was made of.

A value is a join over all the ways in which the code may have made it. Nothing known is no types
at all. Types are small tuples, in the order in which they were found, so that nothing here depends
on hashes:

==============================  =================================================================
``("set",)`` …                  a builtin: ``set``, ``dict`` (of unknown origin), ``odict`` (whose
                                insertions were seen), ``view``/``oview`` of such, ``list``,
                                ``iter``, ``str``, ``int``, ``float``, ``bool``, ``none``, ``bytes``
``("lit", text)``               a string that is known
``("tup", (values))``           a tuple whose elements are known
``("fn", function)``            a function of the project, also a lambda
``("bound", function, owner)``  a method; the owner is a type
``("cls", class)``              a class of the project; ``inst``: an object of it
``("mod", name)``               a module
``("ext", name)``               something outside of the project, by its full name
``("xinst", name)``             an object of such a class
``("act", function)``           an activity; ``wf``: a workflow
``("opt", type)``               an activity or a workflow with options
``("super", class, owner)``     what ``super()`` gives
``("partial", type, values)``   ``functools.partial``
``("coro", value)``             what will be ``value`` when awaited
``("cmd", value)``              a command's future
``("cached", type)``            a function behind a cache of the process
==============================  =================================================================

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Optional

Type = tuple[Any, ...]

_DEPTH: Final = 3
_WIDTH: Final = 12
"""Types of one value; a value that may be more is one of which nothing is known."""


class Value(NamedTuple):
    """See the module.

    Attributes:
        types: what it may be.
        sources: numbers of the ambient inputs that it was made of.
        element: what it holds, if it holds anything.
        order: numbers of the places that gave its elements an order which differs from run to run.
        mutable_global: the module-level name, as (module, name), that it was read from.
    """

    types: tuple[Type, ...] = ()
    sources: tuple[int, ...] = ()
    element: Optional[Value] = None  # noqa: UP045 - a string can't be joined by `|`
    order: tuple[int, ...] = ()
    origin: tuple[str, str] | None = None

    def has(self, *tags: str) -> bool:
        """Whether it may be of one of these kinds."""
        for kind in self.types:  # noqa: SIM110 - asked all the time, and a generator costs twice
            if kind[0] in tags:
                return True
        return False

    def only(self, *tags: str) -> bool:
        """Whether it is known, and of these kinds."""
        return bool(self.types) and all(kind[0] in tags for kind in self.types)

    @property
    def anonymous(self) -> Value:
        """The value, wherever it was read from."""
        return self if self.origin is None else self._replace(origin=None)

    @property
    def text(self) -> str | None:
        """The string that it is known to be."""
        if len(self.types) == 1 and self.types[0][0] == "lit":
            found: str = self.types[0][1]
            return found
        return None


UNKNOWN: Final = Value()


def of(tag: str, *more: Any) -> Value:
    """A value of one type."""
    return Value(((tag, *more),))


NONE: Final = of("none")
INT: Final = of("int")
STR: Final = of("str")
BOOL: Final = of("bool")
FLOAT: Final = of("float")
BYTES: Final = of("bytes")


def _merge(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    if not right or left == right:
        return left
    if not left:
        return right
    more = tuple(one for one in right if one not in left)
    return left + more if more else left


def _merge_types(left: tuple[Type, ...], right: tuple[Type, ...]) -> tuple[Type, ...]:
    if not right or left == right:
        return left
    if not left:
        return right
    found = list(left)
    for kind in right:
        if kind in found:
            continue
        same = kind[0] in ("tup", "coro", "cmd") and next(
            (n for n, one in enumerate(found) if _joinable(one, kind)), None
        )
        if same is None or same is False:
            found.append(kind)
        elif kind[0] == "tup":
            pairs = zip(found[same][1], kind[1], strict=True)
            found[same] = ("tup", tuple(join(a, b) for a, b in pairs))
        else:
            found[same] = (kind[0], join(found[same][1], kind[1]))
    if len(found) > _WIDTH:
        found = [one for one in found if one[0] not in ("lit", "tup")]
    return tuple(found[: 2 * _WIDTH])


def _joinable(left: Type, right: Type) -> bool:
    if left[0] != right[0]:
        return False
    return left[0] != "tup" or len(left[1]) == len(right[1])


def join(left: Value, right: Value, depth: int = _DEPTH) -> Value:
    """What is either; ``left`` itself when that holds ``right`` already."""
    if left is right or left == right or right is UNKNOWN:
        return left
    if left is UNKNOWN:
        return right
    element = left.element
    if right.element is not None and depth > 0:
        element = right.element if element is None else join(element, right.element, depth - 1)
    joined = Value(
        _merge_types(left.types, right.types),
        _merge(left.sources, right.sources),
        element,
        _merge(left.order, right.order),
        left.origin if left.origin == right.origin else None,
    )
    return left if joined == left else joined


def join_all(values: list[Value]) -> Value:
    """The join of many."""
    found = UNKNOWN
    for value in values:
        found = join(found, value)
    return found


def tainted(value: Value, sources: tuple[int, ...], order: tuple[int, ...] = ()) -> Value:
    """The value, made of these too."""
    if not sources and not order:
        return value
    return value._replace(sources=_merge(value.sources, sources), order=_merge(value.order, order))


def shallow(value: Value, depth: int = _DEPTH) -> Value:
    """The value without what is nested too deeply to be told apart."""
    element = value.element
    if element is not None:
        element = None if depth <= 0 else shallow(element, depth - 1)
    types: list[Type] = []
    for kind in value.types:
        if kind[0] == "tup":
            if depth <= 0:
                types.append(("tuple",))
                continue
            kind = ("tup", tuple(shallow(one, depth - 1) for one in kind[1]))
        elif kind[0] in ("coro", "cmd"):
            kind = (kind[0], shallow(kind[1], depth - 1) if depth > 0 else UNKNOWN)
        elif kind[0] == "partial":
            kind = (
                ("partial", kind[1], tuple(shallow(one, depth - 1) for one in kind[2]))
                if depth > 0
                else kind[1]
            )
        types.append(kind)
    return value._replace(types=tuple(types), element=element)


def elements_of(value: Value) -> Value:
    """What iterating it gives."""
    found = value.element or UNKNOWN
    for kind in value.types:
        if kind[0] == "tup":
            for one in kind[1]:
                found = join(found, one)
        elif kind[0] in ("str", "lit"):
            found = join(found, STR)
        elif kind[0] == "bytes":
            found = join(found, INT)
    return tainted(found, value.sources)
