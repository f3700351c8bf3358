"""`quorate load`: every line is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def write_lines(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def record(number: int, **more: object) -> str:
    return json.dumps({"pk": f"p{number % 10}", "sk": number, "payload": "x" * 50, **more})


def test_all_records_arrive_also_those_a_batch_did_not_get_to(
    quorate: Command, table: str, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "records.jsonl", [record(n) for n in range(1000)])

    ended = quorate("load", file, "--table", table, "--json")

    summary = json.loads(ended.out)
    assert (ended.code, summary["read"], summary["loaded"], summary["failed"]) == (0, 1000, 1000, 0)
    for number in (0, 6, 499, 999):
        key = json.dumps({"pk": f"p{number % 10}", "sk": number})
        assert quorate("get", table, key).code == 0


def test_a_load_can_be_run_again(quorate: Command, table: str, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "records.jsonl", [record(n) for n in range(100)])

    for _ in range(2):
        ended = quorate("load", file, "--table", table)
        assert ended.code == 0
        assert ended.out.startswith("100 of 100 records loaded, 0 failed")


def test_bad_lines_are_named_and_the_others_loaded(
    quorate: Command, table: str, tmp_path: Path
) -> None:
    lines = [record(n) for n in range(40)]
    lines[3] = "{not json"
    lines[10] = '{"pk": "only half a key"}'
    lines[20] = record(20, poison=True)
    lines[30] = ""

    ended = quorate("load", write_lines(tmp_path / "bad.jsonl", lines), "--table", table)

    assert ended.code == 1
    assert ended.out.startswith("36 of 39 records loaded, 3 failed")
    assert "line 4: not JSON" in ended.err
    assert "line 11: the key attribute sk is missing" in ended.err
    assert "line 21: ValidationException: poisoned" in ended.err


def test_the_last_line_of_a_key_wins(quorate: Command, table: str, tmp_path: Path) -> None:
    lines = [json.dumps({"pk": "a", "sk": 1, "version": n}) for n in range(200)]

    ended = quorate("load", write_lines(tmp_path / "same.jsonl", lines), "--table", table)

    assert ended.code == 0
    item = json.loads(quorate("get", table, '{"pk": "a", "sk": 1}').out)
    assert item["version"] == 199


def test_records_are_read_from_stdin(quorate: Command, table: str) -> None:
    ended = quorate("load", "-", "--table", table, stdin=record(1) + "\n" + record(2))

    assert ended.out.startswith("2 of 2 records loaded")


def test_dynamodb_json_lines_are_taken(quorate: Command, table: str, tmp_path: Path) -> None:
    line = json.dumps({"pk": {"S": "a"}, "sk": {"N": "1"}, "s": {"NS": ["1", "2"]}})

    assert quorate("load", write_lines(tmp_path / "d.jsonl", [line]), "--table", table).code == 0

    got = quorate("get", table, '{"pk": "a", "sk": 1}', "--dynamodb-json", "--json")
    assert got.out.strip() == line


def test_a_missing_file_or_table_is_said_before_anything_is_loaded(
    quorate: Command, table: str, tmp_path: Path
) -> None:
    ended = quorate("load", str(tmp_path / "nowhere"), "--table", table)
    assert ended.code == 2
    assert "cannot read" in ended.err

    file = write_lines(tmp_path / "records.jsonl", [record(1)])
    assert quorate("load", file, "--table", "nowhere").code == 4


def test_a_cluster_that_is_not_there_has_its_own_exit_code(
    quorate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.cli.connection.CONNECT_TIMEOUT_SECONDS", 0.3)
    file = write_lines(tmp_path / "records.jsonl", [record(1)])

    assert quorate("load", file, "--table", "t", endpoint="127.0.0.1:9").code == 3


def test_an_empty_file_is_loaded(quorate: Command, table: str, tmp_path: Path) -> None:
    ended = quorate("load", write_lines(tmp_path / "empty.jsonl", []), "--table", table)

    assert (ended.code, ended.out[:29]) == (0, "0 of 0 records loaded, 0 fail")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (r'{"pk": "l", "sk": 1, "a": "\ud83d"}', "item.a: '\\ud83d' is not Unicode text"),
        (r'{"pk": "l", "sk": 1, "a": [{"\ude00": 1}]}', "item.a[0]: '\\ude00' is not Unicode text"),
        (r'{"pk": {"S": "\ud83d"}, "sk": {"N": "1"}}', "item.pk.S: '\\ud83d' is not Unicode text"),
        ('{"pk": {"S": "l"}, "sk": {"N": 1.5}}', "item.sk.N: in DynamoDB's JSON a number is text"),
        ('{"pk": {"S": "l"}, "sk": {"N": 1' + "0" * 30 + "}}", "item.sk.N: this int is too large"),
        ('{"pk": "l", "sk": 1, "a": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32 deep"),
    ],
    ids=["text", "name", "encoded text", "fraction", "long number", "deep"],
)
def test_a_record_that_cannot_be_sent_is_a_bad_line_and_no_more(
    quorate: Command, table: str, tmp_path: Path, record: str, reason: str
) -> None:
    lines = [record, '{"pk": "ok", "sk": 2}']

    ended = quorate("load", write_lines(tmp_path / "two.jsonl", lines), "--table", table)

    assert ended.code == 1
    assert ended.err.startswith("line 1: ")
    assert reason in ended.err
    assert ended.out.startswith("1 of 2 records loaded, 1 failed")
    assert quorate("get", table, '{"pk": "ok", "sk": 2}').code == 0


def test_text_in_the_bytes_of_half_a_surrogate_is_a_bad_line(
    quorate: Command, table: str, tmp_path: Path
) -> None:
    file = tmp_path / "two.jsonl"
    file.write_bytes(b'{"pk": "\xed\xa0\xbd", "sk": 1}\n{"pk": "\xff", "sk": 1}\n')

    ended = quorate("load", str(file), "--table", table)

    assert ended.code == 1
    assert "line 1: item.pk: " in ended.err
    assert "line 2: not JSON: " in ended.err


def test_a_number_of_thousands_of_digits_reaches_the_router_which_refuses_it(
    quorate: Command, table: str, tmp_path: Path
) -> None:
    line = '{"pk": "l", "sk": 1, "a": ' + "9" * 5000 + "}"

    ended = quorate("load", write_lines(tmp_path / "one.jsonl", [line]), "--table", table)

    assert "not JSON" not in ended.err
    assert ended.out.startswith("1 of 1")  # the router of these tests has no model of numbers
