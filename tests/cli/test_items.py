"""`quorate put`, `get` and `delete`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Command

KEY = '{"pk": "a", "sk": 1}'


def test_what_was_put_is_got_back_as_plain_json(quorate: Command, table: str) -> None:
    item = {"pk": "a", "sk": 1, "tags": ["x", None, True], "nested": {"deep": {"n": 2}}}

    assert quorate("put", table, json.dumps(item)).code == 0

    got = quorate("get", table, KEY, "--json")
    assert json.loads(got.out) == item
    assert got.out.count("\n") == 1


def test_numbers_keep_every_digit(quorate: Command, table: str) -> None:
    digits = "0.12345678901234567890123456789012345678"

    quorate("put", table, f'{{"pk": "a", "sk": 1, "n": {digits}}}')

    assert f'"n": {digits}' in quorate("get", table, KEY).out


def test_dynamodb_json_goes_in_and_out(quorate: Command, table: str) -> None:
    item = {"pk": {"S": "a"}, "sk": {"N": "1"}, "tags": {"SS": ["x", "y"]}, "raw": {"B": "AP8="}}

    assert quorate("put", table, json.dumps(item)).code == 0

    got = quorate("get", table, json.dumps({"pk": {"S": "a"}, "sk": {"N": "1"}}), "--dynamodb-json")
    assert json.loads(got.out) == item
    plain = json.loads(quorate("get", table, KEY).out)
    assert plain == {"pk": "a", "sk": 1, "tags": ["x", "y"], "raw": "AP8="}


def test_a_plain_item_that_looks_encoded_can_be_said_to_be_plain(
    quorate: Command, table: str
) -> None:
    ended = quorate("put", table, '{"pk": {"S": "a"}, "sk": {"N": "1"}}', "--encoding", "plain")

    assert ended.code == 0
    item = quorate("get", table, '{"pk": {"M": {"S": {"S": "a"}}}, "sk": {"M": {"N": {"S": "1"}}}}')
    assert json.loads(item.out) == {"pk": {"S": "a"}, "sk": {"N": "1"}}


def test_an_item_is_read_from_stdin(quorate: Command, table: str) -> None:
    assert quorate("put", table, "-", stdin='{"pk": "a", "sk": 1}').code == 0
    assert quorate("get", table, KEY).code == 0


def test_a_missing_item_has_its_own_exit_code(quorate: Command, table: str) -> None:
    ended = quorate("get", table, KEY)

    assert (ended.code, ended.out) == (4, "")
    assert "no item of this key" in ended.err


def test_a_missing_table_has_its_own_exit_code(quorate: Command) -> None:
    ended = quorate("put", "nowhere", KEY)

    assert ended.code == 4
    assert "ResourceNotFoundException" in ended.err


def test_deleting_twice_is_no_error(quorate: Command, table: str) -> None:
    quorate("put", table, KEY)

    assert quorate("delete", table, KEY).code == 0
    assert quorate("delete", table, KEY).code == 0
    assert quorate("get", table, KEY).code == 4


def test_a_false_condition_fails_the_command(quorate: Command, table: str) -> None:
    quorate("put", table, KEY)

    ended = quorate("put", table, KEY, "--condition", "attribute_not_exists(pk)")

    assert ended.code == 1
    assert "ConditionalCheckFailedException" in ended.err


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object"),
        ('{"n": NaN}', "not a number"),
        ('{"n": Infinity}', "not a number"),
    ],
)
def test_what_is_no_item_is_refused_before_anything_is_sent(
    quorate: Command, item: str, reason: str
) -> None:
    ended = quorate("put", "t", item, endpoint="127.0.0.1:9")

    assert ended.code == 2
    assert reason in ended.err


def test_a_cluster_that_is_not_there_has_its_own_exit_code(
    quorate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.cli.connection.CONNECT_TIMEOUT_SECONDS", 0.3)

    ended = quorate("get", "t", KEY, endpoint="127.0.0.1:9")

    assert ended.code == 3
    assert "127.0.0.1:9" in ended.err


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["put", "TABLE", r'{"pk": "\ud83d"}'], "item.pk"),
        (["put", "TABLE", r'{"pk": {"S": "\ud83d"}}'], "item.pk.S"),
        (["get", "TABLE", r'{"pk": "\ud83d"}'], "key.pk"),
        (["delete", "TABLE", "{}", "--values", r'{":v": "\ud83d"}'], "--values[':v']"),
        (
            ["delete", "TABLE", "{}", "--condition", "x", "--names", r'{"#n": "\ud83d"}'],
            "expression_attribute_names['#n']",
        ),
    ],
    ids=["put", "put encoded", "get", "values", "names"],
)
def test_text_that_is_not_unicode_is_refused_with_its_place(
    quorate: Command, table: str, arguments: list[str], place: str
) -> None:
    ended = quorate(*(table if argument == "TABLE" else argument for argument in arguments))

    assert ended.code == 2
    assert f"{place}: '\\ud83d' is not Unicode text" in ended.err


def test_names_nested_without_end_are_refused(quorate: Command, table: str) -> None:
    ended = quorate("put", table, "{}", "--condition", "x", "--names", "[" * 100_000)

    assert ended.code == 2
    assert "--names is not a JSON object" in ended.err


def test_an_argument_that_is_not_utf8_is_refused_with_a_sentence() -> None:
    command = [*map(os.fsencode, (sys.executable, "-m", "quorate", "get")), b"t\xff", b"{}"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith("quorate: an argument is not UTF-8: 't\\udcff'")
    assert ended.stderr.count("\n") == 1
