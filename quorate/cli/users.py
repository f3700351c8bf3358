"""`quorate user`: who may use the cluster. For operators: whoever may read its key file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from quorate.cli.connection import endpoint_or_default, run_to_its_end
from quorate.cli.exits import EPILOG, Exit, fail, print_json
from quorate.cli.settings import EndpointOption, JsonOption

if TYPE_CHECKING:
    from quorate.client.operator import NewAccessKey, Operator
    from quorate.cluster.catalog import Grant

app = typer.Typer(
    help="Create, list and delete users. Once there was one, every request must be signed.",
    epilog=EPILOG,
    no_args_is_help=True,
)

T = TypeVar("T")

NameArgument = Annotated[str, typer.Argument(help="The user's name.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="QUORATE_KEY_FILE",
        dir_okay=False,
        help="The cluster's key file. [default: users.key in QUORATE_DATA_DIR, which is ./data]",
        show_default=False,
    ),
]


AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ACTIONS:TABLES",
        help="What the user may do, as in read,PutItem:orders,log-*; may be repeated."
        " [default: everything]",
        show_default=False,
    ),
]
GrantsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ACTIONS:TABLES",
        help="Actions: operations by name, read, write, manage, or *. Tables: names, with * for"
        " anything.",
        show_default=False,
    ),
]


def run_as_operator(
    endpoint: str | None, key_file: Path | None, work: Callable[[Operator], Awaitable[T]]
) -> T:
    """Return what `work` returns; trouble ends the command with a sentence and its code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from quorate.client.operator import Operator
    from quorate.local.data_dir import key_path
    from quorate.security.sealing import KeyFileRefused, load_key_file

    path = key_file or key_path(Path(os.environ.get("QUORATE_DATA_DIR") or "data"))
    try:
        keys = load_key_file(path)
    except KeyFileRefused as refusal:
        fail(str(refusal), Exit.REFUSED)

    async def connected() -> T:
        async with Operator(endpoint_or_default(endpoint), keys) as operator:
            return await work(operator)

    return run_to_its_end(connected())


def _print_key(key: NewAccessKey, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "user": key.user_name,
                "access_key_id": key.access_key_id,
                "secret_access_key": key.secret_access_key,
            }
        )
        return
    print(f"a key of user {key.user_name}; its secret is shown this once:")
    print(
        f"export AWS_ACCESS_KEY_ID={key.access_key_id}"
        f" AWS_SECRET_ACCESS_KEY={key.secret_access_key}"
    )


def _grants(texts: list[str]) -> list[Grant]:
    """Return what the texts stand for; one that means nothing ends the command."""
    from quorate.security.permissions import BadGrant, parse_grant

    try:
        return [parse_grant(text) for text in texts]
    except BadGrant as bad:
        fail(str(bad), Exit.REFUSED)


@app.command(epilog=EPILOG)
def create(
    name: NameArgument,
    allow: AllowOption = None,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a user, and print its access key."""
    grants = _grants(allow or [])
    key = run_as_operator(endpoint, key_file, lambda it: it.create_user(name, grants))
    _print_key(key, as_json)


@app.command(epilog=EPILOG)
def allow(
    name: NameArgument,
    grants: GrantsArgument,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Let a user do this and nothing else; *:* is everything."""
    wanted = _grants(grants)
    run_as_operator(endpoint, key_file, lambda it: it.replace_grants(name, wanted))
    print(f"user {name} may do {' '.join(grants)} and nothing else")


@app.command("add-key", epilog=EPILOG)
def add_key(
    name: NameArgument,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user a second access key, to take over from the first."""
    _print_key(run_as_operator(endpoint, key_file, lambda it: it.create_access_key(name)), as_json)


@app.command("delete-key", epilog=EPILOG)
def delete_key(
    name: NameArgument,
    access_key_id: Annotated[str, typer.Argument(help="The access key's id.")],
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Delete one access key of a user."""
    run_as_operator(endpoint, key_file, lambda it: it.delete_access_key(name, access_key_id))
    print(f"access key {access_key_id} of user {name} is deleted")


@app.command("list", epilog=EPILOG)
def list_users(
    endpoint: EndpointOption = None, key_file: KeyFileOption = None, as_json: JsonOption = False
) -> None:
    """List users with the ids of their access keys, and what they may do."""
    from quorate.security.permissions import grant_text

    users = run_as_operator(endpoint, key_file, lambda operator: operator.users())
    listed = {
        name: {
            "access_keys": user.access_key_ids,
            "allowed": [grant_text(grant) for grant in user.grants] or ["*:*"],
        }
        for name, user in users.items()
    }
    if as_json:
        print_json(listed)
        return
    for name, user in listed.items():
        print(name, *user["access_keys"], *user["allowed"])


@app.command(epilog=EPILOG)
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Delete a user with all access keys, after asking.

    When the last is gone, nobody may call: the cluster stays closed.
    """
    users = run_as_operator(endpoint, key_file, lambda operator: operator.users())
    is_last = users.keys() == {name}
    warning = " It is the last: then nobody may call any more." if is_last else ""
    if not yes and not typer.confirm(f"Delete user {name}?{warning}", err=True):
        fail("nothing was deleted", Exit.REFUSED)
    run_as_operator(endpoint, key_file, lambda operator: operator.delete_user(name))
    print(f"user {name} is deleted")
    if is_last:
        print(
            "there are no users, and the cluster stays closed: `quorate user create` lets somebody"
            " in, `quorate user open-cluster` everybody"
        )


@app.command("open-cluster", epilog=EPILOG)
def open_cluster(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Let everybody in without a signature, after the last user was deleted; asks first.

    Routers that run with --require-auth let nobody in all the same.
    """
    question = "May everybody who reaches a router read and change everything, without a key?"
    if not yes and not typer.confirm(question, err=True):
        fail("the cluster stays as it is", Exit.REFUSED)
    run_as_operator(endpoint, key_file, lambda operator: operator.open_cluster())
    print("the cluster is open: calls need no signature, until there is a user again")
