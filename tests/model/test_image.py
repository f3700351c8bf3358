"""Images: what was written is what is read, and damage is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.image import (
    CorruptImage,
    check_image,
    decode_image,
    encode_image,
    image_json,
    image_size_bytes,
)

ITEM: dict[str, object] = {"pk": {"S": "é"}, "n": {"N": "1.5"}}


def test_image_gives_back_item_size_and_json() -> None:
    image = encode_image(ITEM, 1234)

    check_image(image)
    assert decode_image(image) == ITEM
    assert image_size_bytes(image) == 1234
    assert image_json(image) == '{"pk":{"S":"é"},"n":{"N":"1.5"}}'.encode()


def test_bytes_of_the_first_version_stay_readable() -> None:
    """These bytes are on disks: never change them, add a version."""
    golden = bytes.fromhex("0100000000000005") + bytes.fromhex("723cd180") + b'{"a":{"S":"1"}}'

    assert encode_image({"a": {"S": "1"}}, 5) == golden


def test_no_item_is_an_empty_image() -> None:
    check_image(b"")

    assert image_size_bytes(b"") == 0


@given(st.data())
def test_every_flipped_bit_is_noticed(data: st.DataObject) -> None:
    image = bytearray(encode_image(ITEM, 7))
    position = data.draw(st.integers(0, len(image) * 8 - 1))
    image[position // 8] ^= 1 << position % 8

    with pytest.raises(CorruptImage):
        check_image(bytes(image))


@given(st.integers(1, 40))
def test_every_cut_is_noticed(length: int) -> None:
    image = encode_image(ITEM, 7)

    with pytest.raises(CorruptImage):
        check_image(image[: min(length, len(image) - 1)])
