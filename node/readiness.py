"""Whether this node may serve: what /ready says, and what a rolling restart waits for."""

from __future__ import annotations

from typing import Final

from node.host import Host
from node.replica import Replica
from raft.types import Role

SETTLE_SECONDS: Final = 2.0
"""From the start of its part in the cluster until a node may call itself ready. Ours: a leader's
heartbeats may be heard before its first entries, which tell how far the group is."""

LAG_ENTRIES_MAX: Final = 64
"""How far behind its group a replica may be that counts as caught up. Ours: under load it is never
quite level; the same as for a learner that becomes a voter."""

GROUPS_NAMED_MAX: Final = 8
"""Most groups that one sentence names. Ours."""


def unready_reason(host: Host, *, running_seconds: float) -> str:
    """Return why this node should not be counted on yet, "" if it is ready.

    Ready means: it has taken part for `SETTLE_SECONDS`, it has a catalog and a replica of every
    group that this gives to it, each of these knows its group's leader, or leads and may
    evaluate, and each has applied what its group has committed, but for `LAG_ENTRIES_MAX`.
    """
    if running_seconds < SETTLE_SECONDS:
        return "it has only just begun to take part"
    if not host.catalog.epoch:
        return "it has no catalog yet"
    if host.storage_full:
        return "its disk is full"
    if host.disk_stalled:
        return "its disk does not answer"
    lagging = []
    for group in sorted(host.catalog.groups_of(host.node_id)):
        replica = host.replicas.get(group)
        problem = "no replica yet" if replica is None else _problem(replica)
        if problem:
            lagging.append(f"group {group}: {problem}")
    more = len(lagging) - GROUPS_NAMED_MAX
    named = "; ".join(lagging[:GROUPS_NAMED_MAX])
    return f"{named}; and {more} more groups" if more > 0 else named


def _problem(replica: Replica) -> str:
    core = replica.core
    if replica.installing:
        return "a snapshot is being installed"
    if core.role is Role.LEADER:
        return "" if core.may_evaluate else "it leads, but has not committed anything yet"
    if not core.leader:
        return "no leader is known"
    lag = core.commit_heard - core.applied
    return f"{lag} entries behind" if lag > LAG_ENTRIES_MAX else ""
