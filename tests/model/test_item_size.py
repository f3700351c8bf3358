"""The size of any item, against a second formula; and that an image gives the item back.

Source: Developer Guide, "DynamoDB item sizes and formats"; numbers as measured on AWS.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from model.image import decode_image, encode_image, image_size_bytes
from model.values import measure_item

names = st.text(min_size=1, max_size=6)
numbers = st.one_of(
    st.just("-0.0"), st.decimals(-(10**12), 10**12, places=4).map(lambda value: f"{value:f}")
)
blobs = st.binary(max_size=9).map(lambda value: b64encode(value).decode())
scalars = st.one_of(
    st.builds(lambda text: {"S": text}, st.text(max_size=9)),
    st.builds(lambda text: {"N": text}, numbers),
    st.builds(lambda text: {"B": text}, blobs),
    st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
    st.just({"NULL": True}),
    st.builds(lambda texts: {"SS": texts}, st.lists(st.text(), min_size=1, unique=True)),
    st.builds(
        lambda texts: {"NS": texts},
        st.lists(st.integers(-(10**37), 10**37), min_size=1, unique=True).map(
            lambda values: [str(value) for value in values]
        ),
    ),
    st.builds(lambda texts: {"BS": texts}, st.lists(blobs, min_size=1, unique=True)),
)
values = st.recursive(
    scalars,
    lambda inside: (
        st.builds(lambda elements: {"L": elements}, st.lists(inside, max_size=4))
        | st.builds(lambda members: {"M": members}, st.dictionaries(names, inside, max_size=4))
    ),
    max_leaves=10,
)


def size_of_number(text: str) -> int:
    """One byte, one for each pair of significant digits on either side of the point, a sign."""
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    significant = "".join(map(str, digits)).lstrip("0")
    exponent += len(significant) - len(significant.rstrip("0"))
    significant = significant.rstrip("0")
    before = max(0, min(len(significant), len(significant) + exponent))
    after = len(significant) - before
    pairs = -(-before // 2) - (-after // 2)
    return 1 + pairs + (1 if sign and significant else 0)


def size_of(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return size_of_number(content)
        case "B":
            return len(b64decode(content))
        case "BOOL" | "NULL":
            return 1
        case "SS" | "NS" | "BS":
            return sum(size_of({kind[0]: member}) for member in content)
        case "L":
            return 3 + sum(1 + size_of(element) for element in content)
        case _:
            return 3 + sum(1 + len(name.encode()) + size_of(each) for name, each in content.items())


@settings(max_examples=300)
@given(st.dictionaries(names, values, max_size=6))
def test_size_agrees_with_the_second_formula_and_the_item_comes_back(item: dict[str, Any]) -> None:
    expected = sum(len(name.encode()) + size_of(value) for name, value in item.items())

    size = measure_item(item)
    image = encode_image(item, size)

    assert size == expected
    assert image_size_bytes(image) == expected
    assert decode_image(image) == item
    assert measure_item(decode_image(image)) == expected
