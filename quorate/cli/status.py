"""`quorate status`: the cluster as a router sees it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quorate.cli.exits import Exit, fail, print_json
from quorate.cli.settings import ADMIN_PORT_DEFAULT, AdminOption, AdminPortOption, JsonOption

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Seen = dict[str, Any] | tuple[str, Exit]
"""What a router said, or the sentence on why there is nothing, with its exit code."""

ROWS_MAX: Final = 16
"""Partitions, and tables, that are shown unless all are asked for. Ours: they fit a screen."""

UNKNOWN: Final = "\N{EN DASH}"
"""What stands for what nobody told."""

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
    show_all: Annotated[
        bool,
        typer.Option("--all", "-a", help="Show every partition and table, however many."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether all is well, then show nodes, partitions and tables; exit 0 if it is, 1 if not.

    Well means: every node answers, every partition has a leader, and no replacement waits for a
    node that has not joined.
    """
    from rich.text import Text

    address = admin or f"127.0.0.1:{admin_port}"
    give_up_at = time.monotonic() + timeout
    rows_max = sys.maxsize if show_all else ROWS_MAX
    with _screen(redraws=watch and not as_json) as show:
        while True:
            seen = _ask(address)
            healthy = isinstance(seen, dict) and not troubles(seen)
            late = not exit_when_healthy or time.monotonic() + POLL_SECONDS > give_up_at
            is_last = (healthy or late) and (exit_when_healthy or not watch)
            if not isinstance(seen, dict):
                if is_last:
                    fail(*seen)
                if watch:
                    show(Text(seen[0]))
            elif as_json and (watch or is_last):
                print_json(seen)
            elif watch or is_last:
                show(_view(seen, rows_max))
            if is_last:
                raise typer.Exit(Exit.OK if healthy else Exit.FAILED)
            time.sleep(POLL_SECONDS)


@contextmanager
def _screen(*, redraws: bool) -> Iterator[Callable[[RenderableType], None]]:
    """Yield what shows a view: on a terminal in the place of the one before, else below it."""
    from rich.live import Live

    from quorate.cli.console import wide_console

    console = wide_console()
    if not redraws or not console.is_terminal:
        yield console.print
        return
    # What does not fit is cut at the bottom: the verdict is at the top.
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda view: live.update(view, refresh=True)


def fetch_status(admin: str) -> dict[str, Any]:
    """Return what a router says at host:port; if none answers, the command ends."""
    seen = _ask(admin)
    if not isinstance(seen, dict):
        fail(*seen)
    return seen


def _ask(admin: str) -> Seen:
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
    found += [_waiting_text(each) for each in document["replacements"] if not each["new"]["joined"]]
    return found


def _view(document: dict[str, Any], rows_max: int) -> RenderableType:
    from rich.console import Group

    router = document["router"]
    found = troubles(document)
    lines = [f"[bold red]{trouble}[/]" for trouble in found] or ["[bold green]healthy[/]"]
    lines += [
        replacement_text(replacement)
        for replacement in document["replacements"]
        if replacement["new"]["joined"]
    ]
    mixed = versions_text(document)
    if mixed:
        lines.append(mixed)
    lines.append(
        f"cluster {document['cluster_id']}  epoch {document['epoch']}  (router {router['name']},"
        f" pid {router['pid']}, version {router['version']})"
    )
    if router["signatures"] != "required":
        lines.append("open to everybody: no call needs a signature (quorate user create closes it)")
    partitions, tables = document["partitions"], document["tables"]
    # Those in trouble first, and the largest.
    worst = sorted(partitions, key=lambda part: (part["leader"] is not None, -_lag(part)))
    largest = sorted(tables, key=lambda table: -(table["size_bytes"] or 0))
    return Group(
        *lines,
        "",
        _nodes(document),
        "",
        _partitions(document, _first(worst, rows_max, "id")),
        *_more(len(partitions) - rows_max, "partitions"),
        "",
        _tables(_first(largest, rows_max, "name")),
        *_more(len(tables) - rows_max, "tables"),
    )


def _lag(partition: dict[str, Any]) -> int:
    return sum(replica.get("lag_entries") or 0 for replica in partition["replicas"])


def _first(rows: Sequence[dict[str, Any]], rows_max: int, name: str) -> list[dict[str, Any]]:
    """Return the first rows, in the order of their names."""
    return sorted(rows[:rows_max], key=lambda row: row[name])


def _more(count: int, what: str) -> list[str]:
    return [f"... and {count} {what} more: --all shows them"] if count > 0 else []


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


def _partitions(document: dict[str, Any], shown: Sequence[dict[str, Any]]) -> Table:
    azs = sorted({node["az"] for node in document["nodes"]})
    table = _table("partition", "leader", "term", "commit", "applied", *azs)
    for part in shown:
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


def _pair_text(replacement: dict[str, Any]) -> str:
    old, new = replacement["old"], replacement["new"]
    return f"node {old['name']} (id {old['id']}) is being replaced by {new['name']}"


def _waiting_text(replacement: dict[str, Any]) -> str:
    """Return what is to be done about a replacement whose node has not joined."""
    old = replacement["old"]
    return (
        f"{_pair_text(replacement)}, which has not joined: start it in {old['az']} with an empty"
        f" directory, or quorate node cancel-replace {old['name']}"
    )


def replacement_text(replacement: dict[str, Any]) -> str:
    """Return a sentence on a replacement under way."""
    new = replacement["new"]
    pair = _pair_text(replacement)
    if not new["joined"]:
        return f"{pair}: waiting for {new['name']} to join"
    moved, left = replacement["groups_moved"], replacement["groups_left"]
    text = f"{pair} (id {new['id']}): {moved} of {moved + left} groups moved"
    lags = [
        f"{each['group']} ({'snapshot' if each['flow'] == 'snapshot' else each['lag_entries']})"
        for each in replacement["catching_up"]
    ]
    return f"{text}; group (entries behind): {', '.join(lags)}" if lags else text


def _tables(shown: Sequence[dict[str, Any]]) -> Table:
    table = _table("table", "items", "size")
    for row in shown:
        table.add_row(row["name"], _text(row["item_count"]), size_text(row["size_bytes"]))
    return table


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def size_text(size_bytes: float | None) -> str:
    """Return a size for people: 1536 is "1.5 KiB"."""
    if size_bytes is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def duration_text(seconds: float | None) -> str:
    """Return a duration for people: 3700 is "1h 1m"."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
