"""Codecs around payloads (compression, encryption) and the converter with its limit.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from .._context import find_context
from .._errors import PayloadError, PayloadTooLargeError
from ._json import Converter, JsonConverter, Serializer

DEFAULT_LIMIT: Final = 2 * 1024 * 1024
_MARK: Final = b"\x00"  # no JSON text starts with it, so plain payloads need no header


class Codec(Protocol):
    """A reversible step between encoded payload and store, such as encryption.

    ``name`` is stored with each payload, so that a chain may change while old payloads live.
    """

    @property
    def name(self) -> str:
        """Identifies the codec in stored payloads: ASCII, without NUL."""
        ...

    def wrap(self, payload: bytes, /) -> bytes:
        """The bytes to store."""
        ...

    def unwrap(self, stored: bytes, /) -> bytes:
        """What :meth:`wrap` was given."""
        ...


class DataConverter:
    """A converter, the codecs around it, and the limit of a payload's size.

    Args:
        converter: makes the serializers; JSON by default.
        codecs: applied in this order on the way in, in reverse on the way out.
        limit: greatest size of one stored payload in bytes, 2 MiB by default.
    """

    def __init__(
        self,
        converter: Converter | None = None,
        *,
        codecs: Sequence[Codec] = (),
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.converter: Converter = converter if converter is not None else JsonConverter()
        self.codecs = tuple(codecs)
        self.limit = limit
        self._by_name = {codec.name: codec for codec in self.codecs}

    def serializer(self, annotation: Any, what: str) -> Serializer:
        """A serializer whose payloads have passed the codecs and the limit."""
        return _Guarded(self.converter.serializer(annotation, what), self, what)

    def wrap(self, payload: bytes) -> bytes:
        """Applies the codecs, each leaving its name in front."""
        for codec in self.codecs:
            payload = _MARK + codec.name.encode("ascii") + _MARK + codec.wrap(payload)
        return payload

    def unwrap(self, stored: bytes) -> bytes:
        """Undoes :meth:`wrap`, following the names in the payload.

        Raises:
            PayloadError: the payload names a codec that is not configured, or the codec failed.
        """
        while stored[:1] == _MARK:
            name, _, inner = stored[1:].partition(_MARK)
            codec = self._by_name.get(name.decode("ascii", "replace"))
            if codec is None:
                raise PayloadError(
                    f"the payload was written with codec {name.decode('ascii', 'replace')!r}, "
                    f"which is not configured here (configured: {sorted(self._by_name) or 'none'})"
                )
            try:
                stored = codec.unwrap(inner)
            except Exception as error:
                raise PayloadError(
                    f"codec {codec.name!r} could not read a payload: {error}"
                ) from error
        return stored


def _unguarded() -> AbstractContextManager[None]:
    """Converters and codecs of users may draw random numbers, even while a workflow runs."""
    context = find_context()
    return nullcontext() if context is None else context.unguarded()


class _Guarded:
    __slots__ = ("_inner", "_owner", "_plain", "_what")

    def __init__(self, inner: Serializer, owner: DataConverter, what: str) -> None:
        self._inner = inner
        self._owner = owner
        self._plain = not owner.codecs and isinstance(owner.converter, JsonConverter)
        self._what = what

    def encode(self, value: Any, /) -> bytes:
        if self._plain:
            return self._limited(self._inner.encode(value))
        with _unguarded():
            return self._limited(self._owner.wrap(self._inner.encode(value)))

    def encode_checked(self, value: Any, /) -> bytes:
        if self._plain:
            return self._limited(self._inner.encode_checked(value))
        with _unguarded():
            return self._limited(self._owner.wrap(self._inner.encode_checked(value)))

    def decode(self, payload: bytes, /) -> Any:
        if self._plain and payload[:1] != _MARK:
            return self._inner.decode(payload)
        with _unguarded():
            return self._inner.decode(self._owner.unwrap(payload))

    def _limited(self, payload: bytes) -> bytes:
        if len(payload) > self._owner.limit:
            raise PayloadTooLargeError(
                f"{self._what}: {len(payload):,} bytes are over the limit of "
                f"{self._owner.limit:,} for one payload; store it elsewhere and pass a reference",
                path=self._what,
            )
        return payload
