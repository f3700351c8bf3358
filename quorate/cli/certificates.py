"""`quorate cert`: certificates for trying TLS out. Real ones come from a real authority."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quorate.cli.exits import EPILOG, Exit, fail

app = typer.Typer(
    help="Make certificates for development.",
    epilog=EPILOG,
    no_args_is_help=True,
)


@app.callback()
def _keep_the_subcommand() -> None:
    """Make certificates for development."""


@app.command("make-dev", epilog=EPILOG)
def make_dev(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where they go.", file_okay=False)
    ],
    hosts: Annotated[
        list[str],
        typer.Argument(metavar="HOST...", help="Names and addresses that clients call routers by."),
    ],
) -> None:
    """Make a server certificate for some hosts, and a development CA if DIR has none.

    Run it again for a new certificate of the same CA: running routers take it by themselves.
    """
    from quorate.security.development_ca import AuthorityRefused, make_development_certificate

    try:
        files = make_development_certificate(directory, hosts, time.time())
    except (AuthorityRefused, OSError) as refusal:
        fail(str(refusal), Exit.REFUSED)
    print(f"routers: --tls-cert {files.certificate} --tls-key {files.key}")
    print(f"clients: export AWS_CA_BUNDLE={files.ca} QUORATE_TLS_CA={files.ca}")
