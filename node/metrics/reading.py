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
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from node.metrics.observed import PREFIX
from node.replica import PartitionReplica, Replica
from quorate.buckets import Buckets
from raft.status import ProgressStatus, Status
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
        "members",
        "Nodes that the cluster has, in the catalog known here.",
        lambda shell: len(shell.host.catalog.nodes),
    ),
    (
        "replacements",
        "Nodes being replaced in the whole cluster, also those whose new node has not joined.",
        lambda shell: sum(bool(node.replacement) for node in shell.host.catalog.nodes),
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
        "refused_calls",
        "Calls refused: by role, by name, or for what they sent.",
        lambda shell: shell.refused_calls,
    ),
    (
        "elections_won",
        "Elections that this node's replicas have won.",
        lambda shell: shell.host.elections_won,
    ),
    (
        "second_leaders_refused",
        "Messages of a second leader of a term: a member lies (docs/SECURITY.md).",
        lambda shell: shell.host.leaderships.second_leaders_refused,
    ),
    (
        "requests_refused",
        "Requests refused at the door: the loop was late, or too many bytes waited.",
        lambda shell: shell.host.door.refused,
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

GROUP_COUNTERS: Final = (
    ("writes", "Writes that leaders here have put into the log, refused ones included."),
    ("reads", "Gets and pages of Query and Scan that replicas here have served."),
    ("proposed_bytes", "Bytes of the entries of these writes."),
)
"""(name, help) of what each partition's replica has counted in this process's life."""

LAGS: Final = (
    ("entries", "Entries that a peer has not acknowledged; only from the group's leader."),
    ("bytes", "Bytes of writes that a peer has not acknowledged, of those of this leadership."),
    ("seconds", "How long ago the oldest write that a peer has not acknowledged was proposed."),
)
"""(unit, help) of how far a peer is behind, in the order of GroupReading.lags."""

STAGES: Final = ("queue", "quorum", "log_commit", "apply")
"""Histograms of WriteWatch."""

LEADER_GAUGES: Final = (
    ("voters", "Voters of the group; only from its leader."),
    ("active_voters", "Voters heard of within an election timeout; only from the leader."),
)
"""(name, help) of what a leader tells besides."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """One replica's numbers, beside the tables of their names.

    `counts` are empty for the catalog; `lags` are (peer, entries, bytes, seconds).
    """

    group: str
    values: tuple[float, ...]
    counts: tuple[int, ...]
    leader_values: tuple[float, ...]
    lags: tuple[tuple[str, int, int, float], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A node's numbers at one moment, beside GAUGES and COUNTERS."""

    gauges: tuple[float, ...]
    counters: tuple[float, ...]
    checkpoint_count: int
    checkpoint_seconds: float
    groups: tuple[GroupReading, ...]
    streams: tuple[tuple[str, bool, float | None], ...]  # (peer, is open, round trip in seconds)
    sending: tuple[tuple[str, str, float], ...]  # (group, peer, ratio)
    receiving: tuple[tuple[str, float], ...]  # (group, ratio)
    stages: tuple[tuple[str, Buckets], ...]
    batch: Buckets


def read(shell: ProcessShell) -> Reading:
    """Pick up all numbers. On the loop."""
    nodes = shell.host.catalog.node_by_id
    names = {node_id: node.name for node_id, node in nodes.items()}
    checkpointer = shell.host.checkpointer
    now, watch = shell.monotonic(), shell.host.watch
    return Reading(
        gauges=tuple(value(shell) for _, _, value in GAUGES),
        counters=tuple(value(shell) for _, _, value in COUNTERS),
        checkpoint_count=checkpointer.count,
        checkpoint_seconds=checkpointer.seconds,
        groups=tuple(_read_group(replica, names, now) for replica in shell.host.replicas.values()),
        streams=tuple(
            (names.get(node_id, str(node_id)), *stream)
            for node_id, stream in shell.peer_streams().items()
        ),
        sending=tuple(
            (str(group), names.get(to, str(to)), ratio)
            for group, to, ratio in shell.sender.progress()
        ),
        receiving=tuple((str(group), ratio) for group, ratio in shell.receiver.progress()),
        stages=tuple((name, getattr(watch, name)) for name in STAGES),
        batch=watch.batch,
    )


def _read_group(replica: Replica, names: dict[int, str], now: float) -> GroupReading:
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
        counts=(replica.write_count, replica.read_count, replica.proposed_bytes)
        if isinstance(replica, PartitionReplica)
        else (),
        leader_values=(own + len(others), own + sum(progress.active for progress in others))
        if leads
        else (),
        lags=tuple(_lag(replica, status, progress, names, now) for progress in status.progress),
    )


def _lag(
    replica: Replica, status: Status, progress: ProgressStatus, names: dict[int, str], now: float
) -> tuple[str, int, int, float]:
    seconds, size_bytes = replica.milestones.behind(progress.match, now)
    name = names.get(progress.node_id, str(progress.node_id))
    return name, max(0, status.last_index - progress.match), size_bytes, seconds


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
    yield from _lag_families(reading.groups)
    yield from _peer_families(reading)
    yield from _snapshot_families(reading)
    yield from _write_families(reading)


def _group_families(groups: tuple[GroupReading, ...]) -> Iterator[Metric]:
    for place, (name, text) in enumerate(GROUP_GAUGES):
        family = GaugeMetricFamily(f"{PREFIX}group_{name}", text, labels=("group",))
        for row in groups:
            family.add_metric((row.group,), row.values[place])
        yield family
    for place, (name, text) in enumerate(GROUP_COUNTERS):
        counter = CounterMetricFamily(f"{PREFIX}group_{name}", text, labels=("group",))
        for row in groups:
            if row.counts:
                counter.add_metric((row.group,), row.counts[place])
        yield counter
    for place, (name, text) in enumerate(LEADER_GAUGES):
        family = GaugeMetricFamily(f"{PREFIX}group_{name}", text, labels=("group",))
        for row in groups:
            if row.leader_values:
                family.add_metric((row.group,), row.leader_values[place])
        yield family


def _lag_families(groups: tuple[GroupReading, ...]) -> Iterator[Metric]:
    for place, (unit, text) in enumerate(LAGS, start=1):
        family = GaugeMetricFamily(
            f"{PREFIX}replication_lag_{unit}", text, labels=("group", "peer")
        )
        for row in groups:
            for lag in row.lags:
                family.add_metric((row.group, lag[0]), float(lag[place]))
        yield family


def _peer_families(reading: Reading) -> Iterator[Metric]:
    streams = GaugeMetricFamily(
        PREFIX + "peer_stream_up", "1 if the stream to a peer is open.", labels=("peer",)
    )
    round_trips = GaugeMetricFamily(
        PREFIX + "peer_round_trip_seconds",
        "Time that the newest small call to a peer took, what it waits for at both loops included.",
        labels=("peer",),
    )
    for peer, is_open, round_trip in reading.streams:
        streams.add_metric((peer,), is_open)
        if round_trip is not None:
            round_trips.add_metric((peer,), round_trip)
    yield from (streams, round_trips)


def _snapshot_families(reading: Reading) -> Iterator[Metric]:
    sending = GaugeMetricFamily(
        PREFIX + "snapshot_send_progress_ratio",
        "How much of a snapshot that is being sent has left, of what was announced.",
        labels=("group", "peer"),
    )
    for group, peer, ratio in reading.sending:
        sending.add_metric((group, peer), ratio)
    yield sending
    receiving = GaugeMetricFamily(
        PREFIX + "snapshot_receive_progress_ratio",
        "How much of a snapshot that is being received is here, of what was announced.",
        labels=("group",),
    )
    for group, ratio in reading.receiving:
        receiving.add_metric((group,), ratio)
    yield receiving


def _write_families(reading: Reading) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        PREFIX + "write_stage_duration_seconds",
        "What writes wait for at their leader: queue, quorum (log_commit is a part of it), apply.",
        labels=("stage",),
    )
    for name, buckets in reading.stages:
        buckets.add_to(stages, (name,))
    yield stages
    batch = HistogramMetricFamily(PREFIX + "entry_writes", "Writes in one entry of a leader here.")
    reading.batch.add_to(batch)
    yield batch


def _partitions(shell: ProcessShell) -> Iterator[PartitionReplica]:
    for replica in shell.host.replicas.values():
        if isinstance(replica, PartitionReplica):
            yield replica
