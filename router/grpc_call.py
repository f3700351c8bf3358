"""Calls that came over gRPC: their clients take messages of a certain size, and no larger ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from router.call import Call
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

ANSWER_BYTES: Final = re.compile(r"0*([0-9]{1,12})[0-9]*")
"""Its value. Of a number with more digits than anybody needs the first say enough."""


def room_of(message_bytes_max: int) -> int:
    """Return how long an answer's JSON may be for a message of a size."""
    return message_bytes_max - ENVELOPE_BYTES


def message_bytes_max(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    """Return how large a message a client takes."""
    for key, value in metadata:
        if key == ANSWER_BYTES_KEY and isinstance(value, str):
            match = ANSWER_BYTES.fullmatch(value.strip())
            if match is not None:
                return min(max(int(match[1]), 2 * ENVELOPE_BYTES), MESSAGE_BYTES_MAX)
    return MESSAGE_BYTES_DEFAULT


class GrpcCall(Call):
    """A call whose answer must fit into one message. Subclasses set `room_bytes`.

    It is not passed to an initialiser of its own: a stream makes a hundred thousand a second.
    """

    __slots__ = ("room_bytes",)

    room_bytes: int  # for the answer, as JSON

    @property
    def answer_bytes_max(self) -> int:
        """Longest answer, as JSON."""
        return self.room_bytes

    def succeed(self, body: bytes) -> None:
        """Answer, if the client can take it."""
        if len(body) > self.room_bytes:
            self.fail(answer_too_large(len(body), self.room_bytes))
        elif not self.ended:
            self._end(None)
            self.send_answer(body)
