"""Request ids: the same for all attempts of one call, different for all calls."""

from __future__ import annotations

from quorate.cluster.write_id import call_mark, command_id, write_id
from router.request_id import request_id_of


def test_uuid_and_hex_digits_are_taken_as_they_are() -> None:
    expected = bytes.fromhex("3b1f8a527d1e4c559b0c0d9f2b7c1e11")

    assert request_id_of(b"3b1f8a52-7d1e-4c55-9b0c-0d9f2b7c1e11") == expected
    assert request_id_of(b"3B1F8A527D1E4C559B0C0D9F2B7C1E11") == expected


def test_any_other_text_gets_a_digest_that_stays_the_same() -> None:
    texts = [b"x", b"attempt-1", b"g" * 32, b"-" * 36, b"a" * 10_000]

    ids = [request_id_of(text) for text in texts]

    assert {len(request_id) for request_id in ids} == {16}
    assert ids == [request_id_of(text) for text in texts]
    assert len(set(ids)) == len(ids)


def test_caller_without_an_id_gets_a_new_one_each_time() -> None:
    assert request_id_of(b"") != request_id_of(b"")


def test_each_write_of_a_call_has_its_own_id_and_keeps_it() -> None:
    """Counting up from the batch's id would collide with clients that count up themselves."""
    first, second = (number.to_bytes(16, "big") for number in (1, 2))
    keys = [b"key-%d" % number for number in range(25)]

    ids = [write_id(batch, key, b"image", b"") for batch in (first, second) for key in keys]

    assert len(set(ids)) == 50
    assert write_id(first, keys[3], b"image", b"") == ids[3]


def test_equal_id_with_anything_else_that_decides_a_write_is_another_write() -> None:
    """No two of these may be one: where a part ends is in the digest, too."""
    parts = [
        (key, image, program)
        for key in (b"k", b"kk")
        for image in (b"", b"k", b"kk", b"image")
        for program in (b"", b"k", b"program")
    ]

    ids = {write_id(b"\x0f" * 16, *each) for each in parts}

    assert len(ids) == len(parts)


def test_writes_of_one_call_are_told_by_their_first_bytes() -> None:
    one, other = b"\x0f" * 16, b"\xf0" * 16

    assert write_id(one, b"k", b"image", b"").startswith(call_mark(one))
    assert write_id(one, b"kk", b"", b"program").startswith(call_mark(one))
    assert not write_id(other, b"k", b"image", b"").startswith(call_mark(one))


def test_catalog_command_is_known_by_operation_and_request() -> None:
    call = b"\x0f" * 16
    asked = [("CreateTable", b"{}"), ("DeleteTable", b"{}"), ("CreateTable", b'{"a":1}')]

    assert len({command_id(call, *each) for each in asked}) == 3
    assert command_id(call, *asked[0]) == command_id(call, *asked[0])
