"""Activities for the process pool, whose processes import them by name."""

from __future__ import annotations

import multiprocessing
import os

from perdure import Retry, activity


@activity(executor="process")
def in_process(number: int) -> str:
    return f"{number} in {multiprocessing.current_process().name.partition('-')[0]}"


@activity(executor="process", retry=Retry.never)
def kills_its_process() -> None:
    os._exit(1)
