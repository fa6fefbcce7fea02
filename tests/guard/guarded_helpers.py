"""A helper module of the project: called from workflows, early-bound names included."""

from __future__ import annotations

import time
from datetime import datetime
from random import random


class Stopwatch:
    def __init__(self) -> None:
        self.started = time.monotonic()

    def read(self) -> float:
        return time.monotonic() - self.started


def late() -> float:
    return time.time()


def early() -> float:
    return random()


def today() -> str:
    return str(datetime.now())


def clean(value: int) -> int:
    return sorted([value, 1])[0]
