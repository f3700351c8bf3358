"""BatchWriteItem and BatchGetItem: refused as a whole, or answered one by one."""

import json
from collections.abc import Callable

import pytest

from model.errors import ModelError, ValidationError
from model.image import decode_image, encode_image
from model.keys import KeySchema
from model.requests.batches import parse_batch_get_item, parse_batch_write_item
from model.sentences import Sentence
from model.tables import Table
from model.values import measure_item

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/things"
TABLE = Table(
    id=1, name="things", schema=KeySchema(partition_name="pk", partition_type="S"), definition={}
)
TABLES = {"things": TABLE}


def put(pk: str, **more: object) -> dict[str, object]:
    return {"PutRequest": {"Item": {"pk": {"S": pk}, **more}}}


def delete(pk: str) -> dict[str, object]:
    return {"DeleteRequest": {"Key": {"pk": {"S": pk}}}}


def writes(*requests: object, **members: object) -> dict[str, object]:
    return {"RequestItems": {"things": list(requests)}, **members}


def gets(*names: str, **options: object) -> dict[str, object]:
    keys = [{"pk": {"S": name}} for name in names]
    return {"RequestItems": {"things": {"Keys": keys, **options}}}


def image_of(pk: str, size: int = 0) -> bytes:
    item: dict[str, object] = {"pk": {"S": pk}, "x": {"S": "x" * size}}
    return encode_image(item, measure_item(item))


def refusal(parse: Callable[[object], object], body: object) -> str:
    with pytest.raises(ModelError) as caught:
        parse(body)
    return str(caught.value)


def test_puts_and_deletes_become_plain_writes() -> None:
    request = parse_batch_write_item(writes(put("a", n={"N": "01"}), delete("b")))
    first, second = request.bind(TABLES)

    assert request.table_names == ("things",)
    assert decode_image(first.write.image) == {"pk": {"S": "a"}, "n": {"N": "1"}}
    assert (first.write.program, second.write.image, second.write.program) == (b"", b"", b"")
    assert json.loads(request.response([first, second], [1, 1])) == {"UnprocessedItems": {}}


def test_unprocessed_writes_come_back_under_the_name_they_had() -> None:
    body: dict[str, object] = {
        "RequestItems": {ARN: [put("a"), delete("b")]},
        "ReturnConsumedCapacity": "TOTAL",
    }
    request = parse_batch_write_item(body)
    bound = request.bind(TABLES)

    assert request.table_names == ("things",)
    assert json.loads(request.response(bound, [2, None])) == {
        "UnprocessedItems": {ARN: [delete("b")]},
        "ConsumedCapacity": [{"TableName": "things", "CapacityUnits": 2.0}],
    }


def test_answer_of_gets_has_items_missing_ones_left_out_and_the_rest_unprocessed() -> None:
    request = parse_batch_get_item(gets("a", "b", "c", ConsistentRead=True))
    bound = request.bind(TABLES)

    assert [get.consistent for get in bound] == [True] * 3
    assert json.loads(request.response(bound, [image_of("a"), b"", None])) == {
        "Responses": {"things": [{"pk": {"S": "a"}, "x": {"S": ""}}]},
        "UnprocessedKeys": {"things": {"Keys": [{"pk": {"S": "c"}}], "ConsistentRead": True}},
    }


def test_gets_are_projected_and_metered_one_by_one() -> None:
    body = gets("a", "b", ProjectionExpression="#p", ExpressionAttributeNames={"#p": "pk"})
    request = parse_batch_get_item({**body, "ReturnConsumedCapacity": "TOTAL"})

    answer = json.loads(request.response(request.bind(TABLES), [image_of("a", 5000), b""]))

    assert answer["Responses"] == {"things": [{"pk": {"S": "a"}}]}
    assert answer["ConsumedCapacity"] == [{"TableName": "things", "CapacityUnits": 1.5}]


def test_gets_stop_at_sixteen_megabytes() -> None:
    names = [f"n{position:02}" for position in range(50)]
    request = parse_batch_get_item(gets(*names))
    images = [image_of(name, 400_000) for name in names]

    answer = json.loads(request.response(request.bind(TABLES), images))

    found = len(answer["Responses"]["things"])
    assert found == 16 * 1024 * 1024 // 400_006
    assert len(answer["UnprocessedKeys"]["things"]["Keys"]) == 50 - found


@pytest.mark.parametrize("room", [0, 1, 200, 300, 700, 1_000, 10_000])
def test_gets_stop_where_the_answer_would_be_too_long_but_give_something(room: int) -> None:
    names = [f"n{position:02}" for position in range(9)]
    request = parse_batch_get_item(gets(*names, ConsistentRead=True))
    images = [image_of(name, 40) for name in names]
    images[3] = b""

    text = request.response(request.bind(TABLES), images, room)

    answer = json.loads(text)
    found = [item["pk"]["S"] for item in answer["Responses"]["things"]]
    asked_again = [key["pk"]["S"] for key in answer["UnprocessedKeys"]["things"]["Keys"]] if (
        answer["UnprocessedKeys"]
    ) else []  # fmt: skip
    assert found
    assert len(text) <= room or len(found) == 1
    assert {*found, *asked_again} | {"n03"} == set(names)
    assert not set(found) & set(asked_again)
    assert (room >= 1_000) is (not asked_again)


def test_gets_that_fit_are_found_beside_one_that_does_not() -> None:
    request = parse_batch_get_item(gets("large", "small"))
    images = [image_of("large", 5_000), image_of("small")]

    answer = json.loads(request.response(request.bind(TABLES), images, 1_000))

    assert [item["pk"]["S"] for item in answer["Responses"]["things"]] == ["small"]
    assert answer["UnprocessedKeys"]["things"]["Keys"] == [{"pk": {"S": "large"}}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"RequestItems": {}},
            "The requestItems parameter is required for BatchWriteItem",
        ),
        ({}, "Value null at 'requestItems' failed"),
        (writes(), "Map value must satisfy constraint: [Member must have length less than or "),
        (writes(*(put(str(n)) for n in range(26))), "less than or equal to 25"),
        ({"RequestItems": {"t!": [put("a")]}}, "Map keys must satisfy constraint: ["),
        (writes({"PutRequest": {}}), "requestItems.things.member.1.member.putRequest.item"),
        (writes({"DeleteRequest": {}}), "requestItems.things.member.1.member.deleteRequest.key"),
        (writes({}), Sentence.VALUE_AMBIGUOUS),
        (writes({**put("a"), **delete("a")}), Sentence.VALUE_AMBIGUOUS),
        (writes(put("a", x={"S": "x" * 409_600})), Sentence.ITEM_TOO_LARGE),
        (writes(put("a", x={"N": "x"}), put("b", x={"S": 1})), "NUMBER_VALUE cannot"),
        (writes("x"), Sentence.UNEXPECTED_VALUE),
        (
            {"RequestItems": {"one": [put(str(n)) for n in range(13)],
                              "two": [put(str(n)) for n in range(13)]}},
            Sentence.BATCH_WRITE_COUNT,
        ),
    ],
)  # fmt: skip
def test_bad_batches_of_writes_are_refused_as_a_whole(body: object, message: str) -> None:
    assert message in refusal(parse_batch_write_item, body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"RequestItems": {}},
            "1 validation error detected: Value at 'RequestItems' failed to satisfy "
            "constraint: Member must have length greater than or equal to 1",
        ),
        (
            gets(),
            "1 validation error detected: Value at 'requestItems.things.member.Keys' failed "
            "to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            gets(*(str(n) for n in range(101))),
            "1 validation error detected: Value at 'requestItems.things.member.Keys' failed "
            "to satisfy constraint: Member must have length less than or equal to 100",
        ),
        ({"RequestItems": {"things": {}}}, "requestItems.things.member.keys"),
        ({"RequestItems": {"things": None}}, "requestItems.things.member.keys"),
        (gets("a", AttributesToGet=["a", "a"]), "Duplicate value in attribute name: a"),
        (gets("a", ProjectionExpression=""), "Invalid ProjectionExpression"),
        (gets("a", ExpressionAttributeNames={"#a": "b"}), "can only be specified when using"),
        ({"RequestItems": {"things": {"Keys": [None]}}}, Sentence.KEY_MISMATCH),
        (
            {"RequestItems": {name: gets(*map(str, range(60)))["RequestItems"]["things"]  # type: ignore[index]
                              for name in ("one", "two")}},
            Sentence.BATCH_GET_COUNT,
        ),
    ],
)  # fmt: skip
def test_bad_batches_of_gets_are_refused_as_a_whole(body: object, message: str) -> None:
    assert message in refusal(parse_batch_get_item, body)


@pytest.mark.parametrize("requests", [[put("a"), put("a", x={"S": "y"})], [put("a"), delete("a")]])
def test_two_actions_on_one_item_are_refused(requests: list[dict[str, object]]) -> None:
    request = parse_batch_write_item(writes(*requests))

    with pytest.raises(ValidationError, match=Sentence.BATCH_DUPLICATES):
        request.bind(TABLES)


def test_same_key_twice_is_refused_before_anybody_looks_for_the_table() -> None:
    twice = gets("a", "a")
    one, two = {"Keys": [{"n": {"N": "1"}}]}, {"Keys": [{"n": {"N": "1.0"}}]}
    by_two_names: dict[str, object] = {"RequestItems": {"things": one, ARN: two}}

    for body in (twice, by_two_names):
        assert refusal(parse_batch_get_item, body) == Sentence.BATCH_DUPLICATES


@pytest.mark.parametrize("item", [{"x": {"S": "a"}}, {"pk": {"N": "1"}}, {"pk": {"L": []}}])
def test_put_without_a_fitting_key_says_less_than_put_item(item: dict[str, object]) -> None:
    """Dynoxide issue 97, measured on AWS."""
    request = parse_batch_write_item(writes({"PutRequest": {"Item": item}}))

    with pytest.raises(ValidationError) as caught:
        request.bind(TABLES)
    assert str(caught.value) == Sentence.KEY_MISMATCH


def test_tables_of_one_batch_must_not_mix_expressions_and_legacy_parameters() -> None:
    """ExtendDB pull request 178, measured on AWS."""
    expression = {"Keys": [{"pk": {"S": "a"}}], "ProjectionExpression": "x"}
    legacy = {"Keys": [{"pk": {"S": "a"}}], "AttributesToGet": ["x"]}
    names = {"Keys": [{"pk": {"S": "a"}}], "ExpressionAttributeNames": {"#x": "x"}}

    assert refusal(parse_batch_get_item, {"RequestItems": {"one": expression, "two": legacy}}) == (
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributesToGet} "
        "Expression parameters: {ProjectionExpression}"
    )
    assert refusal(parse_batch_get_item, {"RequestItems": {"one": names, "two": legacy}}) == (
        Sentence.NAMES_WITHOUT_EXPRESSION
    )
