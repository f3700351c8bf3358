"""`quorate load`: many records from a file of JSON lines."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from quorate.cli.connection import run_with_client
from quorate.cli.documents import Encoding
from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.items import EncodingOption
from quorate.cli.settings import EndpointOption, JsonOption

if TYPE_CHECKING:
    from rich.progress import Progress

    from quorate.cli.loading import Tally
    from quorate.client import Client

FAILURES_PRINTED_MAX: Final = 20
"""Failures whose lines and reasons are printed. Ours."""


def load(
    file: Annotated[
        str, typer.Argument(help="One JSON item a line, plain or DynamoDB's; - reads stdin.")
    ],
    table: Annotated[str, typer.Option(help="The table; it must exist.")],
    parallel: Annotated[
        int, typer.Option(min=1, max=1024, help="Batches of 25 in flight at the same time.")
    ] = 32,
    encoding: EncodingOption = Encoding.AUTO,
    endpoint: EndpointOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load records through batches; exit 1 if any of them is not in the table in the end.

    Run it again to resume a load that was cut short: putting an item twice changes nothing.
    """
    opened: IO[bytes]
    size_bytes: int | None = None
    if file == "-":
        opened = sys.stdin.buffer
    else:
        try:
            opened = Path(file).open("rb")  # noqa: SIM115 - closed below, as stdin is not
            size_bytes = Path(file).stat().st_size
        except OSError as error:
            fail(f"cannot read {file}: {error.strerror}", Exit.REFUSED)
    from quorate.cli.loading import Tally

    tally = Tally()
    is_done = False
    started = time.perf_counter()
    try:
        run_with_client(
            endpoint,
            lambda client: _load(
                client,
                opened,
                tally,
                table=table,
                size_bytes=size_bytes,
                parallel=parallel,
                encoding=encoding,
                quiet=as_json,
            ),
            raw=True,
        )
        is_done = True
    finally:
        # Also after Ctrl-C, and when the cluster has gone: what is in the table is in the table.
        if is_done or tally.read:
            _report(tally, time.perf_counter() - started, as_json=as_json)
        if file != "-":
            opened.close()
    raise typer.Exit(Exit.FAILED if tally.failed else Exit.OK)


async def _load(
    client: Client,
    file: IO[bytes],
    tally: Tally,
    *,
    table: str,
    size_bytes: int | None,
    parallel: int,
    encoding: Encoding,
    quiet: bool,
) -> None:
    from quorate.cli.loading import Loader

    description = await client.describe_table(table)
    loader = Loader(
        client,
        table,
        [element["AttributeName"] for element in description["KeySchema"]],
        tally,
        batches_max=parallel,
        encoding=encoding,
    )
    with _progress(quiet=quiet) as progress:
        task = progress.add_task("loading", total=size_bytes, records="")

        def show() -> None:
            records = f"{tally.loaded:,} records"
            records += f", {tally.failed:,} failed" if tally.failed else ""
            progress.update(task, completed=tally.read_bytes, records=records)

        await loader.load(file, show)


def _progress(*, quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[records]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )


def _report(tally: Tally, seconds: float, *, as_json: bool) -> None:
    rate = tally.loaded / seconds if seconds > 0 else 0.0
    unfinished = tally.read - tally.loaded - tally.failed  # only if the load was cut short
    if as_json:
        document: dict[str, Any] = {
            "read": tally.read,
            "loaded": tally.loaded,
            "failed": tally.failed,
            "unfinished": unfinished,
            "seconds": round(seconds, 3),
            "records_per_second": round(rate, 1),
            "failures": [{"line": line, "reason": reason} for line, reason in tally.failures],
        }
        print_json(document)
        return
    for line, reason in tally.failures[:FAILURES_PRINTED_MAX]:
        print(f"line {line}: {reason}", file=sys.stderr)
    if tally.failed > FAILURES_PRINTED_MAX:
        print(f"... and {tally.failed - FAILURES_PRINTED_MAX} more", file=sys.stderr)
    print(
        f"{tally.loaded:,} of {tally.read:,} records loaded, {tally.failed:,} failed,"
        + (f" {unfinished:,} cut short," if unfinished else "")
        + f" in {seconds:.1f} s ({rate:,.0f} records/s)"
    )
