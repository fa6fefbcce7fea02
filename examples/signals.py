"""Messages to a running instance: signals, updates with an answer, and queries.

Prints:
    2 items in the cart
    refused: OutOfStock
    ordered: tea, tin
"""

from __future__ import annotations

from perdure import (
    Query,
    Signal,
    Update,
    UpdateRejectedError,
    durable_error,
    wait_until,
    workflow,
)
from perdure_runtime import local
from runner import run

order = Signal("order", None)
size = Query("size", int)
add = Update("add", str, int)


@durable_error
class OutOfStock(Exception):  # noqa: N818
    pass


@workflow
async def cart() -> list[str]:
    items: list[str] = []
    ordered = False

    @add.validator
    def _(item: str) -> None:
        if item == "unicorn":
            raise OutOfStock(item)

    @add.handler
    async def _(item: str) -> int:
        items.append(item)
        return len(items)

    @size.handler
    def _() -> int:
        return len(items)

    @order.handler
    def _(_: None) -> None:
        nonlocal ordered
        ordered = True

    await wait_until(lambda: ordered)
    return items


async def main(url: str) -> None:
    async with local(url) as app:
        # Starts the cart unless it is there, and adds the first item, in one step.
        call = cart.options(id="cart-1").bind()
        handle, _ = await app.client.update_with_start(call, add, "tea")
        await handle.update(add, "tin")
        print(f"{await handle.query(size)} items in the cart")
        try:
            await handle.update(add, "unicorn")
        except UpdateRejectedError as error:
            print(f"refused: {error.type}")
        await handle.signal(order, None)
        print("ordered: " + ", ".join(await handle.result()))
        await handle.remove()


if __name__ == "__main__":
    run(main)
