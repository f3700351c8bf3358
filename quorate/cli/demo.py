"""`quorate demo`: load real data, kill a leader on the way, and find every acknowledged record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.server_side import need_server
from quorate.cli.settings import DataDirOption, JsonOption


def demo(
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="host:port of the gRPC face of a running `quorate up`, whose data directory"
            " --data-dir is. [default: a cluster of the demo's own]",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDirOption = Path("data"),
    records: Annotated[int, typer.Option(min=100, help="Most records to load.")] = 40_000,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the demo's tables.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Load the Debian package index, SIGKILL a leader in the middle, and verify every record.

    Exits with 1, loudly, if a single acknowledged write is missing or different.
    """
    need_server("quorate demo")
    from quorate.demo.story import Demo, DemoFailed, DemoOptions, DemoRefused

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    run = Demo(
        DemoOptions(endpoint=endpoint, data_dir=data_dir, records_max=records, keep=keep), say
    )
    try:
        summary = run.run()
    except DemoRefused as refusal:
        fail(str(refusal), Exit.REFUSED)
    except DemoFailed as failure:
        if as_json:
            print_json(run.summary.document())
        fail(f"THE DEMO FAILED: {failure}")
    say(f"{summary.lost} acknowledged writes lost")
    if as_json:
        print_json(summary.document())
