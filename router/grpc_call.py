"""Calls that came over gRPC: their clients take messages of a certain size, and no larger ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from router.call import Call, CallObserver
from router.refusals import answer_too_large

MESSAGE_BYTES_MAX: Final = 17 << 20
"""Largest message either way: DynamoDB's 16 MiB and an envelope. Ours."""

MESSAGE_BYTES_DEFAULT: Final = 4 << 20
"""Largest message that a client takes which does not say. Source: gRPC's default, in all
languages."""

ENVELOPE_BYTES: Final = 64 << 10
"""What a message may have besides the JSON of its answer. Ours: typed messages are shorter than
JSON, but for some bytes of each attribute that has more than 16 KiB."""

ANSWER_BYTES_KEY: Final = "x-quorate-answer-bytes"
"""Metadata: how large a message the client takes."""


def message_bytes_max(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    """Return how large a message a client takes."""
    for key, value in metadata:
        if key == ANSWER_BYTES_KEY and isinstance(value, str) and value.strip().isdecimal():
            return min(max(int(value), 2 * ENVELOPE_BYTES), MESSAGE_BYTES_MAX)
    return MESSAGE_BYTES_DEFAULT


class GrpcCall(Call):
    """A call whose answer must fit into a message of `message_bytes_max`."""

    __slots__ = ("_answer_bytes_max",)

    def __init__(
        self,
        observer: CallObserver,
        request_id: bytes,
        started: float,
        deadline: float,
        message_bytes_max: int,
    ) -> None:
        Call.__init__(self, observer, request_id, started, deadline)
        self._answer_bytes_max = message_bytes_max - ENVELOPE_BYTES

    @property
    def answer_bytes_max(self) -> int:
        """Longest answer, as JSON."""
        return self._answer_bytes_max

    def succeed(self, body: bytes) -> None:
        """Answer, if the client can take it."""
        if len(body) > self._answer_bytes_max:
            self.fail(answer_too_large(len(body), self._answer_bytes_max))
        else:
            Call.succeed(self, body)
