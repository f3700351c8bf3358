"""`quorate node replace`: another node takes the place of one, and how far that is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quorate.cli.administration import admin_paths, local_nodes, run_as_admin
from quorate.cli.exits import print_json
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

POLL_SECONDS: Final = 0.5
"""Between two looks at the progress. Ours."""


def replace(
    old: Annotated[str, typer.Argument(help="The node whose disk is lost, or that is to go.")],
    new: Annotated[
        str,
        typer.Argument(
            help="The node that takes its place, joined already or not yet. May be the same name,"
            " for a node that comes back with an empty directory."
        ),
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress until all is done.")
    ] = False,
    node: Annotated[
        list[str] | None,
        typer.Option(
            envvar="QUORATE_NODES",
            help="host:port of a node: where the cluster has certificates. [default: the local"
            " cluster's]",
            show_default=False,
        ),
    ] = None,
    cluster_ca: ClusterCaOption = None,
    cluster_cert: ClusterCertOption = None,
    cluster_key: ClusterKeyOption = None,
    data_dir: DataDirOption = Path("data"),
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
    paths = cluster_paths(cluster_ca, cluster_cert, cluster_key) or admin_paths(data_dir)
    if paths is None:
        started = run_as_operator(endpoint, key_file, lambda it: it.replace_node(old, new))
    else:
        addresses = node or local_nodes(data_dir)
        started = run_as_admin(addresses, paths, lambda it: it.replace_node(old, new))
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


def _watch(admin: str, old_id: int, as_json: bool) -> None:
    """Print what changes until the old node is gone."""
    last = ""
    while True:
        document = fetch_status(admin)
        if all(node["id"] != old_id for node in document["nodes"]):
            break
        for replacement in document["replacements"]:
            if replacement["old"]["id"] == old_id:
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
