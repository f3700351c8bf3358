"""`quorate status`: the cluster as a router sees it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.settings import ADMIN_PORT_DEFAULT, AdminOption, AdminPortOption, JsonOption

if TYPE_CHECKING:
    from rich.table import Table


POLL_SECONDS: Final = 1.0
"""Pause between two looks of --watch and --exit-when-healthy. Ours."""


def status(
    admin_port: AdminPortOption = ADMIN_PORT_DEFAULT,
    admin: AdminOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")
    ] = False,
    exit_when_healthy: Annotated[
        bool,
        typer.Option("--exit-when-healthy", "-e", help="Show it once all is well; see --timeout."),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=0, help="Seconds that --exit-when-healthy waits before it gives up."),
    ] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Show nodes, partitions and tables; exit 0 if all are well, 1 if not.

    Well means: every node answers, and every partition has a leader.
    """
    address = admin or f"127.0.0.1:{admin_port}"
    give_up_at = time.monotonic() + timeout
    while True:
        seen = _ask(address)
        healthy = isinstance(seen, dict) and not troubles(seen)
        late = not exit_when_healthy or time.monotonic() + POLL_SECONDS > give_up_at
        done = healthy or late
        if watch or done:
            _show(seen, as_json=as_json, is_last=done and not watch)
        if done and (exit_when_healthy or not watch):
            raise typer.Exit(Exit.OK if healthy else Exit.FAILED)
        time.sleep(POLL_SECONDS)


def _show(seen: dict[str, Any] | tuple[str, Exit], *, as_json: bool, is_last: bool) -> None:
    """Show what was seen; the command ends if that is nothing, and the last."""
    if not isinstance(seen, dict):
        sentence, code = seen
        if is_last:
            fail(sentence, code)
        print(sentence)
    elif as_json:
        print_json(seen)
    else:
        _print_status(seen)


def fetch_status(admin: str) -> dict[str, Any]:
    """Return what a router says at host:port; if none answers, the command ends."""
    seen = _ask(admin)
    if not isinstance(seen, dict):
        fail(*seen)
    return seen


def _ask(admin: str) -> dict[str, Any] | tuple[str, Exit]:
    """Return what a router says, or a sentence on why there is nothing, with its exit code."""
    from quorate.local.admin_http import AdminUnreachable, get

    try:
        code, body = get(admin, "/status")
    except AdminUnreachable as error:
        return str(error), Exit.UNREACHABLE
    if code != 200:
        said = body.decode(errors="replace").strip()
        return f"the router answered {code}: {said}", Exit.FAILED
    document: dict[str, Any] = json.loads(body)
    return document


def troubles(document: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that is not as it should be."""
    found = [
        f"node {node['name']} in {node['az']} does not answer"
        for node in document["nodes"]
        if not node["healthy"]
    ]
    leaderless = [str(part["id"]) for part in document["partitions"] if not part["leader"]]
    if leaderless:
        found.append(f"no leader: partition {', '.join(leaderless)}")
    if not document["partitions"]:
        found.append("the cluster has no partitions yet")
    return found


def _print_status(document: dict[str, Any]) -> None:
    from quorate.cli.console import wide_console

    console = wide_console()
    router = document["router"]
    console.print(
        f"cluster {document['cluster_id']}  epoch {document['epoch']}  (router {router['name']},"
        f" pid {router['pid']}, version {router['version']})\n"
    )
    for table in (_nodes(document), _partitions(document), _tables(document)):
        console.print(table)
        console.print()
    mixed = versions_text(document)
    if mixed:
        console.print(mixed)
    for replacement in document["replacements"]:
        console.print(replacement_text(replacement))
    found = troubles(document)
    console.print("\n".join(found) if found else "healthy")


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    return table


def _nodes(document: dict[str, Any]) -> Table:
    leads = [part["leader"] for part in document["partitions"]]
    table = _table(
        "node", "AZ", "health", "pid", "address", "leads", "up", "memtable", "log", "items"
    )
    for node in document["nodes"]:
        name = node["name"]
        health = "[green]healthy[/]" if node["healthy"] else "[red]down[/]"
        row = [name, node["az"], health, _text(node.get("pid")), node["address"]]
        row += [str(leads.count(name)), duration_text(node.get("uptime_seconds"))]
        row += [size_text(node.get(f"{kind}_bytes")) for kind in ("memtable", "log", "items")]
        table.add_row(*row)
    return table


def _partitions(document: dict[str, Any]) -> Table:
    azs = sorted({node["az"] for node in document["nodes"]})
    table = _table("partition", "leader", "term", "commit", "applied", *azs)
    for part in document["partitions"]:
        replicas = part["replicas"]
        leader = part["leader"] or "[red]none[/]"
        row = [str(part["id"]), leader, *(_text(part[name]) for name in ("term", "commit"))]
        row.append(_text(part["applied"]))
        row += [
            "; ".join(_replica(replica) for replica in replicas if replica["az"] == az)
            for az in azs
        ]
        table.add_row(*row)
    return table


def _replica(replica: dict[str, Any]) -> str:
    lag = replica.get("lag_entries")
    text = f"{replica['node']} {replica.get('role') or ''}".rstrip()
    if not replica.get("healthy", True):
        return f"[red]{text} (down)[/]"
    return f"{text}, {lag} behind" if lag else text


def versions_text(document: dict[str, Any]) -> str:
    """Return which process has which release, "" if all of those that answer have the same."""
    found: dict[str, list[str]] = {}
    for process in (*document["nodes"], document["router"]):
        if process.get("version"):
            found.setdefault(process["version"], []).append(process["name"])
    if len(found) < 2:
        return ""
    parts = [f"{version} ({', '.join(names)})" for version, names in sorted(found.items())]
    return f"an upgrade is under way: {'; '.join(parts)}"


def replacement_text(replacement: dict[str, Any]) -> str:
    """Return a sentence on a replacement under way."""
    old, new = replacement["old"], replacement["new"]
    pair = f"node {old['name']} (id {old['id']}) is being replaced by {new['name']}"
    if not new["joined"]:
        return f"{pair}: waiting for {new['name']} to join"
    moved, left = replacement["groups_moved"], replacement["groups_left"]
    text = f"{pair} (id {new['id']}): {moved} of {moved + left} groups moved"
    lags = [
        f"{each['group']} ({'snapshot' if each['flow'] == 'snapshot' else each['lag_entries']})"
        for each in replacement["catching_up"]
    ]
    return f"{text}; group (entries behind): {', '.join(lags)}" if lags else text


def _tables(document: dict[str, Any]) -> Table:
    table = _table("table", "items", "size")
    for row in document["tables"]:
        table.add_row(row["name"], _text(row["item_count"]), size_text(row["size_bytes"]))
    return table


def _text(value: object) -> str:
    return "" if value is None else str(value)


def size_text(size_bytes: float | None) -> str:
    """Return a size for people: 1536 is "1.5 KiB"."""
    if size_bytes is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def duration_text(seconds: float | None) -> str:
    """Return a duration for people: 3700 is "1h 1m"."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
