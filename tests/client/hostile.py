"""Values that a client is given by mistake, and subclasses that print as something else."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum, IntEnum
from typing import NamedTuple

from hypothesis import strategies as st


class Color(str, Enum):  # noqa: UP042 - its str() is "Color.RED", unlike a StrEnum's
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Whole(int):
    def __str__(self) -> str:
        return "another number"

    __int__ = __index__ = lambda _self: 99


class Exact(Decimal):
    def __str__(self) -> str:
        return "another number"


class Row(dict[str, object]):
    pass


class Rows(list[object]):
    pass


class Pair(NamedTuple):
    left: object
    right: object


class Tags(set[object]):
    pass


class Odd(str):
    """Equal to nothing but itself."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


# Made at use: pytest and hypothesis cannot print an int of thousands of digits either.
huge = st.just(5000).map(lambda digits: 10**digits)
scalars = st.sampled_from(
    [
        Color.RED,
        Level.HIGH,
        Text("x"),
        Odd("x"),
        float("nan"),
        1.5,
        Decimal("NaN"),
        1j,
        object(),
        frozenset({frozenset[object]()}),
        "\ud83d",
        "",
        b"",
        True,
        None,
        ...,
    ]
)
hostile = st.recursive(
    scalars
    | huge
    | huge.map(range)
    | st.just(Decimal("sNaN"))  # which has no hash
    | st.text(st.characters(exclude_categories=()))
    | st.integers()
    | st.decimals()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(scalars | st.text(), inner, max_size=3)
        | st.frozensets(scalars | st.integers() | st.text(), max_size=3)
    ),
    max_leaves=8,
)
