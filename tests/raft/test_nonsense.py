"""The network cannot make a core raise: messages without rhyme or reason, in every state."""

from random import Random

import pytest

from raft.check import check_core
from raft.configuration import ConfigurationChange
from raft.types import (
    Configuration,
    Entry,
    Message,
    MessageType,
    NotLeader,
    ProposalRefused,
    Role,
    SnapshotMeta,
)
from tests.raft.stories import lone_node


def nonsense(rng: Random, term: int, last_index: int) -> Message:
    """Make up a message whose parts are all near what could be true."""

    def near(value: int) -> int:
        return max(0, value + rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2, 9)))

    index = near(last_index)
    entries = [
        Entry(near(index + place), near(term), rng.choice((0, 0, 1, 2)), b"")
        if rng.random() < 0.2
        else Entry(index + place, term, rng.choice((0, 0, 1)), b"x")
        for place in range(1, rng.choice((1, 1, 2, 4)))
    ]
    if entries and rng.random() < 0.2:
        voters = tuple(sorted(rng.sample(range(1, 6), rng.randrange(1, 4))))
        entries[-1].kind, entries[-1].payload = 2, Configuration(voters).encode()
    meta = SnapshotMeta(near(last_index), near(term), Configuration(rng.choice(((), (1, 2, 3)))))
    return Message(
        rng.choice(list(MessageType)),
        rng.choice((0, 1, 2, 2, 2, 3, 3, 3, 4, 9)),
        rng.choice((1, 1, 1, 1, 2)),
        near(term) if rng.random() < 0.3 else term,
        index=index,
        log_term=near(term),
        commit=near(last_index),
        entries=entries,
        reject=rng.random() < 0.3,
        hint=near(last_index),
        hint_term=near(term),
        sequence=near(3),
        snapshot=meta if rng.random() < 0.9 else None,
    )


@pytest.mark.parametrize("seed", range(40))
def test_core_survives_any_message(seed: int) -> None:
    """It may believe a lie, but it stays in one piece and only local calls raise."""
    rng = Random(seed)
    node = lone_node(1, voters=rng.choice(((1, 2, 3), (1,), (2, 3))), rng=rng)
    roles: dict[Role, int] = {}
    for _ in range(600):
        core = node.core
        roles[core.role] = roles.get(core.role, 0) + 1
        what = rng.random()
        if what < 0.7:
            core.step(nonsense(rng, core.term, core.last_index))
        elif what < 0.8:
            core.tick(rng.choice((1, 5, 20)))
        elif what < 0.85:
            try:
                core.propose([b"x"])
                core.read_index()
                core.propose_configuration(ConfigurationChange((1, 2, 4)))
            except (NotLeader, ProposalRefused):
                pass
        else:
            node.take()
            if node.writing is not None and rng.random() < 0.8:
                node.sync()
            if node.installing is not None and node.writing is None:
                node.install(())
        check_core(core)
        assert not (core.role is Role.LEADER and core.installing is not None)
    assert roles
