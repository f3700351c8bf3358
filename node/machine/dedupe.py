"""The window of recent request ids: a write retried with the same id gets the first answer.

The ids travel in log entries, so every replica has the same; they are kept in generations, one
for each checkpoint, and a generation is forgotten as a whole. Bounded by time, count and bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from quorate.cluster.write_id import REQUEST_ID_BYTES

WINDOW_SECONDS: Final = 60.0
"""An id is remembered at least this long, unless a bound below is hit first. Ours: above the
10 s that a client of ours retries, and about the 60 s read time-out of the AWS SDKs."""

IDS_MAX: Final = 131_072
"""Most ids a partition remembers beyond the newest generation. Ours: some 20 MB."""

ANSWERS_BYTES_MAX: Final = 16 << 20
"""Most bytes of remembered answers (old and new attributes that writes asked for). Ours."""

_HEADER = struct.Struct(">II")  # number of ids, number of answers
_ANSWER = struct.Struct(">II")  # position of the id, length of the answer

Answer = tuple[int, bytes]
"""What a write returned: (write units, attributes asked for as JSON or b"")."""


@dataclass(slots=True)
class Generation:
    """The ids of one checkpoint interval. `number` is its key in the items store.

    `units` is a column beside `request_ids`; `answers` is sparse, by request id. `closed_at` is in
    seconds of this process's monotonic clock: each replica forgets by its own, and a generation
    read from disk counts as closed when it is first looked at. No wall clock has a say.
    """

    number: int
    closed_at: float | None = None
    request_ids: list[bytes] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    answers: dict[bytes, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the generation as bytes, for the items store and for snapshots."""
        units = array("I", self.units)
        if sys.byteorder == "little":
            units.byteswap()
        parts = [
            _HEADER.pack(len(self.request_ids), len(self.answers)),
            b"".join(self.request_ids),
            units.tobytes(),
        ]
        if self.answers:
            for position, request_id in enumerate(self.request_ids):
                answer = self.answers.get(request_id)
                if answer is not None:
                    parts += (_ANSWER.pack(position, len(answer)), answer)
        return b"".join(parts)


def decode_generation(number: int, data: bytes) -> Generation:
    """Read what `Generation.encode` wrote. Raises ValueError if the bytes are not that."""
    try:
        count, answer_count = _HEADER.unpack_from(data)
        position = _HEADER.size
        ids_end = position + count * REQUEST_ID_BYTES
        if ids_end > len(data):
            raise ValueError(f"dedupe generation {number}: {len(data)} bytes for {count} ids")
        request_ids = [
            data[start : start + REQUEST_ID_BYTES]
            for start in range(position, ids_end, REQUEST_ID_BYTES)
        ]
        units = list(struct.unpack_from(f">{count}I", data, ids_end))
        position = ids_end + 4 * count
        answers = {}
        for _ in range(answer_count):
            which, length = _ANSWER.unpack_from(data, position)
            position += _ANSWER.size
            answers[request_ids[which]] = data[position : position + length]
            position += length
    except (struct.error, IndexError) as error:
        raise ValueError(f"dedupe generation {number} is damaged: {error}") from error
    if position != len(data):
        raise ValueError(f"dedupe generation {number}: {len(data)} bytes, expected {position}")
    return Generation(number, None, request_ids, units, answers)


class DedupeWindow:
    """The ids that one partition remembers.

    Invariant: `_units` and `_answers` hold exactly what the generations hold; the last
    generation is the open one.
    """

    __slots__ = ("_answers", "_answers_bytes", "_generations", "_units")

    def __init__(self, recovered: Sequence[Generation] = ()) -> None:
        """Start from the generations found in the items store, in order of number."""
        self._generations: deque[Generation] = deque(recovered)
        self._units: dict[bytes, int] = {}
        self._answers: dict[bytes, bytes] = {}
        for generation in recovered:
            self._units.update(zip(generation.request_ids, generation.units, strict=True))
            self._answers.update(generation.answers)
        self._answers_bytes = sum(map(len, self._answers.values()))
        newest = self._generations[-1].number if self._generations else 0
        self._generations.append(Generation(newest + 1))

    def __len__(self) -> int:
        """Return the number of ids remembered."""
        return len(self._units)

    def find(self, request_id: bytes) -> Answer | None:
        """Return what the write with this id answered, or None if it is not remembered."""
        units = self._units.get(request_id)
        if units is None:
            return None
        return units, self._answers.get(request_id, b"")

    def add(
        self,
        request_ids: Sequence[bytes],
        units: Sequence[int],
        answers: dict[bytes, bytes],
    ) -> None:
        """Remember the writes of one applied entry."""
        current = self._generations[-1]
        current.request_ids += request_ids
        current.units += units
        self._units.update(zip(request_ids, units, strict=True))
        if answers:
            current.answers.update(answers)
            self._answers.update(answers)
            self._answers_bytes += sum(map(len, answers.values()))

    def rotate(self, now: float) -> tuple[Generation | None, list[int]]:
        """Close the open generation at a checkpoint; `now` in seconds, monotonic.

        Returns the closed generation, to be stored (None if it is empty), and the numbers of
        those that are forgotten, to be deleted.
        """
        current = self._generations[-1]
        closed = None
        if current.request_ids:
            closed = current
            self._generations.append(Generation(current.number + 1))
        forgotten = []
        for generation in islice(self._generations, len(self._generations) - 1):
            if generation.closed_at is None:
                generation.closed_at = now
        while len(self._generations) > 2 and self._oldest_may_go(now):
            forgotten.append(self._forget_oldest())
        return closed, forgotten

    def _oldest_may_go(self, now: float) -> bool:
        closed_at = self._generations[0].closed_at
        assert closed_at is not None
        return (
            now - closed_at > WINDOW_SECONDS
            or len(self._units) > IDS_MAX
            or self._answers_bytes > ANSWERS_BYTES_MAX
        )

    def _forget_oldest(self) -> int:
        oldest = self._generations.popleft()
        for request_id in oldest.request_ids:
            self._units.pop(request_id, None)
        for request_id in oldest.answers:
            self._answers_bytes -= len(self._answers.pop(request_id, b""))
        return oldest.number
