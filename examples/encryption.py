"""Payloads encrypted before they reach the store, by a codec around the converter.

Prints:
    4111-1111 was charged
    in the store it can't be read
"""

from __future__ import annotations

import hashlib
import hmac
import os

from perdure import DataConverter, activity, workflow
from perdure_runtime import local
from runner import run


class Sealed:
    """A stand-in for your library of choice: a keystream from HMAC, with an authentication tag.

    Use `cryptography`'s AESGCM in earnest; the codec's two methods stay the same.
    """

    name = "sealed-1"  # stored with each payload: keep old codecs configured to read old payloads

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _stream(self, nonce: bytes, length: int) -> bytes:
        blocks = range((length + 31) // 32)
        parts = [hmac.digest(self._key, nonce + bytes([b % 256]), "sha256") for b in blocks]
        return b"".join(parts)[:length]

    def wrap(self, payload: bytes, /) -> bytes:
        nonce = os.urandom(16)
        sealed = bytes(
            a ^ b for a, b in zip(payload, self._stream(nonce, len(payload)), strict=True)
        )
        return nonce + hmac.digest(self._key, nonce + sealed, "sha256") + sealed

    def unwrap(self, stored: bytes, /) -> bytes:
        nonce, tag, sealed = stored[:16], stored[16:48], stored[48:]
        if not hmac.compare_digest(tag, hmac.digest(self._key, nonce + sealed, "sha256")):
            raise ValueError("the payload was changed, or sealed with another key")
        return bytes(a ^ b for a, b in zip(sealed, self._stream(nonce, len(sealed)), strict=True))


@activity
async def charge(card: str) -> str:
    return f"{card} was charged"


@workflow
async def pay(card: str) -> str:
    return await charge(card)


async def main(url: str) -> None:
    key = hashlib.sha256(b"from your key store").digest()
    async with local(url, converter=DataConverter(codecs=[Sealed(key)])) as app:
        handle = await app.start(pay, "4111-1111")
        print(await handle.result())
        stored = (await handle.describe()).result or b""
        print("in the store it can't be read" if b"4111" not in stored else "oops")


if __name__ == "__main__":
    run(main)
