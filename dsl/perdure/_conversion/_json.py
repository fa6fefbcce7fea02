"""JSON by annotation, through msgspec, with what msgspec lets slip refused.

msgspec writes non-finite floats as ``null``, and an instance of a subclass loses the fields that
its base does not have. Both are found by a round trip: a value is encoded, decoded as its
annotation says, and encoded again; only when the two texts differ (or hold a ``null`` that may
once have been a float) is the value walked to say which part is at fault.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, cast

import msgspec

from .._errors import PayloadError, RegistrationError


class Serializer(Protocol):
    """Turns values of one annotated type into bytes and back."""

    def encode(self, value: Any, /) -> bytes:
        """Bytes of ``value``. Raises :class:`PayloadError`, which names the part at fault."""
        ...

    def encode_checked(self, value: Any, /) -> bytes:
        """As :meth:`encode`, and proves that :meth:`decode` gives the same value back."""
        ...

    def decode(self, payload: bytes, /) -> Any:
        """The value. Raises :class:`PayloadError` when the bytes do not fit the type."""
        ...


class Converter(Protocol):
    """Makes serializers. Replace it to store something else than JSON."""

    def serializer(self, annotation: Any, what: str) -> Serializer:
        """The serializer for a type.

        Args:
            annotation: the resolved type.
            what: the name by which errors call the value (``order``, ``result`` …).

        Raises:
            RegistrationError: values of this type can't be converted; says what to do instead.
        """
        ...


class JsonConverter:
    """The default converter: msgspec's JSON, and pydantic models where pydantic is installed."""

    def serializer(self, annotation: Any, what: str) -> Serializer:
        """See :meth:`Converter.serializer`."""
        return JsonSerializer(annotation, what)


class JsonSerializer:
    """One type's encoder and decoder."""

    __slots__ = ("_annotation", "_decoder", "_encoder", "_what")

    def __init__(self, annotation: Any, what: str) -> None:
        self._annotation = annotation
        self._what = what
        try:
            info = msgspec.inspect.type_info(annotation)
            has_set = _inspect(info, what, set())
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
                annotation, dec_hook=_decode_custom
            )
        except RegistrationError:
            raise
        except Exception as error:
            raise RegistrationError(_refusal(annotation, what, str(error))) from error
        # Sets have no order of their own: sorted, their text is the same in every process.
        self._encoder = msgspec.json.Encoder(
            enc_hook=_encode_custom, order="deterministic" if has_set else None
        )

    def encode(self, value: Any, /) -> bytes:
        """See :meth:`Serializer.encode`."""
        try:
            return self._encoder.encode(value)
        except Exception as error:
            raise self._blame(value, error) from error

    def encode_checked(self, value: Any, /) -> bytes:
        """See :meth:`Serializer.encode_checked`."""
        payload = self.encode(value)
        back = self._decode(payload, value)
        if b"null" in payload or self._encoder.encode(back) != payload:
            part = _difference(value, back, self._what)
            if part is not None:
                path, reason = part
                raise PayloadError(f"{path}: {reason}", path=path)
        return payload

    def decode(self, payload: bytes, /) -> Any:
        """See :meth:`Serializer.decode`."""
        return self._decode(payload, None)

    def _decode(self, payload: bytes, original: Any) -> Any:
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
            message, path = _locate(str(error), self._what)
            if original is not None and (bad := _non_finite(original, self._what)):
                message, path = "nan and infinity can't be stored as JSON", bad
            raise PayloadError(
                f"{path}: {message} (the type is {_show(self._annotation)})", path=path
            ) from error

    def _blame(self, value: Any, error: Exception) -> PayloadError:
        path = _find_unencodable(value, self._what, self._encoder, 0)
        return PayloadError(f"{path}: can't be encoded: {error}", path=path)


def _show(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _locate(message: str, what: str) -> tuple[str, str]:
    """Splits msgspec's ``… - at `$.a[0]``` into message and path, with ``$`` called ``what``."""
    text, found, place = message.partition(" - at `")
    if not found:
        return message, what
    place = place.rstrip("`").removeprefix("key in ")
    return text, what + place.removeprefix("$")


def _refusal(annotation: Any, what: str, reason: str) -> str:
    hint = "use a dataclass, TypedDict, NamedTuple, msgspec.Struct, pydantic model or plain type"
    if "more than one" in reason:
        hint = (
            "JSON can't tell the members of this union apart: make them msgspec.Struct classes "
            "with tag=True, or wrap them in one dataclass with optional fields"
        )
    return f"{what}: values of type {_show(annotation)} can't be stored: {reason}; {hint}"


def _is_pydantic(cls: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def _encode_custom(value: Any) -> Any:
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"no way to write a {type(value).__qualname__} as JSON is known")


def _decode_custom(cls: type[Any], value: Any) -> Any:
    if _is_pydantic(cls):
        return cls.model_validate(value)
    raise NotImplementedError(f"no way to read a {cls.__qualname__} from JSON is known")


def _inspect(info: Any, what: str, seen: set[int]) -> bool:
    """Refuses what can't be converted; says whether a set is anywhere in the type."""
    if isinstance(info, (msgspec.inspect.SetType, msgspec.inspect.FrozenSetType)):
        return True
    if isinstance(info, msgspec.inspect.CustomType):
        if not _is_pydantic(info.cls):
            raise RegistrationError(
                _refusal(info.cls, what, "it is a class that msgspec does not know")
            )
        return False
    if id(info) in seen or not isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
        return False
    seen.add(id(info))
    found = False
    for name in getattr(info, "__struct_fields__", ()):
        child: Any = getattr(info, name)
        parts = _tuple(child) if isinstance(child, tuple) else (child,)
        for part in parts:
            found = _inspect(part, what, seen) or found
    return found


def _mapping(value: Any) -> Mapping[Any, Any]:
    mapping: Mapping[Any, Any] = value
    return mapping


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value)


def _non_finite(value: Any, path: str) -> str | None:
    """Path of the first float that is not finite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    for name, part in _parts(value, path):
        if found := _non_finite(part, name):
            return found
    return None


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items: list[tuple[Any, Any]] = list(_mapping(value).items())
        return [(f"{path}[{key!r}]", part) for key, part in items]
    if isinstance(value, msgspec.Struct):
        return [(f"{path}.{name}", getattr(value, name)) for name in value.__struct_fields__]
    if _dataclass_fields(value):
        return [
            (f"{path}.{name}", getattr(value, name))
            for name in _dataclass_fields(value)
            if hasattr(value, name)
        ]
    if isinstance(value, (str, bytes, bytearray, enum.Enum)):
        return []
    if isinstance(value, (Sequence, AbstractSet)):
        parts: list[Any] = list(cast("Sequence[Any]", value))
        return [(f"{path}[{index}]", part) for index, part in enumerate(parts)]
    return []


def _difference(value: Any, back: Any, path: str) -> tuple[str, str] | None:
    """Where ``value`` lost something on its way through JSON, and what; ``None`` if nowhere."""
    if isinstance(value, float) and not math.isfinite(value):
        return path, "nan and infinity can't be stored as JSON"
    if _is_object(value) and type(value) is not type(back) and _is_object(back):
        return path, (
            f"a {type(value).__qualname__} where the annotation says {type(back).__qualname__}: "
            "fields of a subclass would be lost; annotate the subclass"
        )
    if isinstance(value, AbstractSet):
        return None if value == back else (path, "comes back as another set")
    parts, others = _parts(value, path), _parts(back, path)
    if len(parts) != len(others):
        return path, f"comes back with {len(others)} parts in place of {len(parts)}"
    for (name, part), (_, other) in zip(parts, others, strict=True):
        if found := _difference(part, other, name):
            return found
    return None


def _dataclass_fields(value: Any) -> dict[str, Any]:
    """By name. Reading the attribute saves what importing ``dataclasses`` costs."""
    fields: dict[str, Any] = getattr(value, "__dataclass_fields__", {})
    return {} if isinstance(value, type) else fields


def _is_object(value: Any) -> bool:
    return not isinstance(value, type) and (
        isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__")
    )


def _find_unencodable(value: Any, path: str, encoder: msgspec.json.Encoder, depth: int) -> str:
    """The innermost part that can't be encoded by itself."""
    if depth < 64:
        for name, part in _parts(value, path):
            try:
                encoder.encode(part)
            except Exception:
                return _find_unencodable(part, name, encoder, depth + 1)
    return path
