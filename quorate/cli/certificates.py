"""`quorate cert`: certificates of a cluster's processes, and of routers for their clients.

A cluster's own authority is right for the former; for the latter, real ones come from a real one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from quorate.cli.exits import EPILOG, Exit, fail

if TYPE_CHECKING:
    from quorate.security.cluster_roles import Role

DAY_SECONDS: Final = 86_400.0

app = typer.Typer(
    help="Make certificates: of a cluster's processes, and of routers for their clients.",
    epilog=EPILOG,
    no_args_is_help=True,
)

T = TypeVar("T")

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Where they lie.", file_okay=False)
]
ClusterArgument = Annotated[
    str, typer.Argument(metavar="CLUSTER", help="The cluster's id, as in --cluster-id.")
]
DaysOption = Annotated[int, typer.Option(min=1, help="How long they are valid.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace those that are there: processes take new ones.")
]


@app.command("create-ca", epilog=EPILOG)
def create_ca(
    directory: DirectoryArgument,
    cluster_id: ClusterArgument,
    days: DaysOption = 3_653,
) -> None:
    """Make a cluster's certificate authority: ca.crt, and ca.key, which no process needs."""
    from quorate.security.development_ca import make_cluster_authority

    made = _made(
        lambda: make_cluster_authority(
            directory, cluster_id, time.time(), valid_seconds=days * DAY_SECONDS
        )
    )
    print(f"{made}: for all processes; {directory / 'ca.key'}: keep it elsewhere")


@app.command("create-node", epilog=EPILOG)
def create_node(
    directory: DirectoryArgument,
    cluster_id: ClusterArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The nodes, as in --name.")],
    days: DaysOption = 397,
    overwrite: OverwriteOption = False,
) -> None:
    """Make certificates of nodes; each is good for that name alone."""
    from quorate.security.cluster_roles import Role

    for name in names:
        _issue(directory, Role.NODE, cluster_id, name, days=days, overwrite=overwrite)


@app.command("create-router", epilog=EPILOG)
def create_router(
    directory: DirectoryArgument,
    cluster_id: ClusterArgument,
    days: DaysOption = 397,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the certificate of routers: all of a cluster may have the same."""
    from quorate.security.cluster_roles import Role

    _issue(directory, Role.ROUTER, cluster_id, days=days, overwrite=overwrite)


@app.command("create-admin", epilog=EPILOG)
def create_admin(
    directory: DirectoryArgument,
    cluster_id: ClusterArgument,
    days: DaysOption = 397,
    overwrite: OverwriteOption = False,
) -> None:
    """Make the certificate of those who replace nodes: for people, not for processes."""
    from quorate.security.cluster_roles import Role

    _issue(directory, Role.ADMIN, cluster_id, days=days, overwrite=overwrite)


@app.command("create-all", epilog=EPILOG)
def create_all(
    directory: DirectoryArgument,
    cluster_id: ClusterArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The nodes, as in --name.")],
) -> None:
    """Make what a new cluster needs: its authority, its nodes', the routers' and the admin's."""
    create_ca(directory, cluster_id)
    create_node(directory, cluster_id, names)
    create_router(directory, cluster_id)
    create_admin(directory, cluster_id)


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
    from quorate.security.development_ca import make_development_certificate

    files = _made(lambda: make_development_certificate(directory, hosts, time.time()))
    print(f"routers: --tls-cert {files.certificate} --tls-key {files.key}")
    print(f"clients: export AWS_CA_BUNDLE={files.ca} QUORATE_TLS_CA={files.ca}")


def _issue(
    directory: Path, role: Role, cluster_id: str, name: str = "", *, days: int, overwrite: bool
) -> None:
    from quorate.security.cluster_roles import Caller
    from quorate.security.development_ca import make_cluster_certificate

    owner = Caller(role, cluster_id, name)
    paths = _made(
        lambda: make_cluster_certificate(
            directory,
            owner,
            time.time(),
            valid_seconds=days * DAY_SECONDS,
            overwrite=overwrite,
        )
    )
    print(
        f"{owner}: --cluster-ca {paths.ca} --cluster-cert {paths.certificate}"
        f" --cluster-key {paths.key}"
    )


def _made(make: Callable[[], T]) -> T:
    """Return what `make` makes; trouble ends the command with a sentence and its code."""
    from quorate.security.development_ca import AuthorityRefused

    try:
        return make()
    except (AuthorityRefused, OSError) as refusal:
        fail(str(refusal), Exit.REFUSED)
