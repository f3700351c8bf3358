"""What majorities agree on. Pure functions over plain values; both halves of a joint configuration.

Source: Raft thesis, sections 3.6 (majorities) and 4.3 (joint consensus).
"""

from collections.abc import Mapping
from enum import Enum, unique

from raft.types import Configuration


@unique
class Tally(Enum):
    """How a vote stands."""

    PENDING = "pending"  # neither a majority for nor against
    WON = "won"
    LOST = "lost"


def majority_value(values: list[int]) -> int:
    """Return the highest value that a majority of `values` has reached. Sorts the list in place."""
    assert values
    values.sort()
    return values[(len(values) - 1) // 2]


def tally(configuration: Configuration, votes: Mapping[int, bool]) -> Tally:
    """Count votes: won only with a majority of each half, lost as soon as one half cannot win."""
    assert configuration.voters
    incoming = _tally_half(configuration.voters, votes)
    if not configuration.voters_outgoing:
        return incoming
    outgoing = _tally_half(configuration.voters_outgoing, votes)
    if incoming is outgoing:
        return incoming
    return Tally.LOST if Tally.LOST in (incoming, outgoing) else Tally.PENDING


def _tally_half(voters: tuple[int, ...], votes: Mapping[int, bool]) -> Tally:
    """Count the votes of one half; votes of others than `voters` are as if not given."""
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return Tally.WON
    if len(voters) - refused < needed:
        return Tally.LOST
    return Tally.PENDING
