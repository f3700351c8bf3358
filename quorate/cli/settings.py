"""Options that several subcommands share, with the environment variables that set them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quorate.cli.exits import Exit, fail

if TYPE_CHECKING:
    from quorate.security.cluster_certificate import ClusterPaths

HTTP_PORT_DEFAULT: Final = 8000
GRPC_PORT_DEFAULT: Final = 8001
ADMIN_PORT_DEFAULT: Final = 8002
"""Where the first router of a local cluster listens. Ours; 8000 is DynamoDB Local's habit."""

PORT_MAX: Final = 65_535


def _check_log_format(text: str) -> str:
    if text not in ("auto", "text", "json"):
        raise typer.BadParameter("auto, text or json")
    return text


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
LogFormatOption = Annotated[
    str,
    typer.Option(
        envvar="QUORATE_LOG_FORMAT",
        help="text, json, or auto: text on a terminal, else JSON.",
        callback=_check_log_format,
    ),
]
SlowRequestOption = Annotated[
    int,
    typer.Option(min=0, help="Requests that take longer, in ms, are logged; 0: none is for that."),
]
ClusterCaOption = Annotated[
    Path | None,
    typer.Option(
        envvar="QUORATE_CLUSTER_CA",
        dir_okay=False,
        help="Authorities that the cluster's processes are known by, PEM. See quorate cert.",
        show_default=False,
    ),
]
ClusterCertOption = Annotated[
    Path | None,
    typer.Option(
        envvar="QUORATE_CLUSTER_CERT",
        dir_okay=False,
        help="What is shown to nodes: a certificate and its chain, PEM.",
        show_default=False,
    ),
]
ClusterKeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="QUORATE_CLUSTER_KEY",
        dir_okay=False,
        help="That certificate's key, PEM, its owner's alone.",
        show_default=False,
    ),
]
ParentPidOption = Annotated[
    int | None,
    typer.Option(
        "--parent-pid",
        hidden=True,
        help="End when the process of this pid, the parent, ends.",
    ),
]


def cluster_paths(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> ClusterPaths | None:
    """Return the three files, or None if none is given; one or two end the command."""
    from quorate.security.certificate_pair import CertificateRefused
    from quorate.security.cluster_certificate import ClusterPaths

    try:
        return ClusterPaths.given(ca, certificate, key)
    except CertificateRefused as refusal:
        fail(str(refusal), Exit.REFUSED)
