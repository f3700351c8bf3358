"""The window of recent request ids: a write retried with the same id gets the first answer.

The ids travel in log entries, so every replica has the same; they are kept in generations, one
for each checkpoint, and a generation is forgotten as a whole. Bounded by time, count and bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

REQUEST_ID_BYTES: Final = 16
"""Length of a request id. Ours."""

WINDOW_MS: Final = 60_000
"""An id is remembered at least this long, unless a bound below is hit first. Ours: above the
10 s that a client of ours retries, and the 60 s read time-out of the AWS SDKs."""

IDS_MAX: Final = 131_072
"""Most ids a partition remembers. Ours: some 20 MB."""

ANSWERS_BYTES_MAX: Final = 16 << 20
"""Most bytes of remembered answers (old and new attributes that writes asked for). Ours."""

_HEADER = struct.Struct(">QI")  # time_ms, count
_RECORD = struct.Struct(">16sII")  # request id, write units, answer length

Answer = tuple[int, bytes]
"""What a write returned: (write units, attributes asked for as JSON or b"")."""


@dataclass(slots=True)
class Generation:
    """The ids of one checkpoint interval. `number` is its key in the items store."""

    number: int
    time_ms: int = 0
    units: dict[bytes, int] = field(default_factory=dict)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    answers_bytes: int = 0

    def encode(self) -> bytes:
        """Return the generation as bytes, for the items store and for snapshots."""
        answers = self.answers
        parts = [_HEADER.pack(self.time_ms, len(self.units))]
        for request_id, units in self.units.items():
            answer = answers.get(request_id, b"")
            parts.append(_RECORD.pack(request_id, units, len(answer)))
            if answer:
                parts.append(answer)
        return b"".join(parts)


def decode_generation(number: int, data: bytes) -> Generation:
    """Read what `Generation.encode` wrote. Raises ValueError if the bytes are not that."""
    try:
        time_ms, count = _HEADER.unpack_from(data)
        generation = Generation(number, time_ms)
        position = _HEADER.size
        for _ in range(count):
            request_id, units, length = _RECORD.unpack_from(data, position)
            position += _RECORD.size
            generation.units[request_id] = units
            if length:
                generation.answers[request_id] = data[position : position + length]
                generation.answers_bytes += length
                position += length
    except struct.error as error:
        raise ValueError(f"dedupe generation {number} is cut short: {error}") from error
    if position != len(data):
        raise ValueError(f"dedupe generation {number} has {len(data) - position} bytes too many")
    return generation


class DedupeWindow:
    """The ids that one partition remembers, oldest generation first."""

    __slots__ = ("_generations", "_ids")

    def __init__(self, recovered: Sequence[Generation] = ()) -> None:
        """Start from the generations found in the items store, in order of number."""
        self._generations: deque[Generation] = deque(recovered)
        newest = self._generations[-1].number if self._generations else 0
        self._generations.append(Generation(newest + 1))
        self._ids = sum(len(generation.units) for generation in self._generations)

    def __len__(self) -> int:
        """Return the number of ids remembered."""
        return self._ids

    def find(self, request_id: bytes) -> Answer | None:
        """Return what the write with this id answered, or None if it is not remembered."""
        for generation in reversed(self._generations):
            units = generation.units.get(request_id)
            if units is not None:
                return units, generation.answers.get(request_id, b"")
        return None

    def add(
        self,
        request_ids: Sequence[bytes],
        units: Sequence[int],
        answers: dict[bytes, bytes] | None,
        time_ms: int,
    ) -> None:
        """Remember the writes of one applied entry."""
        current = self._generations[-1]
        before = len(current.units)
        current.units.update(zip(request_ids, units, strict=True))
        self._ids += len(current.units) - before
        if answers:
            current.answers.update(answers)
            current.answers_bytes += sum(map(len, answers.values()))
        current.time_ms = max(current.time_ms, time_ms)

    def rotate(self) -> tuple[Generation | None, list[int]]:
        """Close the current generation at a checkpoint.

        Returns the closed generation, to be stored (None if it is empty), and the numbers of
        those that are forgotten, to be deleted.
        """
        current = self._generations[-1]
        closed = None
        if current.units:
            closed = current
            self._generations.append(Generation(current.number + 1))
        forgotten = []
        newest_ms = closed.time_ms if closed else self._newest_ms()
        while len(self._generations) > 2 and self._oldest_may_go(newest_ms):
            oldest = self._generations.popleft()
            self._ids -= len(oldest.units)
            forgotten.append(oldest.number)
        return closed, forgotten

    def generations(self) -> list[Generation]:
        """Return the closed generations, oldest first."""
        return list(self._generations)[:-1]

    def _newest_ms(self) -> int:
        return max(generation.time_ms for generation in self._generations)

    def _oldest_may_go(self, newest_ms: int) -> bool:
        oldest = self._generations[0]
        return (
            newest_ms - oldest.time_ms > WINDOW_MS
            or self._ids > IDS_MAX
            or sum(generation.answers_bytes for generation in self._generations)
            > ANSWERS_BYTES_MAX
        )
