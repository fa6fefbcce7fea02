"""A function's signature as the converter and the checks see it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from ._conversion import DataConverter, Serializer
from ._errors import (
    ArgumentsError,
    ArgumentValueError,
    DefinitionError,
    PayloadError,
    RegistrationError,
)
from ._injection import Injected

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class Signature:
    """Parameters and result of a decorated function.

    Annotations are required at decoration and resolved at first use, when the names that they
    refer to exist.

    Args:
        function: the plain function.
        kind: ``workflow`` or ``activity``, for messages.
        method: the first parameter is ``self`` and not an argument.

    Raises:
        DefinitionError: an annotation is missing, or the function takes ``*args``/``**kwargs``.
    """

    def __init__(self, function: Callable[..., Any], kind: str, *, method: bool) -> None:
        self.function = function
        self.kind = kind
        self.method = method
        parameters = list(inspect.signature(function).parameters.values())
        if method:
            parameters = parameters[1:]
        self.injected = tuple(p.name for p in parameters if isinstance(p.default, Injected))
        if self.injected:
            self._check_injected(parameters)
            parameters = [p for p in parameters if p.name not in self.injected]
        self.parameters = tuple(parameters)
        self._check_annotations()
        self.required = sum(p.default is p.empty for p in parameters if p.kind in _POSITIONAL)
        self.positional = sum(p.kind in _POSITIONAL for p in parameters)
        self.keyword_only = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        self._bindable = inspect.Signature(parameters)
        self._converted: dict[int, ConvertedSignature] = {}

    def _check_injected(self, parameters: list[inspect.Parameter]) -> None:
        for parameter in parameters:
            if parameter.name not in self.injected:
                continue
            name = describe(self.function)
            if self.kind != "activity":
                raise DefinitionError(f"{self.kind} {name}: only activities are given resources")
            if parameter.kind is not parameter.KEYWORD_ONLY:
                raise DefinitionError(
                    f"{self.kind} {name}: {parameter.name!r} must be keyword-only to be injected: "
                    f"write `*, {parameter.name}: Type = inject()`"
                )
            if parameter.annotation is parameter.empty:
                raise DefinitionError(
                    f"{self.kind} {name}: {parameter.name!r} has no annotation, by which the "
                    "worker finds what to inject"
                )

    def _check_annotations(self) -> None:
        name = describe(self.function)
        for parameter in self.parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise DefinitionError(
                    f"{self.kind} {name}: *{parameter.name} can't be stored by annotation; "
                    "take a list or a dict instead"
                )
            if parameter.annotation is parameter.empty:
                raise DefinitionError(
                    f"{self.kind} {name}: parameter {parameter.name!r} has no annotation; write "
                    f"`{parameter.name}: SomeType`, for arguments are stored by their annotation"
                )
        if inspect.signature(self.function).return_annotation is inspect.Signature.empty:
            raise DefinitionError(
                f"{self.kind} {name}: the result has no annotation; write `-> SomeType` "
                "(or `-> None`), for results are stored by their annotation"
            )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Arguments in the order of the parameters, with defaults filled in.

        Raises:
            ArgumentsError: they do not fit.
        """
        if not kwargs and len(args) == self.positional and not self.keyword_only:
            return args
        try:
            bound = self._bindable.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentsError(
                f"{self.kind} {describe(self.function)}: {error}; its signature is {self._bindable}"
            ) from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def converted(self, converter: DataConverter) -> ConvertedSignature:
        """The serializers of this signature under a converter (made once).

        Raises:
            RegistrationError: an annotation can't be resolved, or a type can't be converted.
        """
        found = self._converted.get(id(converter))
        if found is None or found.converter is not converter:
            found = self._converted[id(converter)] = self._convert(converter)
        return found

    def _convert(self, converter: DataConverter) -> ConvertedSignature:
        return ConvertedSignature(self, converter)

    def resolve(self) -> tuple[list[Any], Any]:
        """The types of the parameters and of the result.

        Raises:
            RegistrationError: a name in an annotation can't be found.
        """
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except Exception as error:
            raise RegistrationError(
                f"{self.kind} {describe(self.function)}: an annotation can't be resolved: "
                f"{error}. Names used in annotations must be importable at run time, not only "
                "under TYPE_CHECKING"
            ) from error
        result = hints["return"]
        if typing.get_origin(result) in (Coroutine, Generator):
            result = typing.get_args(result)[2]
        return [hints[parameter.name] for parameter in self.parameters], result

    def injections(self) -> dict[str, Any]:
        """The types of the parameters that a worker fills, by name.

        Raises:
            RegistrationError: a name in an annotation can't be found.
        """
        if not self.injected:
            return {}
        try:
            hints = typing.get_type_hints(self.function)
        except Exception as error:
            raise RegistrationError(
                f"{self.kind} {describe(self.function)}: an annotation can't be resolved: {error}"
            ) from error
        return {name: hints[name] for name in self.injected}


class AnySignature(Signature):
    """Of catch-all functions, and of calls by name: a list of anything, and anything back."""

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """See :meth:`Signature.bind`; only positional arguments can be given by name."""
        if kwargs:
            raise ArgumentsError(
                f"{self.kind}s that are called by name take positional arguments only; got "
                f"{', '.join(kwargs)}"
            )
        return (list(args),)

    def _convert(self, converter: DataConverter) -> ConvertedSignature:
        return _AnyConverted(self, converter)


class ConvertedSignature:
    """Serializers of a signature's arguments (as one JSON array) and result."""

    def __init__(self, signature: Signature, converter: DataConverter) -> None:
        self.signature = signature
        self.converter = converter
        types, result = signature.resolve()
        self._types = types
        name = describe(signature.function)
        try:
            for parameter, annotation in zip(signature.parameters, types, strict=True):
                # Each by itself first, so that a refusal names the parameter.
                converter.serializer(annotation, parameter.name)
            self._arguments: Serializer = converter.serializer(
                tuple.__class_getitem__(tuple(types)),
                "arguments",
            )
            self.result: Serializer = converter.serializer(
                None if result is type(None) else result, "result"
            )
        except RegistrationError as error:
            raise RegistrationError(f"{signature.kind} {name}: {error}") from error

    def encode(self, arguments: tuple[Any, ...], *, checked: bool) -> bytes:
        """Bytes of bound arguments.

        Args:
            checked: prove that they come back unchanged (skipped where that was done before).

        Raises:
            ArgumentsError: an argument's type is not what the annotation says.
        """
        try:
            if checked:
                return self._arguments.encode_checked(arguments)
            return self._arguments.encode(arguments)
        except PayloadError as error:
            raise self._named(error, ArgumentValueError) from error

    def decode(self, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for the function.

        Raises:
            PayloadError: the bytes do not fit the signature.
        """
        try:
            values: tuple[Any, ...] = self._arguments.decode(payload)
        except PayloadError as error:
            shorter = self._decode_shorter(payload)
            if shorter is None:
                raise self._named(error, PayloadError) from error
            values = shorter
        signature = self.signature
        if not signature.keyword_only:
            return list(values), {}
        count = signature.positional
        return list(values[:count]), dict(zip(signature.keyword_only, values[count:], strict=True))

    def _decode_shorter(self, payload: bytes) -> tuple[Any, ...] | None:
        """Arguments from before parameters with defaults were added at the end."""
        parameters = self.signature.parameters
        for count in range(len(parameters) - 1, -1, -1):
            if parameters[count].default is parameters[count].empty:
                return None
            types = tuple.__class_getitem__(tuple(self._types[:count]))
            try:
                values = self.converter.serializer(types, "arguments").decode(payload)
            except PayloadError:
                continue
            return (*values, *(parameter.default for parameter in parameters[count:]))
        return None

    def _named(self, error: PayloadError, cls: type[PayloadError]) -> PayloadError:
        """The same error with ``arguments[2].price`` called by the parameter's name."""
        path = error.path
        message = str(error)
        if path.startswith("arguments[") and "]" in path:
            index, _, rest = path.removeprefix("arguments[").partition("]")
            if index.isdigit() and int(index) < len(self.signature.parameters):
                named = self.signature.parameters[int(index)].name + rest
                message = message.replace(path, named, 1)
                path = named
        if type(error) is not PayloadError:
            cls = type(error)
        return cls(
            f"{self.signature.kind} {describe(self.signature.function)}: {message}", path=path
        )


class _AnyConverted(ConvertedSignature):
    """The stored arguments as one list, whatever they are."""

    def __init__(self, signature: Signature, converter: DataConverter) -> None:
        super().__init__(signature, converter)
        self._values: Serializer = converter.serializer(list[Any], "arguments")

    def encode(self, arguments: tuple[Any, ...], *, checked: bool) -> bytes:
        return self._values.encode(arguments[0])

    def decode(self, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
        return [self._values.decode(payload)], {}


def describe(function: Callable[..., Any]) -> str:
    """``name (file:line)`` of a function, for messages."""
    code = getattr(function, "__code__", None)
    name = function.__qualname__.rpartition("<locals>.")[2]
    return (
        f"{name!r} ({code.co_filename}:{code.co_firstlineno})" if code is not None else repr(name)
    )
