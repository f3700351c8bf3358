"""Requests on their way to a node: what is asked, of which partition, and how far it got.

Plain mutable state for `router.dispatch`, which alone changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import ClassVar, Protocol

from model.errors import ModelError

NEVER = float("inf")


@unique
class Stage(IntEnum):
    """Where a routed request is."""

    NEW = 0  # not yet taken by the dispatcher
    AT_NODE = 1  # in the outbox of, or on the wire to, `node_id`
    WAITING = 2  # no leader is known, or the router has no stream to it
    BACKING_OFF = 3  # refused for the moment; again at `retry_at`
    DONE = 4


class Owner(Protocol):
    """Who asked. Exactly one of these is called, once, for each routed request."""

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        """Take the answer of a write (capacity units, attributes asked for) or get (the image)."""

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        """Take the answer of a range read."""

    def throttled(self, routed: Routed) -> ModelError:
        """Return the error for a partition that is over its capacity; `failed` will get it."""

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Take the error that ended the request."""


class Routed:
    """What all kinds have in common.

    Invariant: `slot` is the number of the newest attempt; answers to older ones are ignored.
    Invariant: `maybe_proposed` is never unset: an earlier attempt may have been proposed, even
    if a later one surely was not. It means something for writes only.
    """

    __slots__ = (
        "attempts",
        "deadline",
        "eventual",
        "maybe_proposed",
        "node_id",
        "owner",
        "partition",
        "refusals",
        "refused_units",
        "retry_at",
        "sent",
        "sent_at",
        "size_bytes",
        "slot",
        "stage",
        "storage_full",
        "trace_context",
    )

    is_write: ClassVar[bool] = False

    def __init__(self, owner: Owner, partition: int, deadline: float) -> None:
        """Take the deadline in seconds on the loop's clock."""
        self.owner = owner
        self.partition = partition
        self.deadline = deadline
        self.eventual = False  # any replica may answer
        self.size_bytes = 0  # held while the request is pending
        self.refused_units = 0  # what the leader says that a refused write cost
        self.slot = 0
        self.node_id = 0  # the node of the newest attempt; 0 = none yet
        self.stage = Stage.NEW
        self.sent = False  # the newest attempt has left in a batch
        self.sent_at = 0.0  # when the newest attempt was put into its node's outbox
        self.maybe_proposed = False
        self.attempts = 0
        self.refusals = 0  # OVERLOADED answers so far
        self.storage_full = False  # a node without disk space has refused it
        self.trace_context = b""  # of a sampled call: the span that its leader's belongs to
        self.retry_at = NEVER  # backing off: when to go on; an eventual read: when to ask another

    def token_key(self) -> bytes:
        """Return a storage key that decides the partition; empty = the partition is fixed."""
        return b""


class RoutedWrite(Routed):
    """One write, for the leader of its partition. Resending it is safe: nodes know its id.

    Shape: `request_id` has 16 bytes; an empty image = delete, or computed by the program.
    """

    __slots__ = ("image", "key", "program", "request_id")

    is_write = True

    def __init__(
        self,
        owner: Owner,
        partition: int,
        deadline: float,
        request_id: bytes,
        key: bytes,
        image: bytes,
        program: bytes,
    ) -> None:
        Routed.__init__(self, owner, partition, deadline)
        self.request_id = request_id
        self.key = key
        self.image = image
        self.program = program
        self.size_bytes = len(image) + len(program)

    def token_key(self) -> bytes:
        """Return the item's storage key."""
        return self.key


class RoutedGet(Routed):
    """One item by key."""

    __slots__ = ("key",)

    def __init__(
        self, owner: Owner, partition: int, deadline: float, key: bytes, *, consistent: bool
    ) -> None:
        Routed.__init__(self, owner, partition, deadline)
        self.key = key
        self.eventual = not consistent

    def token_key(self) -> bytes:
        """Return the item's storage key."""
        return self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The items of one partition with low <= storage key < high, and how many of them."""

    low: bytes
    high: bytes
    backwards: bool
    items_max: int  # 0 = no bound
    size_bytes_max: int


class RoutedRange(Routed):
    """One page of items of one partition."""

    __slots__ = ("span",)

    def __init__(
        self, owner: Owner, partition: int, deadline: float, span: Span, *, consistent: bool
    ) -> None:
        Routed.__init__(self, owner, partition, deadline)
        self.span = span
        self.eventual = not consistent
