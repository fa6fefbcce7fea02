"""Activities as methods of an object that holds shared state, and resources by annotation.

Prints:
    hello, Ada (1 so far)
    hello, Grace (2 so far)
    greeted: Ada, Grace
"""

from __future__ import annotations

import dataclasses

from perdure import activity, inject, workflow
from perdure_runtime import local
from runner import run


@dataclasses.dataclass
class GuestBook:
    names: list[str] = dataclasses.field(default_factory=list[str])


class Greeter:
    def __init__(self, greeting: str, book: GuestBook) -> None:
        self.greeting = greeting
        self.book = book

    @activity
    async def greet(self, name: str) -> str:
        self.book.names.append(name)
        return f"{self.greeting}, {name} ({len(self.book.names)} so far)"


@activity
async def guests(*, book: GuestBook = inject()) -> str:
    return "greeted: " + ", ".join(book.names)


@workflow
async def welcome(names: list[str]) -> list[str]:
    # Through the class: workflow code has no instance, the worker's one is used.
    return [*[await Greeter.greet(name) for name in names], await guests()]


async def main(url: str) -> None:
    book = GuestBook()
    activities = [Greeter("hello", book), guests]
    async with local(url, activities=activities, resources=[book]) as app:
        for line in await app.run(welcome, ["Ada", "Grace"]):
            print(line)


if __name__ == "__main__":
    run(main)
