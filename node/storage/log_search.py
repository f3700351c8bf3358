"""Which log entries of a stopped node hold the writes of one request?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.codec import decode_write_entry
from node.storage.identity import LOG_DIRECTORY, DirectoryLock
from node.storage.log import LogStore
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.write_id import REQUEST_ID_BYTES, call_mark
from raft.types import EntryKind

READ_BYTES: Final = 4 << 20
"""Bytes of entries that are read at a time. Ours."""

ID_DIGITS: Final = 2 * REQUEST_ID_BYTES


@dataclass(frozen=True, slots=True)
class FoundWrite:
    """One write in the log. `committed`: as far as this node knows, no more may become of it."""

    group: int
    index: int
    term: int
    write: str
    refused: bool
    units: int
    writes_in_entry: int
    committed: bool


def parse_id(text: str) -> bytes:
    """Return the 16 bytes of an x-amzn-RequestId, a UUID or 32 hex digits. Raises ValueError."""
    digits = text.strip().replace("-", "")[:ID_DIGITS]
    if len(digits) < ID_DIGITS:
        raise ValueError(f"{text!r} is no id: 32 hexadecimal digits are wanted")
    return bytes.fromhex(digits)


def find_request(directory: Path, wanted: bytes) -> list[FoundWrite]:
    """Return the writes of a request, or the one write whose id this is.

    Raises DirectoryInUse if the node runs, StorageError.
    """
    lock = DirectoryLock.acquire(directory)
    try:
        log = LogStore.open(directory / LOG_DIRECTORY, create=False)
        try:
            return [
                found
                for group in sorted(log.recovered().keys() - {CATALOG_GROUP})
                for found in _find_in(log, group, wanted)
            ]
        finally:
            log.close()
    finally:
        lock.release()


def _find_in(log: LogStore, group: int, wanted: bytes) -> Iterator[FoundWrite]:
    reader, mark = log.reader(group), call_mark(wanted)
    commit = log.recovered()[group].hard_state.commit
    low, last = reader.first_index(), reader.last_index()
    while low <= last:
        entries = reader.entries(low, last + 1, READ_BYTES)
        low = entries[-1].index + 1
        for entry in entries:
            if entry.kind != EntryKind.COMMAND:
                continue
            columns = decode_write_entry(entry.payload)
            for request_id, units in zip(columns.request_ids, columns.units, strict=True):
                if request_id == wanted or request_id.startswith(mark):
                    yield FoundWrite(
                        group=group,
                        index=entry.index,
                        term=entry.term,
                        write=request_id.hex(),
                        refused=request_id in columns.refusals,
                        units=units,
                        writes_in_entry=len(columns.request_ids),
                        committed=entry.index <= commit,
                    )
