"""Membership: how one configuration becomes the next, and which one is in effect.

A configuration is in effect from the moment its entry is in the log, committed or not, and goes
back when that entry is truncated. Source: Raft thesis, sections 4.1 and 4.3.
"""

from dataclasses import dataclass

from raft.types import (
    NO_NODE,
    BadConfiguration,
    Configuration,
    Entry,
    EntryKind,
    ProposalRefused,
    Refusal,
)


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """The membership that is wanted in the end.

    If it differs by more than one voter it goes through a joint configuration, which the leader
    leaves by itself unless `auto_leave` is False. A new voter should be a caught-up learner first.
    """

    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()
    auto_leave: bool = True


def change_configuration(current: Configuration, change: ConfigurationChange) -> Configuration:
    """Return the configuration to append for `change`. Raises ProposalRefused if it is not valid.

    One voter more or less needs no joint configuration: any two majorities still overlap.
    """
    assert not current.joint
    voters, learners = tuple(sorted(change.voters)), tuple(sorted(change.learners))
    everybody = voters + learners
    distinct = len(dict.fromkeys(everybody)) == len(everybody)
    if not voters or not distinct or any(node_id <= NO_NODE for node_id in everybody):
        raise ProposalRefused(Refusal.BAD_CHANGE)
    added = [voter for voter in voters if voter not in current.voters]
    removed = [voter for voter in current.voters if voter not in voters]
    if len(added) + len(removed) <= 1:
        return Configuration(voters, learners=learners)
    return Configuration(
        voters=voters,
        voters_outgoing=current.voters,
        learners=tuple(node_id for node_id in learners if node_id not in current.voters),
        learners_next=tuple(node_id for node_id in learners if node_id in current.voters),
        auto_leave=change.auto_leave,
    )


def leave_joint(current: Configuration) -> Configuration:
    """Return what a joint configuration ends in."""
    assert current.joint
    learners = tuple(sorted(current.learners + current.learners_next))
    return Configuration(current.voters, learners=learners)


def decode_entry(entry: Entry) -> Configuration:
    """Decode a CONFIGURATION entry. Raises BadConfiguration, also for one without voters."""
    assert entry.kind == EntryKind.CONFIGURATION
    configuration = Configuration.decode(entry.payload)
    if not configuration.voters:
        raise BadConfiguration("no voters")
    return configuration


class ConfigurationHistory:
    """The configurations that may still be in effect: the newest, and what it may go back to.

    Invariant: indexes rise; only the first may be at or below the commit index once settled.
    """

    __slots__ = ("_history", "current", "index")

    def __init__(self, index: int, configuration: Configuration) -> None:
        self.reset(index, configuration)

    def reset(self, index: int, configuration: Configuration) -> None:
        """Forget everything but this configuration, which cannot go back any more."""
        self._history = [(index, configuration)]
        self.index = index
        self.current = configuration

    def append(self, index: int, configuration: Configuration) -> None:
        """Put the configuration of the entry at `index` into effect."""
        assert index > self.index
        self._history.append((index, configuration))
        self.index = index
        self.current = configuration

    def truncate(self, index: int) -> bool:
        """Go back to what was in effect before the entry at `index`; whether that changed it."""
        if self.index < index:
            return False
        assert self._history[0][0] < index
        while self._history[-1][0] >= index:
            self._history.pop()
        self.index, self.current = self._history[-1]
        return True

    def may_lead(self, node_id: int) -> bool:
        """Whether the node is a voter in what is in effect or in what it may go back to.

        A replica whose own removal is in its log, uncommitted, may be the only one that can be
        elected to commit it. Source: Raft thesis, section 4.2.2.
        """
        return any(configuration.is_voter(node_id) for _, configuration in self._history)

    def settle(self, commit: int) -> None:
        """Forget what can no longer come back, now that `commit` is committed."""
        while len(self._history) > 1 and self._history[1][0] <= commit:
            del self._history[0]
