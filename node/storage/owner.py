"""Whose store this is: the incarnation of the data directory that it was made in.

A store without the identity it belongs to is worse than none: another node's log has another
node's votes. In the log the owner is kept as the hard state of a group that no group has the
number of, so that heads carry it on, and releases that know nothing of it do too.
"""

from __future__ import annotations

from typing import Final

from node.storage.errors import ForeignStore
from node.storage.layout import HeadGroup

OWNER_GROUP: Final = 0xFFFF_FFFF
"""The catalog is group 0 and partitions are numbered from 1: none comes so far."""

_HALF_BITS: Final = 64


def owner_group(owner: str) -> HeadGroup:
    """Return what a new log's head says of its owner: 32 hexadecimal digits."""
    term, vote = divmod(int(owner, 16), 1 << _HALF_BITS)
    return HeadGroup(OWNER_GROUP, (term, vote, 0), 0, 0)


def owner_of(hard_state: tuple[int, int, int]) -> str:
    """Return the owner that `owner_group` has put there."""
    term, vote, _ = hard_state
    return f"{term << _HALF_BITS | vote:032x}"


def check_owner(path: object, found: str, expected: str) -> None:
    """Raise ForeignStore if both owners are known and are not the same one."""
    if found and expected and found != expected:
        raise ForeignStore(str(path), found, expected)
