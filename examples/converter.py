"""Another converter than JSON: MessagePack, for worker and client alike.

Prints:
    tea for 3 (stored as 0x93...)
"""

from __future__ import annotations

from typing import Any

import msgspec
from perdure import DataConverter, PayloadError, Serializer, activity, workflow
from perdure_backends.history import WorkflowStarted
from perdure_runtime import local
from runner import run


class MessagePackSerializer:
    def __init__(self, annotation: Any, what: str) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(annotation)
        self._what = what

    def encode(self, value: Any, /) -> bytes:
        return msgspec.msgpack.encode(value)

    def encode_checked(self, value: Any, /) -> bytes:
        payload = self.encode(value)
        self.decode(payload)
        return payload

    def decode(self, payload: bytes, /) -> Any:
        try:
            return self._decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise PayloadError(f"{self._what}: {error}") from error


class MessagePack:
    def serializer(self, annotation: Any, what: str) -> Serializer:
        return MessagePackSerializer(annotation, what)


@activity
async def brew(what: str, cups: int, sugar: bool) -> str:
    return f"{what} for {cups}"


@workflow
async def party(what: str, cups: int, sugar: bool) -> str:
    return await brew(what, cups, sugar)


async def main(url: str) -> None:
    async with local(url, converter=DataConverter(MessagePack())) as app:
        handle = await app.start(party, "tea", 3, True)
        served = await handle.result()
        stored = [
            event.input
            async for turn in handle.history()
            for event in turn.events
            if isinstance(event, WorkflowStarted)
        ]
        print(f"{served} (stored as 0x{stored[0][:1].hex()}...)")


if __name__ == "__main__":
    run(main)
