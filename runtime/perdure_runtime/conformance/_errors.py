"""Errors: what arrives in a workflow, and at a client.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from perdure import (
    ActivityError,
    ChildWorkflowError,
    RemoteError,
    Retry,
    WorkflowFailedError,
    activity,
    durable_error,
    workflow,
)

from ._harness import Runner, case, expect, expect_true, raised_by


@durable_error(retryable=False)
class CardDeclinedError(Exception):
    """Fields come from the parameters of ``__init__``."""

    def __init__(self, code: str, amount: Decimal, hints: list[str] | None = None) -> None:
        super().__init__(f"{code}: {amount}")
        self.code = code
        self.amount = amount
        self.hints = hints


@durable_error
@dataclasses.dataclass
class OutOfStockError(Exception):
    """A dataclass does as well."""

    item: str


@durable_error
class PlainError(Exception):
    """Keeps its arguments."""


class UnknownError(Exception):
    """Nobody registered it."""


@activity(retry=Retry(attempts=3, interval=0.001))
async def pays(how: str) -> None:
    if how == "declined":
        raise CardDeclinedError("51", Decimal("9.90"), ["try another"])
    if how == "stock":
        raise OutOfStockError("tea")
    if how == "plain":
        raise PlainError("a", 2)
    if how == "group":
        raise ExceptionGroup("several", [OutOfStockError("tin"), UnknownError("what")])
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise UnknownError("outer") from error


@workflow
async def shops(how: str) -> str:
    try:
        await pays(how)
    except CardDeclinedError as error:
        wrapped = error.__cause__
        expect_true(isinstance(wrapped, ActivityError), "the activity's error is the cause")
        return f"{error.code} {error.amount + 1} {error.hints}"
    except OutOfStockError as error:
        return f"no {error.item}"
    except PlainError as error:
        return f"plain {error.args}"
    except ActivityError as error:
        cause = error.__cause__
        inner = cause.__cause__ if cause is not None else None
        return f"{error.type} <- {inner}"
    return "paid"


@case
async def registered_classes_arrive_as_themselves(run: Runner) -> None:
    async with run(workflows=[shops], activities=[pays]) as app:
        expect(await app.run(shops, "declined"), "51 10.90 ['try another']", "with fields")
        expect(await app.run(shops, "stock"), "no tea", "a dataclass")
        expect(await app.run(shops, "plain"), "plain ('a', 2)", "plain arguments")


@case
async def other_classes_arrive_with_type_message_and_causes(run: Runner) -> None:
    async with run(workflows=[shops], activities=[pays]) as app:
        expect(await app.run(shops, "other"), "UnknownError <- KeyError: 'inner'", "the chain")


@workflow
async def sorts_a_group() -> list[str]:
    seen: list[str] = []
    try:
        await pays("group")
    except* OutOfStockError as group:
        seen += [str(vars(error)["item"]) for error in group.exceptions]
    except* RemoteError as group:
        seen += [str(error) for error in group.exceptions]
    return seen


@case
async def groups_arrive_as_groups(run: Runner) -> None:
    async with run(workflows=[sorts_a_group], activities=[pays]) as app:
        expect(await app.run(sorts_a_group), ["tin", "UnknownError: what"], "members")


@workflow
async def declines() -> None:
    raise CardDeclinedError("14", Decimal(1))


@workflow
async def asks_child() -> str:
    try:
        await declines()
    except CardDeclinedError as error:
        expect_true(isinstance(error.__cause__, ChildWorkflowError), "the child's error")
        return error.code
    return "?"


@case
async def a_childs_error_arrives_as_itself(run: Runner) -> None:
    async with run(workflows=[asks_child, declines], activities=[]) as app:
        expect(await app.run(asks_child), "14", "field")


@case
async def a_client_finds_the_error_behind_the_failure(run: Runner) -> None:
    async with run(workflows=[declines], activities=[]) as app:
        error = await raised_by(app.run(declines), WorkflowFailedError)
        expect(error.type, "CardDeclinedError", "type")
        expect(type(error.__cause__), CardDeclinedError, "the cause")
        expect(error.__cause__.amount, Decimal(1), "its field")
