"""Values survive the round trip, or are refused with the path of the part at fault."""

from __future__ import annotations

import dataclasses
import enum
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure import DataConverter, PayloadError, PayloadTooLargeError, RegistrationError


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    price: float
    count: int = 1


@dataclasses.dataclass
class Special(Line):
    discount: float = 0.0


@dataclasses.dataclass
class Order:
    lines: list[Line]
    note: str | None = None


class Typed(TypedDict):
    a: int


class Named(NamedTuple):
    a: int


class Tagged(msgspec.Struct, tag=True):
    a: int


class Other(msgspec.Struct, tag=True):
    b: int


class Model(pydantic.BaseModel):
    a: int
    b: list[Decimal] = []


@dataclasses.dataclass
class Tree:
    children: list[Tree]


CONVERTER = DataConverter()


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**53 + 1),
        (float, 1.5),
        (float, 3),
        (bytes, b"\x00\xff"),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=7)),
        (datetime, datetime(2024, 1, 2, 3, 4, 5, 6, UTC)),
        (date, date(2024, 1, 2)),
        (timedelta, timedelta(seconds=1.5)),
        (Colour, Colour.RED),
        (int | None, None),
        (Order, Order([Line(1.0), Line(2.5, 3)], None)),
        (Typed, {"a": 1}),
        (Named, Named(1)),
        (Tagged | Other, Other(5)),
        (Model, Model(a=1, b=[Decimal("1.10")])),
        (list[Model], [Model(a=1)]),
        (tuple[int, str], (1, "x")),
        (dict[str, list[int]], {"b": [1], "a": []}),
        (set[str], {"b", "a", "c"}),
        (frozenset[int], frozenset({3, 1})),
        (Any, {"x": [1, None]}),
        (Tree, Tree([Tree([]), Tree([Tree([])])])),
    ],
)
def test_values_survive(annotation: Any, value: Any) -> None:
    serializer = CONVERTER.serializer(annotation, "value")
    back = serializer.decode(serializer.encode_checked(value))
    assert back == value
    assert type(back) is type(value) or isinstance(value, int)


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Order, Order([Line(1), Line(2), Line(3), Line(math.nan)]), "order.lines[3].price"),
        (Order, Order([Special(1, 1, 0.5)]), "order.lines[0]"),
        (float | None, math.inf, "order"),
        (Order, Order([Line("x")]), "order.lines[0].price"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Any, {"a": [1, object()]}, "order['a'][1]"),
        (dict[str, int], {"a": "b"}, "order[...]"),
        (int, "x", "order"),
    ],
)
def test_what_would_be_lost_is_refused_with_its_path(
    annotation: Any, value: Any, path: str
) -> None:
    serializer = CONVERTER.serializer(annotation, "order")
    with pytest.raises(PayloadError) as caught:
        serializer.encode_checked(value)
    assert caught.value.path == path
    assert path in str(caught.value)


class Unknown:
    pass


@pytest.mark.parametrize(
    ("annotation", "hint"),
    [
        (Unknown, "use a dataclass"),
        (list[Unknown], "use a dataclass"),
        (Line | Order, "tag=True"),
        (int | Unknown, "can't be stored"),
    ],
)
def test_types_that_cannot_be_stored_are_refused(annotation: Any, hint: str) -> None:
    with pytest.raises(RegistrationError, match=hint):
        CONVERTER.serializer(annotation, "x")


def test_sets_have_one_text_only() -> None:
    serializer = CONVERTER.serializer(set[str], "x")
    words = [f"word{i}" for i in range(50)]
    assert serializer.encode(set(words)) == serializer.encode({*words[25:], *words[:25]})


def test_the_limit() -> None:
    serializer = DataConverter(limit=100).serializer(str, "text")
    serializer.encode("x" * 98)
    with pytest.raises(PayloadTooLargeError, match="101 bytes are over the limit of 100"):
        serializer.encode("x" * 99)


class Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def wrap(self, payload: bytes, /) -> bytes:
        return self.name.encode() + payload

    def unwrap(self, stored: bytes, /) -> bytes:
        assert stored.startswith(self.name.encode())
        return stored[len(self.name) :]


@given(st.lists(st.sampled_from(["a", "bb", "c"]), max_size=3), st.text(), st.text())
def test_codec_chains_unwrap_themselves(names: list[str], text: str, plain: str) -> None:
    codecs = [Mark(name) for name in ("a", "bb", "c")]
    writer = DataConverter(codecs=[c for name in names for c in codecs if c.name == name])
    reader = DataConverter(codecs=codecs)
    stored = writer.serializer(str, "x").encode(text)
    assert reader.serializer(str, "x").decode(stored) == text
    # Payloads from before the chain was configured are read all the same.
    before = DataConverter().serializer(str, "x").encode(plain)
    assert reader.serializer(str, "x").decode(before) == plain


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_any_json_value_survives(value: Any) -> None:
    serializer = CONVERTER.serializer(Any, "x")
    assert serializer.decode(serializer.encode_checked(value)) == value
