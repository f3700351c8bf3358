"""Programs: what the leader makes of a conditional put or delete, and of an update."""

from typing import Any

import orjson
import pytest

from model.errors import ConditionFailed, InternalServerError, ValidationError
from model.image import decode_image, encode_image, image_size_bytes
from model.limits import ITEM_SIZE_BYTES_MAX
from model.program import Evaluated, Program, decode_program, encode_program, evaluate
from model.values import item_size_bytes

KEY = {"pk": {"S": "k"}}
OLD = {"pk": {"S": "k"}, "n": {"N": "1"}, "m": {"M": {"x": {"S": "old"}, "y": {"S": "kept"}}}}


def image_of(item: dict[str, Any] | None) -> bytes:
    return b"" if item is None else encode_image(item, item_size_bytes(item))


def run(program: Program, old: dict[str, Any] | None, new: bytes = b"") -> Evaluated:
    return evaluate(decode_program(encode_program(program)), image_of(old), new)


def update(text: str | None, returned: str = "NONE", **values: Any) -> Program:
    given = {f":{name}": value for name, value in values.items()}
    return Program(kind="update", update=text, values=given, return_values=returned, key=KEY)


def test_conditional_put_replaces_the_item_when_the_condition_holds() -> None:
    new = image_of({"pk": {"S": "k"}, "v": {"N": "2"}})
    program = Program(kind="put", condition="n = :one", values={":one": {"N": "1"}})

    result = run(program, OLD, new)

    assert result == Evaluated(image=new, returned=b"", units=1, changed=True)


def test_failed_condition_carries_the_old_item_only_if_asked() -> None:
    condition = "attribute_not_exists(pk)"
    quiet = Program(kind="put", condition=condition)
    telling = Program(kind="put", condition=condition, return_old_on_failure=True)

    with pytest.raises(ConditionFailed) as caught:
        run(quiet, OLD, image_of(KEY))
    assert caught.value.item_json == b""
    with pytest.raises(ConditionFailed) as caught:
        run(telling, OLD, image_of(KEY))
    assert orjson.loads(caught.value.item_json) == OLD


def test_failed_condition_on_no_item_has_none_to_return() -> None:
    program = Program(kind="delete", condition="attribute_exists(pk)", return_old_on_failure=True)

    with pytest.raises(ConditionFailed) as caught:
        run(program, None)

    assert caught.value.item_json == b""


@pytest.mark.parametrize("kind", ["put", "delete"])
def test_all_old_is_the_item_that_was_there(kind: str) -> None:
    program = Program(kind=kind, return_values="ALL_OLD")
    new = image_of(KEY) if kind == "put" else b""

    assert orjson.loads(run(program, OLD, new).returned) == OLD
    assert run(program, None, new).returned == b""


def test_delete_leaves_nothing_and_costs_what_was_there() -> None:
    large = {"pk": {"S": "k"}, "v": {"S": "x" * 3000}}
    program = Program(kind="delete")

    assert run(program, large) == Evaluated(image=b"", returned=b"", units=3, changed=True)
    assert run(program, None) == Evaluated(image=b"", returned=b"", units=1, changed=False)


def test_put_of_the_same_item_changes_nothing() -> None:
    assert not run(Program(kind="put"), OLD, image_of(OLD)).changed


@pytest.mark.parametrize(
    ("returned", "on_old", "on_nothing"),
    [
        ("NONE", None, None),
        ("ALL_OLD", OLD, None),
        (
            "ALL_NEW",
            {"pk": {"S": "k"}, "n": {"N": "1"}, "m": OLD["m"], "c": {"N": "5"}},
            {"pk": {"S": "k"}, "c": {"N": "5"}},
        ),
        ("UPDATED_OLD", {"n": {"N": "1"}}, None),
        ("UPDATED_NEW", {"c": {"N": "5"}, "n": {"N": "1"}}, {"c": {"N": "5"}}),
    ],
)
def test_update_returns_what_its_return_values_ask_for(
    returned: str, on_old: dict[str, Any] | None, on_nothing: dict[str, Any] | None
) -> None:
    text = "SET c = :five, n = n"
    if_nothing = "SET c = :five"
    five = {"N": "5"}

    found = run(update(text, returned, five=five), OLD).returned
    assert (orjson.loads(found) if found else None) == on_old
    found = run(update(if_nothing, returned, five=five), None).returned
    assert (orjson.loads(found) if found else None) == on_nothing


def test_updated_parts_are_nested_and_without_their_siblings() -> None:
    result = run(update("SET m.x = :v", "UPDATED_NEW", v={"S": "new"}), OLD)

    assert orjson.loads(result.returned) == {"m": {"M": {"x": {"S": "new"}}}}
    assert run(update("REMOVE m.x", "UPDATED_NEW"), OLD).returned == b""
    removed = run(update("REMOVE m.x", "UPDATED_OLD"), OLD).returned
    assert orjson.loads(removed) == {"m": {"M": {"x": {"S": "old"}}}}


def test_update_makes_the_item_from_the_key_if_there_is_none() -> None:
    result = run(update("ADD hits :one", one={"N": "1"}), None)

    assert decode_image(result.image) == {"pk": {"S": "k"}, "hits": {"N": "1"}}
    assert result.changed


def test_update_without_expression_makes_a_key_only_item_or_keeps_what_is_there() -> None:
    made = run(update(None, "ALL_NEW"), None)
    kept = run(update(None, "ALL_NEW"), OLD)

    assert decode_image(made.image) == KEY
    assert orjson.loads(made.returned) == KEY
    assert kept.image == image_of(OLD)
    assert not kept.changed
    assert run(update(None, "UPDATED_NEW"), None).returned == b""


@pytest.mark.parametrize("text", ["REMOVE n", "DELETE tags :t", "REMOVE n DELETE tags :t"])
@pytest.mark.parametrize("returned", ["NONE", "ALL_NEW", "UPDATED_NEW", "UPDATED_OLD"])
def test_update_that_only_removes_makes_no_item(text: str, returned: str) -> None:
    """Source: scylladb issue 5862."""
    values = {"t": {"SS": ["x"]}} if ":t" in text else {}

    result = run(update(text, returned, **values), None)

    assert result == Evaluated(image=b"", returned=b"", units=1, changed=False)


def test_condition_is_evaluated_before_the_update() -> None:
    program = Program(
        kind="update",
        condition="#n = :two",
        update="SET #n = nowhere",
        names={"#n": "n"},
        values={":two": {"N": "2"}},
        key=KEY,
    )

    with pytest.raises(ConditionFailed):
        run(program, OLD)


def test_image_carries_the_size_and_units_follow_the_larger_one() -> None:
    large = {"pk": {"S": "k"}, "v": {"S": "x" * 5000}}
    result = run(update("REMOVE v"), large)

    assert image_size_bytes(result.image) == 3
    assert result.units == 5


def test_updated_item_may_be_as_large_as_the_limit_and_no_larger() -> None:
    room = ITEM_SIZE_BYTES_MAX - item_size_bytes(dict(KEY)) - len("v")

    result = run(update("SET v = :v", v={"S": "x" * room}), None)
    assert image_size_bytes(result.image) == ITEM_SIZE_BYTES_MAX
    with pytest.raises(ValidationError) as caught:
        run(update("SET v = :v", v={"S": "x" * (room + 1)}), None)
    assert str(caught.value) == "Item size to update has exceeded the maximum allowed size"


def test_updated_item_may_not_be_nested_deeper_than_the_limit() -> None:
    deep: dict[str, Any] = {"S": "leaf"}
    for _ in range(30):
        deep = {"L": [deep]}
    old = {"pk": {"S": "k"}, "m": {"M": {"n": {"M": {}}}}}

    run(update("SET m.d = :v", v=deep), old)
    with pytest.raises(ValidationError, match="Nesting Levels have exceeded supported limits"):
        run(update("SET m.n.d = :v", v=deep), old)


def test_failed_update_leaves_the_old_image_as_it_was() -> None:
    old = image_of(OLD)
    untouched = bytes(old)
    program = decode_program(encode_program(update("SET n = n + :v", v={"N": "9" * 38})))
    with pytest.raises(ValidationError):
        evaluate(decode_program(encode_program(update("SET n = m + n"))), old, b"")

    first = evaluate(program, old, b"")

    assert old == untouched
    assert evaluate(program, old, b"") == first


def test_line_breaks_in_names_and_values_travel_safely() -> None:
    program = Program(
        kind="update",
        update="SET #a = :v",
        names={"#a": "line\nbreak"},
        values={":v": {"S": "a\nb"}},
        key=KEY,
    )

    assert decode_image(run(program, None).image)["line\nbreak"] == {"S": "a\nb"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"{}\n[{},{}]",
        b"[2,\"put\",null,null,null,\"NONE\",false]\n[{},{}]",
        b"[1,\"other\",null,null,null,\"NONE\",false]\n[{},{}]",
        b"[1,\"put\",null,null,null,\"NONE\",false]\n[1,2]",
        b"[1,\"put\",null,null,null,\"NONE\",false]\n",
        b"[1,\"put\",\"a = :v\",null,null,\"NONE\",false]\n[{},{}]",
    ],
)  # fmt: skip
def test_bytes_that_no_router_sends_are_an_internal_error(raw: bytes) -> None:
    with pytest.raises(InternalServerError):
        decode_program(raw)


@pytest.mark.parametrize("text", ["REMOVE m.x", "REMOVE l[0], m.x.y", "DELETE m.x :s"])
@pytest.mark.parametrize("returned", ["NONE", "UPDATED_OLD", "UPDATED_NEW", "ALL_NEW"])
def test_nothing_is_removed_from_an_item_that_is_not_there(text: str, returned: str) -> None:
    """The document path is wrong only for an item that is there, without what it looks into."""
    values: dict[str, Any] = {"s": {"SS": ["a"]}} if ":s" in text else {}
    program = update(text, returned, **values)

    assert run(program, None) == Evaluated(image=b"", returned=b"", units=1, changed=False)
    with pytest.raises(ValidationError, match="document path"):
        run(program, KEY)
