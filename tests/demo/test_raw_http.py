"""The lean HTTP client's reading of answers."""

from __future__ import annotations

import pytest

from quorate.demo.raw_http import BadAnswer, dynamodb_request, parse_answer

ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Type: x\r\ncontent-LENGTH: 2\r\n\r\n{}"


def test_whole_answer_is_taken_and_what_follows_is_left() -> None:
    assert parse_answer(ANSWER + b"HTTP") == (400, b"{}", len(ANSWER))


def test_every_part_of_an_answer_waits_for_the_rest() -> None:
    assert all(parse_answer(ANSWER[:end]) is None for end in range(len(ANSWER)))


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_answer_without_status_or_length_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_answer(data)


def test_request_names_its_operation_and_its_attempt() -> None:
    request = dynamodb_request("PutItem", b"{}", host="h", invocation_id="i-1")

    assert b"X-Amz-Target: DynamoDB_20120810.PutItem\r\n" in request
    assert b"amz-sdk-invocation-id: i-1\r\n" in request
    assert request.endswith(b"Content-Length: 2\r\n\r\n{}")
