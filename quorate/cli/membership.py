"""`quorate node replace`, `cancel-replace` and `remove`: which nodes a cluster has."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from quorate.cli.administration import admin_paths, local_nodes, run_as_admin
from quorate.cli.exits import fail, print_json
from quorate.cli.settings import (
    ADMIN_PORT_DEFAULT,
    AdminOption,
    AdminPortOption,
    ClusterCaOption,
    ClusterCertOption,
    ClusterKeyOption,
    DataDirOption,
    EndpointOption,
    JsonOption,
    cluster_paths,
)
from quorate.cli.status import fetch_status, replacement_text
from quorate.cli.users import KeyFileOption, run_as_operator

if TYPE_CHECKING:
    from quorate.client.administrator import Administrator
    from quorate.client.operator import Operator

POLL_SECONDS: Final = 0.5
"""Between two looks at the progress. Ours."""

DATA_DIR_DEFAULT: Final = Path("data")

T = TypeVar("T")

NodeOption = Annotated[
    list[str] | None,
    typer.Option(
        envvar="QUORATE_NODES",
        help="host:port of a node: where the cluster has certificates. [default: the local"
        " cluster's]",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """How the cluster is reached: where nodes have certificates it takes an admin's, and asks them.

    Else it takes the cluster's key file, and asks a router.
    """

    node: list[str] | None
    cluster_ca: Path | None
    cluster_cert: Path | None
    cluster_key: Path | None
    data_dir: Path
    endpoint: str | None
    key_file: Path | None

    def run(self, work: Callable[[Administrator | Operator], Awaitable[T]]) -> T:
        """Return what `work` returns; trouble ends the command."""
        given = cluster_paths(self.cluster_ca, self.cluster_cert, self.cluster_key)
        paths = given or admin_paths(self.data_dir)
        if paths is None:
            return run_as_operator(self.endpoint, self.key_file, work)
        return run_as_admin(self.node or local_nodes(self.data_dir), paths, work)


def replace(
    old: Annotated[str, typer.Argument(help="The node whose disk is lost, or that is to go.")],
    new: Annotated[
        str,
        typer.Argument(
            help="The node that takes its place. May be the same name, for a node that comes back"
            " with an empty directory."
        ),
    ],
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown", help="Wait for a node of another name that has not joined yet."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress until all is done.")
    ] = False,
    node: NodeOption = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    data_dir: DataDirOption = DATA_DIR_DEFAULT,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
    admin_port: AdminPortOption = ADMIN_PORT_DEFAULT,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a node take the place of another one of its AZ, as a new member; asked again, it goes on.

    Its replicas are copied while the cluster serves. Ctrl-C only stops the watching.

    Where nodes have certificates it takes an admin's, and asks the nodes; else the cluster's key
    file, and asks a router.
    """
    access = _Access(
        node=node,
        cluster_ca=cluster_ca,
        cluster_cert=cluster_cert,
        cluster_key=cluster_key,
        data_dir=data_dir,
        endpoint=endpoint,
        key_file=key_file,
    )
    started = access.run(lambda it: it.replace_node(old, new, allow_unknown=allow_unknown))
    if as_json and not wait:
        print_json({"old_id": started.old_id, "new_id": started.new_id or None, "az": started.az})
    elif not as_json:
        joined = (
            f"{new} (id {started.new_id}) has joined"
            if started.new_id
            else (f"waiting for {new} to join: start it in {started.az} with an empty directory")
        )
        print(f"node {old} (id {started.old_id}) is being replaced by {new}; {joined}", flush=True)
    if wait:
        _watch(admin or f"127.0.0.1:{admin_port}", started.old_id, as_json)


def cancel_replace(
    name: Annotated[str, typer.Argument(help="The node that was to be replaced.")],
    node: NodeOption = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    data_dir: DataDirOption = DATA_DIR_DEFAULT,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a node keep its place; refused once the one that was to take it has joined.

    It is asked for in the same way as `node replace`.
    """
    access = _Access(
        node=node,
        cluster_ca=cluster_ca,
        cluster_cert=cluster_cert,
        cluster_key=cluster_key,
        data_dir=data_dir,
        endpoint=endpoint,
        key_file=key_file,
    )
    done = access.run(lambda it: it.cancel_replacement(name))
    if as_json:
        print_json({"old_id": done.old_id, "replacement": done.replacement})
    else:
        print(f"node {name} (id {done.old_id}) keeps its place: {done.replacement} is not awaited")


def remove(
    name: Annotated[str, typer.Argument(help="A node that holds no replica.")],
    node: NodeOption = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    data_dir: DataDirOption = DATA_DIR_DEFAULT,
    endpoint: EndpointOption = None,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a node that holds nothing out of the cluster, for good; if it runs, it ends.

    It is asked for in the same way as `node replace`, which is for nodes that hold something.
    """
    access = _Access(
        node=node,
        cluster_ca=cluster_ca,
        cluster_cert=cluster_cert,
        cluster_key=cluster_key,
        data_dir=data_dir,
        endpoint=endpoint,
        key_file=key_file,
    )
    node_id = access.run(lambda it: it.remove_node(name))
    if as_json:
        print_json({"id": node_id})
    else:
        print(f"node {name} (id {node_id}) is removed; its directory may be deleted")


def _watch(admin: str, old_id: int, as_json: bool) -> None:
    """Print what changes until the old node is gone, or keeps its place after all."""
    last = ""
    while True:
        document = fetch_status(admin)
        if all(node["id"] != old_id for node in document["nodes"]):
            break
        found = [each for each in document["replacements"] if each["old"]["id"] == old_id]
        if last and not found:
            fail(f"node id {old_id} is not being replaced any more: somebody has cancelled it")
        for replacement in found:
            last = _print_changed(replacement, last, as_json)
        time.sleep(POLL_SECONDS)
    if as_json:
        print_json({"done": True, "old_id": old_id})
    else:
        print(f"done: node id {old_id} is gone; its directory may be deleted")


def _print_changed(replacement: dict[str, Any], last: str, as_json: bool) -> str:
    text = json.dumps(replacement) if as_json else replacement_text(replacement)
    if text != last:
        print(text, flush=True)
    return text
