"""The window of recent request ids: a write retried with the same id is not done again.

The ids travel in log entries, so every replica has the same; they are kept in generations, one
for each checkpoint, and a generation is forgotten as a whole, once it is old enough and never
before. What writes returned takes far more room than their ids and is forgotten earlier: a retry
is then told how the write ended, without what it returned.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from quorate.cluster.outcome import Outcome
from quorate.cluster.write_id import REQUEST_ID_BYTES

WINDOW_SECONDS: Final = 75.0
"""An id is remembered at least this long. Ours: an AWS SDK comes again 60 s after it sent a request
that nobody answered, its read time-out."""

IDS_MAX: Final = 1 << 20
"""Most ids a partition remembers: its leader takes no more writes until the oldest may go. Ours:
13,900 writes a second for the whole window, and some 150 MB."""

ANSWERS_BYTES_MAX: Final = 16 << 20
"""Most bytes of remembered answers (old and new attributes that writes asked for). Ours."""

_HEADER = struct.Struct(">III")  # number of ids, of refusals, of answers
_REFUSAL = struct.Struct(">II")  # position of the id, outcome
_ANSWER = struct.Struct(">II")  # position of the id, length of the answer


class Answer(NamedTuple):
    """How a write ended: its outcome, its write units, and the outcome's payload if remembered."""

    outcome: Outcome
    units: int
    payload: bytes


@dataclass(slots=True)
class Generation:
    """The ids of one checkpoint interval. `number` is its key in the items store.

    `units` is a column beside `request_ids`; `refusals`, the outcomes of writes that were refused,
    and `answers` are sparse, by request id. `closed_at` is in seconds of this process's monotonic
    clock: each replica forgets by its own, and a generation read from disk counts as closed when it
    is first looked at. No wall clock has a say.
    """

    number: int
    closed_at: float | None = None
    request_ids: list[bytes] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    refusals: dict[bytes, int] = field(default_factory=dict)
    answers: Mapping[bytes, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the generation as bytes, for the items store and for snapshots."""
        units = array("I", self.units)
        if sys.byteorder == "little":
            units.byteswap()
        parts = [
            _HEADER.pack(len(self.request_ids), len(self.refusals), len(self.answers)),
            b"".join(self.request_ids),
            units.tobytes(),
        ]
        if self.refusals or self.answers:
            position_of = {request_id: at for at, request_id in enumerate(self.request_ids)}
            parts += [
                _REFUSAL.pack(position_of[request_id], outcome)
                for request_id, outcome in self.refusals.items()
            ]
            for request_id, answer in self.answers.items():
                parts += (_ANSWER.pack(position_of[request_id], len(answer)), answer)
        return b"".join(parts)


def decode_generation(number: int, data: bytes) -> Generation:
    """Read what `Generation.encode` wrote. Raises ValueError if the bytes are not that."""
    try:
        count, refusal_count, answer_count = _HEADER.unpack_from(data)
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
        refusals = {}
        for _ in range(refusal_count):
            which, outcome = _REFUSAL.unpack_from(data, position)
            position += _REFUSAL.size
            refusals[request_ids[which]] = outcome
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
    return Generation(number, None, request_ids, units, refusals, answers)


class DedupeWindow:
    """The ids that one partition remembers.

    Invariant: `_units` and `_refusals` hold exactly what the generations hold; the last generation
    is the open one. Invariant: `_answers` are the newest answers of remembered ids, oldest first,
    of `_answers_bytes` <= ANSWERS_BYTES_MAX in all.
    """

    __slots__ = (
        "_answers",
        "_answers_bytes",
        "_forgotten",
        "_generations",
        "_refusals",
        "_units",
    )

    def __init__(self, recovered: Sequence[Generation] = ()) -> None:
        """Start from the generations found in the items store, in order of number."""
        self._generations: deque[Generation] = deque()
        self._units: dict[bytes, int] = {}
        self._refusals: dict[bytes, int] = {}
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._answers_bytes = 0
        self._forgotten: list[int] = []  # numbers of generations that are still stored
        for stored in recovered:
            self._generations.append(Generation(stored.number))
            self.add(stored.request_ids, stored.units, stored.refusals, stored.answers)
        newest = self._generations[-1].number if self._generations else 0
        self._generations.append(Generation(newest + 1))

    def __len__(self) -> int:
        """Return the number of ids remembered."""
        return len(self._units)

    @property
    def is_full(self) -> bool:
        """Whether so many ids are remembered that no more may come until the oldest go."""
        return len(self._units) >= IDS_MAX

    def find(self, request_id: bytes) -> Answer | None:
        """Return how the write with this id ended, or None if it is not remembered."""
        units = self._units.get(request_id)
        if units is None:
            return None
        outcome = Outcome(self._refusals.get(request_id, Outcome.OK))
        return Answer(outcome, units, self._answers.get(request_id, b""))

    def add(
        self,
        request_ids: Sequence[bytes],
        units: Sequence[int],
        refusals: Mapping[bytes, int],
        answers: Mapping[bytes, bytes],
    ) -> None:
        """Remember the writes of one applied entry."""
        if not self._units.keys().isdisjoint(request_ids):
            self._forget(request_ids)  # their leader, by its own clock, had forgotten them
        current = self._generations[-1]
        current.request_ids += request_ids
        current.units += units
        self._units.update(zip(request_ids, units, strict=True))
        if refusals:
            current.refusals.update(refusals)
            self._refusals.update(refusals)
        if answers:
            self._answers.update(answers)
            self._answers_bytes += sum(map(len, answers.values()))
            while self._answers_bytes > ANSWERS_BYTES_MAX:
                self._answers_bytes -= len(self._answers.popitem(last=False)[1])

    def rotate(self, now: float) -> tuple[Generation | None, list[int]]:
        """Close the open generation at a checkpoint; `now` in seconds, monotonic.

        Returns the closed generation, to be stored (None if it is empty), and the numbers of
        those that were forgotten since the last checkpoint, to be deleted.
        """
        current = self._generations[-1]
        closed = None
        if current.request_ids:
            # A copy, which is encoded on another thread: with the answers as they are now.
            answers = self._answers_of(current)
            closed = Generation(
                current.number, None, current.request_ids, current.units, current.refusals, answers
            )
            self._generations.append(Generation(current.number + 1))
        self.forget_old(now)
        forgotten, self._forgotten = self._forgotten, []
        return closed, forgotten

    def forget_old(self, now: float) -> None:
        """Forget the generations that are older than the window; `now` in seconds, monotonic."""
        for generation in islice(self._generations, len(self._generations) - 1):
            if generation.closed_at is None:
                generation.closed_at = now
        while len(self._generations) > 1 and self._oldest_may_go(now):
            oldest = self._generations.popleft()
            self._drop(oldest.request_ids)
            self._forgotten.append(oldest.number)

    def _answers_of(self, newest: Generation) -> dict[bytes, bytes]:
        """Return the answers of the newest generation: the last ones, in order."""
        ids = set(newest.request_ids) if self._answers else set()
        answers = {}
        for request_id in reversed(self._answers):
            if request_id not in ids:
                break
            answers[request_id] = self._answers[request_id]
        return dict(reversed(answers.items()))

    def _oldest_may_go(self, now: float) -> bool:
        closed_at = self._generations[0].closed_at
        assert closed_at is not None
        return now - closed_at > WINDOW_SECONDS

    def _forget(self, request_ids: Sequence[bytes]) -> None:
        """Forget some ids in whatever generations they are."""
        again = self._units.keys() & set(request_ids)
        for generation in self._generations:
            if again.isdisjoint(generation.request_ids):
                continue
            kept = [
                pair
                for pair in zip(generation.request_ids, generation.units, strict=True)
                if pair[0] not in again
            ]
            generation.request_ids = [request_id for request_id, _ in kept]
            generation.units = [units for _, units in kept]
            generation.refusals = {
                request_id: outcome
                for request_id, outcome in generation.refusals.items()
                if request_id not in again
            }
        self._drop(again)

    def _drop(self, request_ids: Iterable[bytes]) -> None:
        for request_id in request_ids:
            del self._units[request_id]
            self._refusals.pop(request_id, None)
            self._answers_bytes -= len(self._answers.pop(request_id, b""))
