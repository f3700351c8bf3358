"""One call of a client, whatever face it came through: answered exactly once."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from model.errors import ModelError
from quorate.cluster.catalog import UserRecord
from router.routed import Routed

if TYPE_CHECKING:
    from router.call_trace import CallTrace


class CallObserver(Protocol):
    """Who counts and times calls."""

    def call_ended(self, call: Call, error: ModelError | None) -> None:
        """Take a call that was answered, with an error or without one."""

    def answered(self, error: type[ModelError]) -> None:
        """Take an answer for which no call was made."""


class Call(ABC):
    """What every face's call has; a face adds how the answer travels.

    Shape: `request_id` has 16 bytes and is the same for every attempt of one call.
    `deadline`, `started`, and when it was decoded and admitted (0.0: not) are seconds on the
    loop's clock.
    """

    __slots__ = (
        "admitted_at",
        "deadline",
        "decoded_at",
        "ended",
        "observer",
        "operation",
        "refreshed",
        "request_id",
        "routed",
        "started",
        "trace",
        "user",
    )

    def __init__(
        self, observer: CallObserver, request_id: bytes, started: float, deadline: float
    ) -> None:
        self.observer = observer
        self.request_id = request_id
        self.started = started
        self.deadline = deadline
        self.user: UserRecord | None = None  # who signed it; None: nobody had to
        self.operation = ""  # a known operation's name, "" until it is known
        self.decoded_at = 0.0
        self.admitted_at = 0.0
        self.routed: Routed | None = None  # the newest part that was sent to a node
        self.trace: CallTrace | None = None  # None: it is not sampled
        self.refreshed = False  # a newer catalog was asked for once already
        self.ended = False

    @property
    def authority(self) -> str:
        """Host and port by which the caller reached this router, empty if the face cannot tell."""
        return ""

    @property
    def network(self) -> str:
        """What the caller's address is counted under, empty if the face cannot tell."""
        return ""

    @property
    def traceparent(self) -> str:
        """W3C's header of the caller's own span, empty if there is none."""
        return ""

    @property
    def answer_bytes_max(self) -> int:
        """Longest answer, as JSON, that the caller can take."""
        return sys.maxsize

    def succeed(self, body: bytes) -> None:
        """Answer with the operation's response in DynamoDB's JSON."""
        if not self.ended:
            self._end(None)
            self.send_answer(body)

    def fail(self, error: ModelError) -> None:
        """Answer with an error."""
        if not self.ended:
            self._end(error)
            self.send_error(error)

    def _end(self, error: ModelError | None) -> None:
        self.ended = True
        self.observer.call_ended(self, error)
        self.routed = None  # its owner knows this call: a cycle, that only the collector would free

    @abstractmethod
    def send_answer(self, body: bytes) -> None:
        """Hand a success to the face."""

    @abstractmethod
    def send_error(self, error: ModelError) -> None:
        """Hand an error to the face."""
