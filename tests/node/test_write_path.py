"""The write path: what must be durable where before a write is answered."""

from __future__ import annotations

from node.codec import Outcome
from tests.node.builders import (
    add,
    attributes,
    delete,
    delete_returning_old,
    image,
    key,
    number,
    put,
    put_returning_old,
)
from tests.node.harness import PARTITION, Cluster, outcomes


def last_index(cluster: Cluster) -> int:
    return cluster.leader().replica().core.last_index


def test_put_is_answered_after_own_log_write_and_one_followers(cluster: Cluster) -> None:
    """Section 5, rule 1: an ack counts a replica only after its own log commit returned."""
    for node in cluster.nodes.values():
        node.log_held = True

    (request,) = cluster.do(put("a"))
    assert request.outcome is None
    cluster.nodes[1].finish_log_write()
    cluster.run()
    assert request.outcome is None
    cluster.nodes[2].finish_log_write()
    cluster.run()

    assert request.outcome is Outcome.OK
    assert cluster.nodes[3].log_write is not None
