"""A leader's view of one member by itself."""

from raft.progress import Flow, Progress
from tests.raft.cluster import Cluster


def test_replication_begins_just_past_the_match() -> None:
    """However far ahead the probe was."""
    progress = Progress(2, next_index=10, heard=0)

    progress.acknowledged(3)
    progress.become_replicate()

    assert (progress.flow, progress.match, progress.next) == (Flow.REPLICATE, 3, 4)


def test_acknowledgement_frees_the_window_up_to_it() -> None:
    """Old news changes nothing."""
    progress = Progress(2, next_index=1, heard=0)
    progress.become_replicate()
    for last in (2, 5, 6):
        progress.sent(last, 10 * last)

    news = [progress.acknowledged(5), progress.acknowledged(2)]

    assert news == [True, False]
    assert list(progress.in_flight) == [(6, 60)]
    assert (progress.match, progress.next, progress.in_flight_bytes) == (5, 7, 60)


def test_what_was_in_flight_is_forgotten_with_the_flow() -> None:
    """It may have been lost; the next append shows."""
    progress = Progress(2, next_index=1, heard=0)
    progress.become_replicate()
    progress.sent(4, 40)

    progress.become_snapshot(3)
    in_snapshot = (progress.flow, len(progress.in_flight), progress.in_flight_bytes)
    progress.become_probe(4)

    assert in_snapshot == (Flow.SNAPSHOT, 0, 0)
    assert (progress.flow, progress.next, progress.probe_sent) == (Flow.PROBE, 4, False)


def test_leader_counts_itself_by_the_same_rule() -> None:
    """`match` is below `next` for the leader's own copy, too, however much it has on disk."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, *[b"x"] * 5)

    assert leader.leadership is not None
    own = leader.leadership.progress[1]

    assert (own.flow, own.match, own.next) == (Flow.PROBE, 6, 7)
