"""`quorate debug bundle`: what a bug report needs, in one file."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from quorate.cli.administration import admin_dialer, admin_paths
from quorate.cli.exits import EPILOG, Exit, fail, print_json
from quorate.cli.settings import (
    ADMIN_PORT_DEFAULT,
    ClusterCaOption,
    ClusterCertOption,
    ClusterKeyOption,
    DataDirOption,
    JsonOption,
    cluster_paths,
)

SECONDS_DEFAULT: Final = 20.0
"""Longest wait for all answers together. Ours: several times what one process is given."""

app = typer.Typer(help="Find out what is wrong.", epilog=EPILOG, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `bundle` a subcommand while it is the only one."""


@app.command(epilog=EPILOG)
def bundle(
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; it must not be there. [default:"
            " quorate-debug-CLUSTER-TIME.tar.gz, here]",
            show_default=False,
        ),
    ] = None,
    admin: Annotated[
        list[str] | None,
        typer.Option(
            envvar="QUORATE_ADMIN_ENDPOINT",
            help="host:port of the admin face of a router or a node; may be repeated. [default:"
            f" those of the local cluster, else 127.0.0.1:{ADMIN_PORT_DEFAULT}]",
            show_default=False,
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            envvar="QUORATE_NODES",
            help="host:port of a node; may be repeated. [default: those that a router or the local"
            " cluster knows]",
            show_default=False,
        ),
    ] = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    data_dir: DataDirOption = Path("data"),
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that all answers together are waited for.")
    ] = SECONDS_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Put what a bug report needs into one .tar.gz: versions, status, metrics, catalog, logs.

    It works while half of the cluster is down: what is missing is said on stderr, and in the file.
    No items, secrets or access keys are in it; names of tables, users and hosts are.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what does not answer is told once, by us
    from quorate.bundle.collecting import Wanted, collect
    from quorate.local.topology import stamp_path

    paths = cluster_paths(cluster_ca, cluster_cert, cluster_key) or admin_paths(data_dir)
    faces = admin or ([] if stamp_path(data_dir).exists() else [f"127.0.0.1:{ADMIN_PORT_DEFAULT}"])
    wanted = Wanted(data_dir=data_dir, faces=faces, nodes=node or (), seconds=timeout)
    now = time.time()
    collected = collect(wanted, admin_dialer(paths), now)
    for sentence in collected.bundle.missing:
        print(f"quorate: missing: {sentence}", file=sys.stderr)
    if not collected.cluster_id:
        fail("nothing is known of the cluster: name a router (--admin)", Exit.UNREACHABLE)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = out or Path(f"quorate-debug-{collected.cluster_id}-{stamp}.tar.gz")
    try:
        size_bytes = collected.bundle.write(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", Exit.REFUSED)
    if as_json:
        print_json(
            {
                "file": str(path),
                "size_bytes": size_bytes,
                "missing": collected.bundle.missing,
            }
        )
    else:
        print(f"{path} ({size_bytes:,} bytes): look through it before you send it")
