"""Options that several subcommands share, with the environment variables that set them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

HTTP_PORT_DEFAULT: Final = 8000
GRPC_PORT_DEFAULT: Final = 8001
ADMIN_PORT_DEFAULT: Final = 8002
"""Where the first router of a local cluster listens. Ours; 8000 is DynamoDB Local's habit."""

PORT_MAX: Final = 65_535

DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="QUORATE_DATA_DIR",
        help="The local cluster's data directory.",
        file_okay=False,
    ),
]
HttpPortOption = Annotated[
    int,
    typer.Option(
        envvar="QUORATE_HTTP_PORT", min=1, max=PORT_MAX, help="Port of the DynamoDB HTTP face."
    ),
]
GrpcPortOption = Annotated[
    int,
    typer.Option(envvar="QUORATE_GRPC_PORT", min=1, max=PORT_MAX, help="Port of the gRPC face."),
]
AdminPortOption = Annotated[
    int,
    typer.Option(
        envvar="QUORATE_ADMIN_PORT",
        min=1,
        max=PORT_MAX,
        help="Port of the admin face: metrics, health, status.",
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option(
        envvar="QUORATE_ADMIN_ENDPOINT",
        help="host:port of a router's admin face. [default: 127.0.0.1:QUORATE_ADMIN_PORT]",
        show_default=False,
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        envvar="QUORATE_ENDPOINT",
        help="host:port of a router's gRPC face, or several with commas."
        f" [default: 127.0.0.1:QUORATE_GRPC_PORT, which is {GRPC_PORT_DEFAULT}]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
LogLevelOption = Annotated[
    str, typer.Option(help="Least level that is logged: debug, info, warning, error.")
]
ParentPidOption = Annotated[
    int | None,
    typer.Option(
        "--parent-pid",
        hidden=True,
        help="End when the process of this pid, the parent, ends.",
    ),
]
