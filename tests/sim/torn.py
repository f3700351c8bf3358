"""A log record of which only some sectors reached the disk: its checksums must tell."""

from __future__ import annotations

from random import Random

from node.storage import layout
from node.storage.log import _encode_changes, _GroupChange
from tests.sim.disk import MemoryRecord
from tests.sim.schedule import Violation

SECTOR_BYTES = 32
"""Smaller than a disk's: so are the records."""

SEQUENCE = 1


def is_whole_after_tearing(record: MemoryRecord, rng: Random) -> bool:
    """Whether all of a record has arrived, by its checksums. Raises Violation if they lie."""
    raw = encode(record)
    torn = bytearray(len(raw))
    for low in range(0, len(raw), SECTOR_BYTES):
        if rng.random() < 0.8:
            torn[low : low + SECTOR_BYTES] = raw[low : low + SECTOR_BYTES]
    try:
        layout.decode_record(bytes(torn), SEQUENCE)
    except layout.Malformed:
        return False
    if torn != raw:
        raise Violation("a torn log record is taken for a whole one")
    return True


def encode(record: MemoryRecord) -> bytes:
    """Return the bytes that the real log store would write."""
    sections: list[bytes] = []
    payloads: list[bytes] = []
    offset = 0
    for write in record.writes:
        state = write.hard_state
        change = _GroupChange(
            write.group,
            write.reset,
            write.truncate_from,
            [entry.term for entry in write.entries],
            0,
            (state.term, state.vote, state.commit) if state is not None else None,
        )
        sections.append(_encode_changes(write.group, change, len(write.entries)))
        for entry in write.entries:
            index, term, kind, payload = entry.index, entry.term, entry.kind, entry.payload
            checksum = layout.entry_checksum(write.group, index, term, kind, payload)
            sections.append(
                layout.DESCRIPTOR.pack(index, term, kind, offset, len(payload), checksum)
            )
            payloads.append(payload)
            offset += len(payload)
    return layout.encode_record(SEQUENCE, sections, payloads)
