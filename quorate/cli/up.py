"""`quorate up`: a whole cluster on this machine, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from quorate.cli.exits import Exit, fail
from quorate.cli.server_side import need_server
from quorate.cli.settings import (
    ADMIN_PORT_DEFAULT,
    GRPC_PORT_DEFAULT,
    HTTP_PORT_DEFAULT,
    AdminPortOption,
    DataDirOption,
    GrpcPortOption,
    HttpPortOption,
    LogLevelOption,
    ParentPidOption,
)

ROUTERS_MAX: Final = 16
NODES_PER_AZ_MAX: Final = 16
PARTITIONS_MAX: Final = 4096
"""Bounds of a local cluster. Ours: its processes share one machine."""


def up(
    nodes_per_az: Annotated[
        int | None,
        typer.Option(
            min=1, max=NODES_PER_AZ_MAX, help="Nodes in each of the three AZs. [default: 1]"
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=PARTITIONS_MAX, help="Partitions of the ring. [default: 12]"),
    ] = None,
    routers: Annotated[int, typer.Option(min=1, max=ROUTERS_MAX, help="Routers.")] = 1,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure",
            help="Mutual TLS between the processes, with certificates made in DATA_DIR/certs.",
        ),
    ] = False,
    data_dir: DataDirOption = Path("data"),
    http_port: HttpPortOption = HTTP_PORT_DEFAULT,
    grpc_port: GrpcPortOption = GRPC_PORT_DEFAULT,
    admin_port: AdminPortOption = ADMIN_PORT_DEFAULT,
    log_level: LogLevelOption = "info",
    parent_pid: ParentPidOption = None,
) -> None:
    """Run a cluster on this machine until Ctrl-C: nodes in three AZs, and routers.

    A second run with the same data directory goes on with the same data. The numbers of nodes and
    partitions are settled by the first run; routers and their ports may change.
    """
    need_server("quorate up")
    from quorate.local.data_dir import DataDirRefused
    from quorate.local.launch import LaunchOptions, launch
    from quorate.local.parent import die_with_parent
    from quorate.local.ports import PortUnusable
    from quorate.local.processes import RouterPorts
    from quorate.local.topology import TopologyRefused
    from quorate.security.development_ca import AuthorityRefused

    if parent_pid is not None:
        die_with_parent(parent_pid)
    options = LaunchOptions(
        data_dir=data_dir,
        public=RouterPorts(http=http_port, grpc=grpc_port, admin=admin_port),
        nodes_per_az=nodes_per_az,
        partitions=partitions,
        routers=routers,
        secure=secure,
        log_level=log_level,
    )
    try:
        started = launch(options)
    except (AuthorityRefused, DataDirRefused, PortUnusable, TopologyRefused) as refusal:
        fail(str(refusal), Exit.REFUSED)
    raise typer.Exit(Exit.OK if started else Exit.FAILED)
