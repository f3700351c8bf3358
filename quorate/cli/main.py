"""The command's entry point and its table of subcommands."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from quorate import __version__
from quorate.cli import (
    certificates,
    check,
    debug,
    demo,
    items,
    load,
    log,
    membership,
    processes,
    status,
    tables,
    up,
    users,
)
from quorate.cli.exits import EPILOG, Exit, fail
from quorate.values import ValueRefused, plain_text

app = typer.Typer(
    name="quorate",
    help="A self-hosted DynamoDB whose writes are fsynced by a quorum of three AZs.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up", epilog=EPILOG)(up.up)
processes.node_app.command("replace", epilog=EPILOG)(membership.replace)
processes.node_app.command("cancel-replace", epilog=EPILOG)(membership.cancel_replace)
processes.node_app.command("remove", epilog=EPILOG)(membership.remove)
app.add_typer(processes.node_app, name="node")
app.command("router", epilog=processes.PROCESS_EPILOG)(processes.router)
app.command("status", epilog=EPILOG)(status.status)
app.add_typer(tables.app, name="table")
app.add_typer(users.app, name="user")
app.add_typer(certificates.app, name="cert")
app.command("put", epilog=EPILOG)(items.put)
app.command("get", epilog=EPILOG)(items.get)
app.command("delete", epilog=EPILOG)(items.delete)
app.command("load", epilog=EPILOG)(load.load)
app.command("check", epilog=EPILOG)(check.check)
app.add_typer(log.app, name="log")
app.add_typer(debug.app, name="debug")
app.command("demo", epilog=EPILOG)(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"quorate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command and exit."""
    for argument in sys.argv[1:]:
        try:
            plain_text(argument)
        except ValueRefused as refused:
            fail(f"an argument is not UTF-8: {refused}", Exit.REFUSED)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(int(Exit.INTERRUPTED))
    except BrokenPipeError:
        # The reader of our output went away (`| head`): end as other programs do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
