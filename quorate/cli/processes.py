"""`quorate node` and `quorate router`: one process each; and what can be done to a local one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quorate.cli.exits import EPILOG, Exit, fail, print_json
from quorate.cli.server_side import need_server
from quorate.cli.settings import (
    ClusterCaOption,
    ClusterCertOption,
    ClusterKeyOption,
    DataDirOption,
    JsonOption,
    LogFormatOption,
    LogLevelOption,
    ParentPidOption,
    SlowRequestOption,
    cluster_paths,
)

if TYPE_CHECKING:
    from node.options import Member

PROCESS_EPILOG: Final = (
    "Exit codes: 0 stopped by SIGTERM or SIGINT; 2 wrong options or refused; 3 storage failed;"
    " 4 the data directory is empty, old, replaced or another node's; 5 it is in use."
)

node_app = typer.Typer(
    help="Run one storage node; or kill, pause, resume, restart one of a local cluster.",
    epilog=PROCESS_EPILOG,
    invoke_without_command=True,
)


def _begin(command: str, parent_pid: int | None) -> None:
    """Refuse where there is no server; die with the parent, if one is named."""
    need_server(command)
    if parent_pid is not None:
        from quorate.local.parent import die_with_parent

        die_with_parent(parent_pid)


def parse_member(text: str) -> Member:
    """Return the member that NAME=AZ@HOST:PORT describes; raises typer.BadParameter."""
    from node.options import Member

    name, equals, rest = text.partition("=")
    az, at, address = rest.partition("@")
    _, colon, port = address.rpartition(":")
    if not (name and equals and az and at and colon and port.isdigit()):
        raise typer.BadParameter(f"{text!r} is not of the form NAME=AZ@HOST:PORT")
    return Member(name=name, az=az, address=address)


MemberOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=AZ@HOST:PORT of an initial node; one for each, itself included."),
]
JoinOption = Annotated[
    list[str] | None,
    typer.Option(help="host:port of any node of a cluster that this new node is to join."),
]
NodeInsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen beyond loopback without --cluster-cert: whoever comes may do all.",
    ),
]


@node_app.callback()
def node(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="The node's name, as in --member.")] = None,
    az: Annotated[str | None, typer.Option(help="Its availability zone.")] = None,
    listen: Annotated[str | None, typer.Option(help="host:port to listen on.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Its data directory.", file_okay=False)
    ] = None,
    cluster_id: Annotated[str | None, typer.Option(help="The cluster it belongs to.")] = None,
    member: MemberOption = None,
    join: JoinOption = None,
    advertise: Annotated[
        str | None,
        typer.Option(
            help="host:port where the others reach it. [default: as in --member, --listen]"
        ),
    ] = None,
    admin: Annotated[
        str | None, typer.Option(help="host:port of metrics and health. [default: nowhere]")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a new cluster.")] = 12,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    insecure: NodeInsecureOption = False,
    log_level: LogLevelOption = "info",
    log_format: LogFormatOption = "auto",
    slow_request_ms: SlowRequestOption = 1_000,
    parent_pid: ParentPidOption = None,
) -> None:
    """Run one storage node until SIGTERM; with a subcommand, act on a local cluster's node."""
    if context.invoked_subcommand is not None:
        return
    _begin("quorate node", parent_pid)
    required = {
        "--name": name,
        "--az": az,
        "--listen": listen,
        "--data-dir": data_dir,
        "--cluster-id": cluster_id,
        "--member or --join": member or join,
    }
    missing = [option for option, value in required.items() if not value]
    if missing:
        fail(f"quorate node needs {', '.join(missing)} (see quorate node --help)", Exit.REFUSED)
    assert name and az and listen and data_dir and cluster_id  # noqa: PT018 - none is missing
    from node.main import run
    from node.options import NodeOptions

    sys.exit(
        run(
            NodeOptions(
                name=name,
                az=az,
                listen=listen,
                data_dir=data_dir,
                cluster_id=cluster_id,
                members=tuple(parse_member(text) for text in member or ()),
                join=tuple(join or ()),
                advertise=advertise or "",
                admin=admin or "",
                partitions=partitions,
                cluster_paths=cluster_paths(cluster_ca, cluster_cert, cluster_key),
                insecure=insecure,
                log_level=log_level,
                log_format=log_format,
                slow_request_ms=slow_request_ms,
            )
        )
    )


KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="The cluster's key file. With it, signatures are verified once there are users.",
    ),
]
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen elsewhere than on loopback without --require-auth: anybody may call.",
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="Certificate and chain, PEM. With it, clients must speak TLS, on both faces.",
    ),
]
TlsKeyOption = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="The certificate's key, PEM, its owner's alone."),
]


RequestTimeoutOption = Annotated[
    int, typer.Option(min=1, help="Time a request may take before its caller is told so.")
]
ConnectionsPerAddressOption = Annotated[
    int, typer.Option(min=0, help="Most of one client address; 0 is half of them.")
]
ConnectionAgeOption = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Age at which a client's connection ends between two requests; 0 is never.",
    ),
]
CorsOriginOption = Annotated[
    list[str] | None, typer.Option(help="Web origin whose pages may call this router.")
]


def _check_probe_status(status: int) -> int:
    if status not in (200, 400):
        raise typer.BadParameter("200 or 400")
    return status


ProbeStatusOption = Annotated[
    int,
    typer.Option(
        envvar="QUORATE_PROBE_STATUS",
        help="Status that GET / answers: 200, or DynamoDB Local's 400, which some tools wait for.",
        callback=_check_probe_status,
    ),
]

GrpcReflectionOption = Annotated[
    bool,
    typer.Option(
        "--grpc-reflection",
        envvar="QUORATE_GRPC_REFLECTION",
        help="Tell gRPC clients such as grpcurl which services there are.",
    ),
]


def router(
    name: Annotated[str, typer.Option(help="The router's name, in logs and metrics.")],
    az: Annotated[str, typer.Option(help="Its availability zone: eventual reads prefer it.")],
    http: Annotated[str, typer.Option(help="host:port of the DynamoDB HTTP face.")],
    grpc: Annotated[str, typer.Option(help="host:port of the gRPC face.")],
    admin: Annotated[str, typer.Option(help="host:port of metrics, health and status.")],
    cluster_id: Annotated[str, typer.Option(help="The cluster it serves.")],
    node: Annotated[list[str], typer.Option(help="host:port of a node; several are better.")],
    request_timeout_ms: RequestTimeoutOption = 4000,
    key_file: KeyFileOption = None,
    require_auth: Annotated[
        bool,
        typer.Option("--require-auth", help="Refuse unsigned requests, users or not."),
    ] = False,
    region: Annotated[
        str | None, typer.Option(help="The region that requests must be signed for. [default: any]")
    ] = None,
    insecure: InsecureOption = False,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    connections_max: Annotated[int, typer.Option(min=1, help="Most open HTTP connections.")] = 8192,
    connections_per_address: ConnectionsPerAddressOption = 0,
    connection_age: ConnectionAgeOption = 0,
    cors_origin: CorsOriginOption = None,
    probe_status: ProbeStatusOption = 200,
    grpc_reflection: GrpcReflectionOption = False,
    log_level: LogLevelOption = "info",
    log_format: LogFormatOption = "auto",
    slow_request_ms: SlowRequestOption = 1_000,
    parent_pid: ParentPidOption = None,
) -> None:
    """Run one router until SIGTERM. Routers keep no state: run any number of them."""
    _begin("quorate router", parent_pid)
    from router.main import run
    from router.options import RouterOptions

    sys.exit(
        run(
            RouterOptions(
                name=name,
                az=az,
                http=http,
                grpc=grpc,
                admin=admin,
                cluster_id=cluster_id,
                nodes=tuple(node),
                request_timeout_ms=request_timeout_ms,
                connections_max=connections_max,
                connections_per_network_max=connections_per_address,
                connection_age_seconds=connection_age,
                key_file=key_file,
                require_auth=require_auth,
                region=region,
                insecure=insecure,
                tls_cert=tls_cert,
                tls_key=tls_key,
                cluster_paths=cluster_paths(cluster_ca, cluster_cert, cluster_key),
                cors_origins=tuple(cors_origin or ()),
                probe_status=probe_status,
                reflection=grpc_reflection,
                log_level=log_level,
                log_format=log_format,
                slow_request_ms=slow_request_ms,
            )
        )
    )


NameArgument = Annotated[
    str, typer.Argument(help="A process of the cluster (a1, r1), or an AZ (az-a): all its nodes.")
]
CONTROL_DATA_DIR_DEFAULT: Final = Path("data")


def _control(action: str, name: str, data_dir: Path, as_json: bool, *, az: str = "") -> None:
    from quorate.local.control import ControlRefused, NoSupervisor, ask

    try:
        answer = ask(data_dir.absolute(), action, name, az)
    except NoSupervisor as error:
        fail(str(error), Exit.UNREACHABLE)
    except ControlRefused as refusal:
        fail(str(refusal), Exit.FAILED)
    if as_json:
        print_json(answer["processes"])
    else:
        print(answer["message"])


@node_app.command(epilog=EPILOG)
def kill(
    name: NameArgument,
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Kill a process of the local cluster with SIGKILL."""
    _control("kill", name, data_dir, as_json)


@node_app.command(epilog=EPILOG)
def pause(
    name: NameArgument,
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Freeze a process of the local cluster with SIGSTOP: it lives and says nothing."""
    _control("pause", name, data_dir, as_json)


@node_app.command(epilog=EPILOG)
def resume(
    name: NameArgument,
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Let a paused process of the local cluster go on."""
    _control("resume", name, data_dir, as_json)


@node_app.command(epilog=EPILOG)
def restart(
    name: NameArgument,
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Start a process of the local cluster again, stopping it cleanly first if it runs."""
    _control("restart", name, data_dir, as_json)


@node_app.command(epilog=EPILOG)
def add(
    name: Annotated[str, typer.Argument(help="The new node's name.")],
    az: Annotated[str, typer.Option(help="Its availability zone.")],
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Start one more node of the local cluster, to take another one's place (node replace)."""
    _control("add", name, data_dir, as_json, az=az)


@node_app.command("list", epilog=EPILOG)
def list_processes(
    data_dir: DataDirOption = CONTROL_DATA_DIR_DEFAULT, as_json: JsonOption = False
) -> None:
    """List the processes of the local cluster, with pids and states."""
    from quorate.local.control import ControlRefused, NoSupervisor, ask

    try:
        processes = ask(data_dir.absolute(), "list")["processes"]
    except (NoSupervisor, ControlRefused) as error:
        fail(str(error), Exit.UNREACHABLE)
    assert isinstance(processes, list)
    if as_json:
        print_json(processes)
        return
    from rich.table import Table

    from quorate.cli.console import wide_console

    table = Table(box=None, pad_edge=False)
    for heading in ("process", "kind", "AZ", "pid", "state", "listens on", "ended last"):
        table.add_column(heading)
    for row in processes:
        fields = ("name", "kind", "az", "pid", "state", "listens", "ended")
        table.add_row(*("" if row[field] is None else str(row[field]) for field in fields))
    wide_console().print(table)
