"""`quorate table`: create, list, describe, update and delete tables."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quorate.cli.connection import run_with_client
from quorate.cli.exits import EPILOG, Exit, fail, print_json
from quorate.cli.settings import (
    ADMIN_PORT_DEFAULT,
    AdminOption,
    AdminPortOption,
    EndpointOption,
    JsonOption,
)

if TYPE_CHECKING:
    from quorate.client import Client

ACTIVE_TIMEOUT_SECONDS: Final = 10.0
"""Longest wait for a new table to take writes. Ours."""

ACTIVE_POLL_SECONDS: Final = 0.1
"""Between two looks at a new table. Ours."""

KEY_TYPES: Final = ("S", "N", "B")

app = typer.Typer(
    help="Create, list, describe, update and delete tables.", epilog=EPILOG, no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="The table's name.")]


def parse_key(text: str) -> tuple[str, str]:
    """Return (attribute name, type) of NAME:TYPE; raises typer.BadParameter."""
    name, colon, kind = text.rpartition(":")
    if not colon:
        name, kind = text, "S"
    if not name or kind not in KEY_TYPES:
        raise typer.BadParameter(f"{text!r} is not NAME:TYPE, the type being S, N or B")
    return name, kind


@app.command(epilog=EPILOG)
def create(
    name: NameArgument,
    partition_key: Annotated[str, typer.Option(help="NAME:TYPE, the type being S, N or B.")],
    sort_key: Annotated[str | None, typer.Option(help="NAME:TYPE.")] = None,
    read_units: Annotated[
        int | None, typer.Option(min=1, help="Provisioned RCUs. [default: pay per request]")
    ] = None,
    write_units: Annotated[
        int | None, typer.Option(min=1, help="Provisioned WCUs. [default: pay per request]")
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="An existing table is no error.")
    ] = False,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a table and wait until it takes writes."""
    keys = parse_key(partition_key), None if sort_key is None else parse_key(sort_key)

    async def work(client: Client) -> dict[str, Any]:
        from quorate.client import ResourceInUse

        try:
            description = await client.create_table(
                name,
                partition_key=keys[0],
                sort_key=keys[1],
                read_capacity_units=read_units,
                write_capacity_units=write_units,
            )
        except ResourceInUse:
            if not if_not_exists:
                raise
            description = await client.describe_table(name)
        async with asyncio.timeout(ACTIVE_TIMEOUT_SECONDS):
            while description["TableStatus"] != "ACTIVE":
                await asyncio.sleep(ACTIVE_POLL_SECONDS)
                description = await client.describe_table(name)
        return description

    try:
        description = run_with_client(endpoint, work)
    except TimeoutError:
        fail(f"table {name} was created but is not active after {ACTIVE_TIMEOUT_SECONDS:.0f} s")
    if as_json:
        print_json(description)
    else:
        print(f"table {name} is active")


@app.command("list", epilog=EPILOG)
def list_tables(endpoint: EndpointOption = None, as_json: JsonOption = False) -> None:
    """List the names of all tables."""

    async def work(client: Client) -> list[str]:
        return [name async for name in client.table_names()]

    names = run_with_client(endpoint, work)
    if as_json:
        print_json(names)
    else:
        for name in names:
            print(name)


@app.command(epilog=EPILOG)
def describe(
    name: NameArgument,
    endpoint: EndpointOption = None,
    admin_port: AdminPortOption = ADMIN_PORT_DEFAULT,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a table's description as JSON; exit 4 if there is no such table.

    `Throughput` is what it has used of late at one router, and what was throttled there; it is left
    out if that router's admin face does not answer.
    """

    async def work(client: Client) -> dict[str, Any]:
        return await client.describe_table(name)

    description = run_with_client(endpoint, work)
    throughput = _throughput_of(name, admin or f"127.0.0.1:{admin_port}")
    if throughput is not None:
        description["Throughput"] = throughput
    if as_json:
        print_json(description)
    else:
        print(json.dumps(description, indent=2, ensure_ascii=False))


def _throughput_of(name: str, admin: str) -> dict[str, Any] | None:
    """Return what a router says of a table's use, None if it does not say."""
    from quorate.local.admin_http import AdminUnreachable, get

    try:
        code, body = get(admin, "/status")
    except AdminUnreachable:
        return None
    router = json.loads(body)["router"] if code == HTTPStatus.OK else {"tables": []}
    for table in router["tables"]:
        if table["name"] == name:
            return {
                "Router": router["name"],
                "ReadUnitsPerSecond": table["read_units_per_second"],
                "WriteUnitsPerSecond": table["write_units_per_second"],
                "Throttled": table["throttled"],
            }
    return None


@app.command(epilog=EPILOG)
def update(
    name: NameArgument,
    read_units: Annotated[int | None, typer.Option(min=1, help="Provisioned RCUs.")] = None,
    write_units: Annotated[int | None, typer.Option(min=1, help="Provisioned WCUs.")] = None,
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Pay per request, no provisioned units.")
    ] = False,
    max_read_units: Annotated[
        int | None, typer.Option(min=-1, help="Most RCUs of a table on demand; -1: no maximum.")
    ] = None,
    max_write_units: Annotated[
        int | None, typer.Option(min=-1, help="Most WCUs of a table on demand; -1: no maximum.")
    ] = None,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a table's throughput; it holds on every router within seconds."""
    if (read_units is None) != (write_units is None):
        fail("--read-units and --write-units go together", Exit.REFUSED)
    if on_demand and read_units is not None:
        fail("a table on demand has no provisioned units", Exit.REFUSED)

    async def work(client: Client) -> dict[str, Any]:
        billing_mode = "PAY_PER_REQUEST" if on_demand else None
        return await client.update_table(
            name,
            billing_mode="PROVISIONED" if read_units is not None else billing_mode,
            read_capacity_units=read_units,
            write_capacity_units=write_units,
            max_read_request_units=max_read_units,
            max_write_request_units=max_write_units,
        )

    description = run_with_client(endpoint, work)
    if as_json:
        print_json(description)
    else:
        print(f"table {name} is changed")


@app.command(epilog=EPILOG)
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a table with all its items, after asking."""
    if not yes and not typer.confirm(f"Delete table {name} and all its items?", err=True):
        fail("nothing was deleted", Exit.REFUSED)

    async def work(client: Client) -> dict[str, Any]:
        return await client.delete_table(name)

    description = run_with_client(endpoint, work)
    if as_json:
        print_json(description)
    else:
        print(f"table {name} is deleted")
