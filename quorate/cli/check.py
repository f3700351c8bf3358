"""`quorate check`: is a stopped node's data directory what was written?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.server_side import need_server
from quorate.cli.settings import JsonOption


def check(
    directory: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="A node's directory: DATA/nodes/NAME."),
    ],
    *,
    json: JsonOption = False,
) -> None:
    """Verify every checksum of a stopped node; exit 1, saying what to do, if one is wrong."""
    need_server("quorate check")
    from node.storage.check import check_data_directory
    from node.storage.errors import StorageError

    try:
        report = check_data_directory(directory)
    except StorageError as error:
        fail(str(error), Exit.REFUSED)
    if json:
        print_json(asdict(report))
    else:
        print(f"{report.groups} groups, {report.entries} log entries, {report.items} items")
        for finding in report.findings:
            print(finding)
        if not report.findings:
            print("sound")
    if report.findings:
        raise typer.Exit(Exit.FAILED)
