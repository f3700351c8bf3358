"""What is read from the state when somebody asks, and costs nothing before.

On the loop only the numbers are picked up, some 10 us a group; another thread makes text of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from node.metrics.observed import PREFIX
from node.replica import PartitionReplica, Replica
from raft.types import Role

if TYPE_CHECKING:
    from node.shell import ProcessShell

Read = Callable[["ProcessShell"], float]

GAUGES: Final[tuple[tuple[str, str, Read], ...]] = (
    (
        "catalog_epoch",
        "Epoch of the newest catalog known here.",
        lambda shell: shell.host.catalog.epoch,
    ),
    (
        "replacements",
        "Nodes that are being replaced, in the whole cluster.",
        lambda shell: len(shell.host.catalog.replacements),
    ),
    ("groups", "Replicas on this node.", lambda shell: len(shell.host.replicas)),
    (
        "storage_full",
        "1 while the disk has no room for the log: writes are refused.",
        lambda shell: shell.host.storage_full,
    ),
    (
        "disk_stalled",
        "1 while a log commit has been under way for longer than a disk may take.",
        lambda shell: shell.host.disk_stalled,
    ),
    (
        "memtable_bytes",
        "Bytes of images that are in the log and not yet in the tree.",
        lambda shell: sum(replica.machine.memtable_bytes for replica in _partitions(shell)),
    ),
    (
        "dedupe_window_requests",
        "Request ids remembered.",
        lambda shell: sum(replica.machine.window_count for replica in _partitions(shell)),
    ),
    (
        "checkpoint_age_seconds",
        "For how long what was applied may have been in memory and in the log only.",
        lambda shell: shell.monotonic() - shell.host.checkpointer.stored_at,
    ),
    (
        "log_size_bytes",
        "Bytes of the log's records, dead ones included.",
        lambda shell: shell.log_store.size_bytes(),
    ),
    (
        "log_map_bytes",
        "Size up to which the log's file may grow.",
        lambda shell: shell.log_store.map_size_bytes(),
    ),
    (
        "items_size_bytes",
        "Size of the items' file; it never shrinks.",
        lambda shell: shell.items.size_bytes(),
    ),
    (
        "items_map_bytes",
        "Size up to which the items' file may grow.",
        lambda shell: shell.items.map_size_bytes(),
    ),
    ("snapshots_sending", "Snapshots being sent.", lambda shell: shell.sender.sending),
    ("snapshots_receiving", "Snapshots being received.", lambda shell: shell.receiver.receiving),
    ("router_streams", "Streams of routers.", lambda shell: shell.router_count),
)
"""(name, help, how to read it)."""

COUNTERS: Final[tuple[tuple[str, str, Read], ...]] = (
    (
        "elections_won",
        "Elections that this node's replicas have won.",
        lambda shell: shell.host.elections_won,
    ),
    (
        "membership_changes",
        "Configurations of groups that this node has proposed.",
        lambda shell: shell.host.memberships.proposed,
    ),
    (
        "snapshot_sent_bytes",
        "Bytes of snapshots sent.",
        lambda shell: shell.sender.sent_bytes,
    ),
    (
        "snapshot_received_bytes",
        "Bytes of snapshots received.",
        lambda shell: shell.receiver.received_bytes,
    ),
)
"""As GAUGES, without the `_total` that the text has."""

GROUP_GAUGES: Final = (
    ("is_leader", "1 if this node leads the group."),
    ("has_leader", "1 if this node knows who leads the group."),
    ("term", "Raft term."),
    ("commit_index", "Highest index known to be committed."),
    ("applied_index", "Highest index applied."),
    ("last_index", "Highest index in the log."),
    ("durable_applied_index", "Highest index whose effect is in the tree."),
    ("log_first_index", "Lowest index in the log: a follower below it needs a snapshot."),
)
"""(name, help) of what each replica tells; `_read_group` has the values, in this order."""

LEADER_GAUGES: Final = (
    ("voters", "Voters of the group; only from its leader."),
    ("active_voters", "Voters heard of within an election timeout; only from the leader."),
)
"""(name, help) of what a leader tells besides."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """One replica's numbers, beside GROUP_GAUGES and LEADER_GAUGES; `lags` are by peer's name."""

    group: str
    values: tuple[float, ...]
    leader_values: tuple[float, ...]
    lags: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A node's numbers at one moment, beside GAUGES and COUNTERS."""

    gauges: tuple[float, ...]
    counters: tuple[float, ...]
    checkpoint_count: int
    checkpoint_seconds: float
    groups: tuple[GroupReading, ...]
    streams: tuple[tuple[str, bool], ...]


def read(shell: ProcessShell) -> Reading:
    """Pick up all numbers. On the loop."""
    nodes = shell.host.catalog.node_by_id
    names = {node_id: node.name for node_id, node in nodes.items()}
    checkpointer = shell.host.checkpointer
    return Reading(
        gauges=tuple(value(shell) for _, _, value in GAUGES),
        counters=tuple(value(shell) for _, _, value in COUNTERS),
        checkpoint_count=checkpointer.count,
        checkpoint_seconds=checkpointer.seconds,
        groups=tuple(_read_group(replica, names) for replica in shell.host.replicas.values()),
        streams=tuple(
            (names.get(node_id, str(node_id)), is_open)
            for node_id, is_open in shell.open_streams().items()
        ),
    )


def _read_group(replica: Replica, names: dict[int, str]) -> GroupReading:
    status = replica.core.status()
    leads = status.role is Role.LEADER
    own = status.configuration.is_voter(status.node_id)  # a leader may be on its way out
    others = [progress for progress in status.progress if not progress.learner]
    return GroupReading(
        group=str(replica.group),
        values=(
            leads,
            status.leader != 0,
            status.term,
            status.commit,
            status.applied,
            status.last_index,
            replica.durable_applied,
            status.first_index,
        ),
        leader_values=(own + len(others), own + sum(progress.active for progress in others))
        if leads
        else (),
        lags=tuple(
            (
                names.get(progress.node_id, str(progress.node_id)),
                max(0, status.last_index - progress.match),
            )
            for progress in status.progress
        ),
    )


def families(reading: Reading) -> Iterator[Metric]:
    """Make metrics of the numbers. On any thread."""
    for (name, text, _), value in zip(GAUGES, reading.gauges, strict=True):
        yield GaugeMetricFamily(PREFIX + name, text, value=value)
    for (name, text, _), value in zip(COUNTERS, reading.counters, strict=True):
        yield CounterMetricFamily(PREFIX + name, text, value=value)
    yield SummaryMetricFamily(
        PREFIX + "checkpoint_duration_seconds",
        "Time that checkpoints took.",
        count_value=reading.checkpoint_count,
        sum_value=reading.checkpoint_seconds,
    )
    yield from _group_families(reading.groups)
    lag = GaugeMetricFamily(
        PREFIX + "replication_lag_entries",
        "Entries that a peer has not acknowledged; only from the group's leader.",
        labels=("group", "peer"),
    )
    for row in reading.groups:
        for peer, entries in row.lags:
            lag.add_metric((row.group, peer), entries)
    yield lag
    streams = GaugeMetricFamily(
        PREFIX + "peer_stream_up", "1 if the stream to a peer is open.", labels=("peer",)
    )
    for peer, is_open in reading.streams:
        streams.add_metric((peer,), is_open)
    yield streams


def _group_families(groups: tuple[GroupReading, ...]) -> Iterator[Metric]:
    for place, (name, text) in enumerate(GROUP_GAUGES):
        family = GaugeMetricFamily(f"{PREFIX}group_{name}", text, labels=("group",))
        for row in groups:
            family.add_metric((row.group,), row.values[place])
        yield family
    for place, (name, text) in enumerate(LEADER_GAUGES):
        family = GaugeMetricFamily(f"{PREFIX}group_{name}", text, labels=("group",))
        for row in groups:
            if row.leader_values:
                family.add_metric((row.group,), row.leader_values[place])
        yield family


def _partitions(shell: ProcessShell) -> Iterator[PartitionReplica]:
    for replica in shell.host.replicas.values():
        if isinstance(replica, PartitionReplica):
            yield replica
