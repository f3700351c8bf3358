"""`quorate put`, `get` and `delete`: one item."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.cli.connection import run_with_client
from quorate.cli.documents import DocumentRefused, Encoding, parse_item, plain_json
from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.settings import EndpointOption, JsonOption

if TYPE_CHECKING:
    from quorate.client import Client, Item, Written

TableArgument = Annotated[str, typer.Argument(help="The table.")]
ItemArgument = Annotated[
    str,
    typer.Argument(
        help='The item as JSON, plain {"pk": "a", "n": 1} or DynamoDB\'s {"pk": {"S": "a"}};'
        " - reads it from stdin."
    ),
]
KeyArgument = Annotated[str, typer.Argument(help="The key as JSON, plain or DynamoDB's.")]
EncodingOption = Annotated[
    Encoding,
    typer.Option(
        "--encoding", help="How the JSON is meant; auto: DynamoDB's if every value looks like it."
    ),
]
ConditionOption = Annotated[
    str | None, typer.Option("--condition", help="Only if this ConditionExpression is true.")
]
NamesOption = Annotated[
    str | None, typer.Option("--names", help='ExpressionAttributeNames, JSON: {"#n": "name"}.')
]
ValuesOption = Annotated[
    str | None, typer.Option("--values", help='ExpressionAttributeValues, JSON: {":v": 1}.')
]
DynamodbJsonOption = Annotated[
    bool, typer.Option("--dynamodb-json", help="Print the item in DynamoDB's JSON encoding.")
]


def _item(text: str, encoding: Encoding, what: str) -> dict[str, Any]:
    try:
        return parse_item(sys.stdin.buffer.read() if text == "-" else text, encoding, what)
    except DocumentRefused as error:
        fail(str(error), Exit.REFUSED)


def _expressions(condition: str | None, names: str | None, values: str | None) -> dict[str, Any]:
    """Return the client's parameters for a condition."""
    found: dict[str, Any] = {"condition_expression": condition}
    if names is not None:
        try:
            found["expression_attribute_names"] = dict(json.loads(names))
        except (ValueError, TypeError, RecursionError) as error:
            fail(f"--names is not a JSON object: {error}", Exit.REFUSED)
    if values is not None:
        found["expression_attribute_values"] = _item(values, Encoding.AUTO, "--values")
    return found


def put(
    table: TableArgument,
    item: ItemArgument,
    condition: ConditionOption = None,
    names: NamesOption = None,
    values: ValuesOption = None,
    encoding: EncodingOption = Encoding.AUTO,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an item; returns once two of three AZs have it fsynced."""
    document = _item(item, encoding, "item")
    expressions = _expressions(condition, names, values)

    async def work(client: Client) -> Written:
        return await client.put_item(
            table, document, return_consumed_capacity="TOTAL", **expressions
        )

    _report_write(run_with_client(endpoint, work, raw=True), as_json=as_json)


def delete(
    table: TableArgument,
    key: KeyArgument,
    condition: ConditionOption = None,
    names: NamesOption = None,
    values: ValuesOption = None,
    encoding: EncodingOption = Encoding.AUTO,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the item of a key; deleting what is not there is no error."""
    document = _item(key, encoding, "key")
    expressions = _expressions(condition, names, values)

    async def work(client: Client) -> Written:
        return await client.delete_item(
            table, document, return_consumed_capacity="TOTAL", **expressions
        )

    _report_write(run_with_client(endpoint, work, raw=True), as_json=as_json)


def _report_write(written: Written, *, as_json: bool) -> None:
    if as_json:
        print_json({"consumed_capacity": written.consumed_capacity})


def get(
    table: TableArgument,
    key: KeyArgument,
    consistent: Annotated[
        bool, typer.Option("--consistent/--eventual", help="See every acknowledged write, or not.")
    ] = True,
    encoding: EncodingOption = Encoding.AUTO,
    dynamodb_json: DynamodbJsonOption = False,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the item of a key as JSON; exit 4 if there is none. --json prints one line."""
    document = _item(key, encoding, "key")

    async def work(client: Client) -> Item | None:
        return await client.get_item(table, document, consistent_read=consistent)

    item = run_with_client(endpoint, work, raw=True)
    if item is None:
        fail(f"{table} has no item of this key", Exit.NOT_FOUND)
    indent = None if as_json else 2
    if dynamodb_json:
        print(json.dumps(item, indent=indent, ensure_ascii=False))
    else:
        print(plain_json(item, indent=indent))
