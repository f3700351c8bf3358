"""Every interleaving of small groups, for as many states as there is time; and that it finds bugs.

`python -m tests.raft.exploration` goes on where this stops.
"""

from collections.abc import Callable

import pytest

from raft import leadership
from raft.configuration import ConfigurationChange
from raft.core import APPEND_REPLY, RaftCore
from raft.log import RaftLog
from raft.read_index import ReadQueue
from raft.state import NO_ACK
from raft.types import HardState, Message, Ready
from tests.raft.exploration import STARTS, Explorer, deposed, elected, group

Plant = Callable[[pytest.MonkeyPatch], None]

STATES = 4000


@pytest.mark.parametrize("start", STARTS)
def test_nothing_breaks_in_any_interleaving(start: str) -> None:
    """Election safety, log matching, leader completeness, state machine safety, linear reads."""
    found = STARTS[start]().explore(states_max=STATES)

    assert found.states > 100
    assert found.depth > 4


def _elect_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RaftLog, "is_covered_by", lambda log, index, term: True)


def _acknowledge_from_memory(patch: pytest.MonkeyPatch) -> None:
    def take(core: RaftCore, ready: Ready, *, persist: bool) -> None:
        if core.ack_index != NO_ACK:
            reply = Message(APPEND_REPLY, core.node_id, core._ack_to, core.term, core.ack_index)
            ready.send_now.append(reply)
            core.ack_index = NO_ACK

    patch.setattr(RaftCore, "_take_acknowledgement", take)


def _commit_without_a_quorum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leadership, "majority_value", max)


def _count_one_half_of_a_joint_configuration(patch: pytest.MonkeyPatch) -> None:
    changed = leadership.Leadership.configuration_changed

    def configuration_changed(leader: leadership.Leadership) -> None:
        changed(leader)
        leader._voters_outgoing = []

    patch.setattr(leadership.Leadership, "configuration_changed", configuration_changed)


def _serve_reads_unproved(patch: pytest.MonkeyPatch) -> None:
    confirm = ReadQueue.confirm
    patch.setattr(ReadQueue, "confirm", lambda queue, sequence: confirm(queue, 1 << 60))


def _forget_the_vote(patch: pytest.MonkeyPatch) -> None:
    become = RaftCore.__init__

    def forget(core: RaftCore, *arguments: object, hard_state: HardState, **named: object) -> None:
        voteless = HardState(hard_state.term, 0, hard_state.commit)
        become(core, *arguments, hard_state=voteless, **named)  # type: ignore[arg-type]

    patch.setattr(RaftCore, "__init__", forget)


PLANTS: dict[str, tuple[Plant, Callable[[], Explorer], str]] = {
    "anybody is elected": (
        _elect_anybody,
        lambda: elected(group(propose=1, campaign=2), apart_from=3),
        "lacks what is committed",
    ),
    "memory is acknowledged": (
        _acknowledge_from_memory,
        lambda: elected(group(propose=1, campaign=1)),
        "on the disks of",
    ),
    "no quorum is needed": (
        _commit_without_a_quorum,
        lambda: elected(group(propose=1)),
        "on the disks of",
    ),
    "half of a joint configuration is enough": (
        _count_one_half_of_a_joint_configuration,
        lambda: elected(group((1, 2), learners=(3,), change=ConfigurationChange((1, 3)))),
        "on the disks of",
    ),
    "reads are not proved": (
        _serve_reads_unproved,
        lambda: deposed(group(read=1)),
        "a stale read",
    ),
    "votes are forgotten": (
        _forget_the_vote,
        lambda: group((1, 2), campaign=3, crash=1),
        "two votes in one term",
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    """An explorer that finds nothing must have looked."""
    bug, start, sentence = PLANTS[plant]
    bug(monkeypatch)

    with pytest.raises(AssertionError, match=sentence):
        start().explore(states_max=60_000)
