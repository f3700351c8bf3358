"""The checks of one replica see each invariant that RaftState and Progress state."""

import pytest

from raft.check import check_core
from tests.raft.cluster import Cluster


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("applying", 99),
        ("applying", 0),
        ("commit", 99),
        ("leader_of_term", 3),
        ("saved_term", 2),
        ("saved_vote", 3),
        ("ack_index", 99),
        ("leadership", None),
        ("votes", {1: True}),
        ("vote", 2),
    ],
)
def test_broken_state_is_seen(attribute: str, value: object) -> None:
    """One attribute that does not fit the others is enough."""
    cluster = Cluster()
    leader = cluster.elect(1)
    check_core(leader)

    setattr(leader, attribute, value)

    with pytest.raises(AssertionError):
        check_core(leader)


@pytest.mark.parametrize("member", [1, 2])
@pytest.mark.parametrize("distance", [-1, 0, 2])
def test_progress_that_cannot_be_is_seen(member: int, distance: int) -> None:
    """`next` is above `match`, and at most one past the log's end, for the leader, too."""
    cluster = Cluster()
    leader = cluster.elect(1)
    assert leader.leadership is not None
    progress = leader.leadership.progress[member]

    progress.next = progress.match + distance

    with pytest.raises(AssertionError):
        check_core(leader)
