"""A stand-in for msgspec on Python 3.14 under WebAssembly, where no build of it exists.

Just enough for the core's tests: structs with fields and defaults, JSON without type checks. What
is tested there is the event loop and the replay core, not conversion.
"""

from __future__ import annotations

import json as _json
import sys
import types
from typing import Any, dataclass_transform


class MsgspecError(Exception):
    pass


class DecodeError(MsgspecError, ValueError):
    pass


@dataclass_transform()
class _Meta(type):
    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any
    ) -> Any:
        made = super().__new__(mcs, name, bases, namespace)
        fields: list[str] = []
        for base in reversed(made.__mro__):
            annotate = vars(base).get("__annotations__") or {}
            fields += [
                field
                for field, kind in annotate.items()
                if field not in fields
                and not field.startswith("__")
                and not str(kind).startswith("ClassVar")
            ]
        setattr(made, "__struct_fields__", tuple(fields))
        tag = config.get("tag", getattr(getattr(made, "__struct_config__", None), "tag", None))
        setattr(made, "__struct_config__", types.SimpleNamespace(tag=tag))
        return made

    def __init__(cls, *args: Any, **config: Any) -> None:
        super().__init__(*args)


class Struct(metaclass=_Meta):
    __struct_fields__: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = dict(zip(self.__struct_fields__, args, strict=False)) | kwargs
        for field in self.__struct_fields__:
            if field in values:
                self.__dict__[field] = values[field]
            else:
                self.__dict__[field] = getattr(type(self), field)
        self.__post_init__()

    def __post_init__(self) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__dict__})"


class _Encoder:
    def __init__(self, **_: Any) -> None:
        pass

    def encode(self, value: Any) -> bytes:
        return _json.dumps(value, separators=(",", ":")).encode()


class _Decoder:
    def __init__(self, type: Any = None, **_: Any) -> None:
        self.type = type

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def decode(self, payload: bytes) -> Any:
        value = _json.loads(payload)
        if self.type is int and not isinstance(value, int):
            raise DecodeError("Expected `int`")
        return value


_kept: dict[bytes, Any] = {}


class _KeepingEncoder(_Encoder):
    """In place of MessagePack: keeps the object, for the same process reads it again."""

    def encode(self, value: Any) -> bytes:
        key = str(len(_kept)).encode()
        _kept[key] = value
        return key


class _KeepingDecoder(_Decoder):
    def decode(self, payload: bytes) -> Any:
        return _kept[payload]


def _module(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(f"msgspec.{name}")
    module.__dict__.update(content)
    sys.modules[f"msgspec.{name}"] = module
    return module


class _Nothing:
    pass


json = _module("json", Encoder=_Encoder, Decoder=_Decoder)
msgpack = _module("msgpack", Encoder=_KeepingEncoder, Decoder=_KeepingDecoder)
structs = _module("structs", replace=lambda s, **kw: type(s)(**{**s.__dict__, **kw}))
inspect = _module(
    "inspect",
    type_info=lambda annotation: _Nothing(),
    **{
        name: type(name, (), {})
        for name in ("SetType", "FrozenSetType", "CustomType", "Type", "Field")
    },
)
