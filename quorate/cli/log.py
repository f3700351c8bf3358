"""`quorate log find`: from a client's request id to the entries of a stopped node's log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quorate.cli.exits import EPILOG, Exit, fail, print_json
from quorate.cli.server_side import need_server
from quorate.cli.settings import JsonOption

app = typer.Typer(help="Look into the log of a stopped node.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `find` a subcommand while it is the only one."""


@app.command(epilog=EPILOG)
def find(
    id_: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="An x-amzn-RequestId; or what a log line calls request, write or ids.",
        ),
    ],
    directory: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="A node's directory: DATA/nodes/NAME."),
    ],
    *,
    json: JsonOption = False,
) -> None:
    """Find the entries of a request's writes; exit 4 if the log has none, or not any more.

    A log is cut once its items are in the tree.
    """
    need_server("quorate log find")
    from node.storage.errors import StorageError
    from node.storage.log_search import find_request, parse_id

    try:
        wanted = parse_id(id_)
    except ValueError as error:
        fail(str(error), Exit.REFUSED)
    try:
        found = find_request(directory, wanted)
    except StorageError as error:
        fail(str(error), Exit.REFUSED)
    if json:
        print_json([asdict(each) for each in found])
    else:
        for each in found:
            print(
                f"group {each.group}, index {each.index}, term {each.term}: write {each.write}"
                f" {'refused' if each.refused else 'done'}, {each.units} units, one of"
                f" {each.writes_in_entry};"
                f" {'committed' if each.committed else 'not known here to be committed'}"
            )
    if not found:
        if not json:
            print("not in this log")
        raise typer.Exit(Exit.NOT_FOUND)
