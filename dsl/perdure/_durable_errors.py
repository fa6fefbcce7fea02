"""Exception classes that keep their class and fields on their way through a store.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from ._conversion import DataConverter
from ._errors import DefinitionError, PayloadError, RegistrationError, RemoteError
from ._failure import Failure
from ._names import default_name

E = TypeVar("E", bound=type[Exception])

GROUP: Final = "ExceptionGroup"


class ErrorClass:
    """A registered class: its name, and how its fields are stored."""

    def __init__(self, cls: type[Exception], name: str, *, retryable: bool) -> None:
        self.cls = cls
        self.name = name
        self.retryable = retryable
        self.parameters = _parameters(cls)

    def encode(self, error: Exception, converter: DataConverter) -> dict[str, bytes]:
        """The fields of an instance.

        Raises:
            PayloadError: one is missing, or can't be stored by its annotation.
        """
        hints = self._hints()
        fields: dict[str, bytes] = {}
        for name in self.parameters:
            if not hasattr(error, name):
                raise PayloadError(
                    f"{self.name} has no attribute {name!r}, which its __init__ takes"
                )
            serializer = converter.serializer(hints[name], f"{self.name}.{name}")
            fields[name] = serializer.encode_checked(getattr(error, name))
        return fields

    def decode(self, fields: dict[str, bytes], converter: DataConverter) -> Exception:
        """An instance from its stored fields.

        Raises:
            PayloadError: they do not fit the class of today.
        """
        hints = self._hints()
        values: dict[str, Any] = {}
        for name, payload in fields.items():
            if name not in hints:
                raise PayloadError(f"{self.name} has no field {name!r} any more")
            values[name] = converter.serializer(hints[name], f"{self.name}.{name}").decode(payload)
        if self.parameters == ("args",):
            return self.cls(*values["args"])
        try:
            return self.cls(**values)
        except Exception as error:
            raise PayloadError(f"{self.name} can't be made from its fields: {error}") from error

    def _hints(self) -> dict[str, Any]:
        if self.parameters == ("args",):
            return {"args": tuple[Any, ...]}
        try:
            return typing.get_type_hints(self.cls.__init__, include_extras=True)
        except Exception as error:
            raise RegistrationError(
                f"{self.name}: an annotation of its __init__ can't be resolved: {error}"
            ) from error


def _parameters(cls: type[Exception]) -> tuple[str, ...]:
    if not inspect.isfunction(cls.__init__):
        return ("args",)  # as every plain exception takes and keeps them
    names: list[str] = []
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DefinitionError(
                f"{cls.__qualname__}.__init__ takes *{parameter.name}, which can't be stored by "
                "annotation; name its parameters"
            )
        if parameter.annotation is parameter.empty:
            raise DefinitionError(
                f"{cls.__qualname__}.__init__: parameter {parameter.name!r} has no annotation, by "
                "which the field of that name is stored"
            )
        names.append(parameter.name)
    return tuple(names)


_by_name: Final[dict[str, ErrorClass]] = {}
_by_class: Final[dict[type[BaseException], ErrorClass]] = {}


@overload
def durable_error(cls: E, /) -> E: ...
@overload
def durable_error(*, name: str | None = None, retryable: bool = True) -> Callable[[E], E]: ...
def durable_error(
    cls: E | None = None, /, *, name: str | None = None, retryable: bool = True
) -> E | Callable[[E], E]:
    """Registers an exception class: raised by an activity or sub-workflow, it arrives as itself.

    Its fields are the parameters of its ``__init__``, stored by their annotations and read from
    the attributes of the same names (a ``@dataclass`` has them by itself). A process that does not
    import the class gets :class:`ActivityError` with the recorded type name and message.

    Args:
        name: recorded name; the qualified name without the module by default.
        retryable: ``False`` ends an activity's retries at once.

    Raises:
        DefinitionError: no exception class, or a parameter without annotation.
        RegistrationError: another class has the name.
    """

    def register(target: E) -> E:
        if not (isinstance(target, type) and issubclass(target, Exception)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"@durable_error takes an exception class, not {target!r}")
        made = ErrorClass(target, name or default_name(target), retryable=retryable)
        other = _by_name.get(made.name)
        if other is not None and _origin(other.cls) != _origin(target):
            raise RegistrationError(
                f"two exception classes have the name {made.name!r}: {_origin(other.cls)} and "
                f"{_origin(target)}; give one of them another with @durable_error(name=…)"
            )
        _by_name[made.name] = _by_class[target] = made
        return target

    return register(cls) if cls is not None else register


def _origin(cls: type) -> tuple[str, str]:
    module = "" if cls.__module__ == "__main__" else cls.__module__
    return module, cls.__qualname__


def record_error(
    error: BaseException, converter: DataConverter, *, with_stack: bool = True
) -> Failure:
    """The record of a failure, with the fields of those in its chain whose class is registered."""

    def describe(error: BaseException) -> tuple[str, bool, dict[str, bytes]] | None:
        registered = _by_class.get(type(error))
        if registered is None or not isinstance(error, Exception):
            return None
        try:
            return registered.name, registered.retryable, registered.encode(error, converter)
        except (PayloadError, RegistrationError):
            return None  # it arrives as what everybody can read

    return Failure.of(error, with_stack=with_stack, describe=describe)


def class_to_deliver(failure: Failure) -> str:
    """The registered name as which a failure can be delivered here; empty for none."""
    if failure.members:
        return GROUP
    return failure.type if failure.fields is not None and failure.type in _by_name else ""


def revive(failure: Failure, name: str, converter: DataConverter) -> Exception:
    """The exception that is to be delivered under a name from :func:`class_to_deliver`.

    Raises:
        PayloadError: this process can't make it (the class is not imported, or has changed).
    """
    if name == GROUP:
        members = [_member(member, converter) for member in failure.members]
        return ExceptionGroup(failure.message.rpartition(" (")[0] or failure.message, members)
    registered = _by_name.get(name)
    if registered is None or failure.fields is None:
        raise PayloadError(
            f"a failure was delivered as {name!r}, a class that this process does not know: import "
            "the module that registers it with @durable_error"
        )
    return registered.decode(failure.fields, converter)


def _member(failure: Failure, converter: DataConverter) -> Exception:
    name = class_to_deliver(failure)
    if not name:
        return RemoteError(failure)
    error = revive(failure, name, converter)
    error.__cause__ = RemoteError(failure.cause) if failure.cause is not None else None
    return error


def cause_of(failure: Failure, converter: DataConverter) -> Exception:
    """A failure for a ``__cause__``: as its own class where that is possible."""
    try:
        return _member(failure, converter)
    except PayloadError:
        return RemoteError(failure)
