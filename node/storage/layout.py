"""The bytes on disk, all but a snapshot's (`snapshot_frames`). Nothing else knows them.

docs/FORMAT.md says the same in prose.

Everything is big-endian and begins with a CRC-32 and a version. `encode_` and `decode_` come in
pairs: what one asserts, the other checks and answers with `Malformed`.

Log environment (unnamed database): key = sequence u64. Key 0 is the head, others are records.

Record: header · group sections · payloads

    header      crc32 u32 (of the rest of the header and all sections) · version u8 · kind u8 = 1 ·
                reserved u16 · sections length u32 · total length u32 · sequence u64
    section     group u32 · flags u8 · reserved u8 x 3 · entry count u32, then by flag, in this
                order: 1 = reset (index u64, term u64) · 2 = truncate from (index u64) ·
                4 = hard state (term u64, vote u64, commit u64); then the entries' descriptors
    descriptor  index u64 · term u64 · kind u8 · reserved u8 x 3 · payload offset u32 (from the
                end of the sections) · payload length u32 ·
                crc32 u32 (of group u32, index u64, term u64, kind u8, then the payload)

Head: crc32 u32 (of the rest) · version u8 · kind u8 = 2 · reserved u16 · group count u32 ·
    as of sequence u64 · first sequence u64, then by group, ascending:
    group u32 · term u64 · vote u64 · commit u64 · cut index u64 · cut term u64

Items environment: database "items" maps storage keys (model.keys) to sealed images: crc32 u32 (of
the key, then the image) · image (model.image, which has its own version). Database "replicas":

    "f"                          format: crc32 u32 · version u8
    "s" group u32                replica state: crc32 u32 · version u8 · reserved u8 x 3 ·
                                 applied index u64 · applied term u64 · configuration length u32 ·
                                 table count u32 · configuration, then by table, ascending:
                                 table id u32 · item count u64 · size bytes u64
    "d" group u32 number u64     dedupe generation: crc32 u32 · version u8 · reserved u8 x 3 · bytes
    "i" group u32                install under way, instead of a replica state: crc32 u32 ·
                                 version u8 · reserved u8 x 3 · view 16 bytes · applied index u64 ·
                                 applied term u64 · first token u64 · last token u64 (below the
                                 first: no items) · checksum of the file's end u32

Snapshot state, in a snapshot's frames: crc32 u32 · version u8 · reserved u8 x 3 · generation count
    u32 · state length u32 · replica state as above, then by generation, ascending:
    number u64 · length u32 · bytes
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from model.image import CorruptImage, check_image

LOG_VERSION: Final = 1
"""Version of records and heads. A reader refuses what it does not know."""

ITEMS_VERSION: Final = 1
"""Version of everything in the items environment but the images, and of snapshot states."""

KIND_RECORD: Final = 1
KIND_HEAD: Final = 2

FLAG_RESET: Final = 1
FLAG_TRUNCATE: Final = 2
FLAG_HARD_STATE: Final = 4

SEQUENCE: Final = struct.Struct(">Q")
RECORD_HEADER: Final = struct.Struct(">IBBHIIQ")
SECTION: Final = struct.Struct(">IB3xI")
RESET: Final = struct.Struct(">QQ")
TRUNCATE: Final = struct.Struct(">Q")
HARD_STATE: Final = struct.Struct(">QQQ")
DESCRIPTOR: Final = struct.Struct(">QQB3xIII")
ENTRY_IDENTITY: Final = struct.Struct(">IQQB")
HEAD_HEADER: Final = struct.Struct(">IBBHIQQ")
HEAD_GROUP: Final = struct.Struct(">IQQQQQ")

CRC_BYTES: Final = 4

HEAD_KEY: Final = SEQUENCE.pack(0)

RECORD_BYTES_MAX: Final = (1 << 31) - (1 << 20)
"""Largest record. Source: LMDB 0.9, values are limited to 2^31 bytes (less our margin)."""

FORMAT_KEY: Final = b"f"
OWNER_KEY: Final = b"o"
STATE_PREFIX: Final = b"s"
GENERATION_PREFIX: Final = b"d"
INSTALL_PREFIX: Final = b"i"

_CRC: Final = struct.Struct(">I")
_BODY_LENGTH: Final = struct.Struct(">8xI")  # of a record's header
_FORMAT: Final = struct.Struct(">IB")
_STATE: Final = struct.Struct(">IB3xQQII")
_TABLE: Final = struct.Struct(">IQQ")
_GENERATION: Final = struct.Struct(">IB3x")
_INSTALL: Final = struct.Struct(">IB3x16sQQQQI")
_SNAPSHOT: Final = struct.Struct(">IB3xII")
_SNAPSHOT_GENERATION: Final = struct.Struct(">QI")
_STATE_KEY: Final = struct.Struct(">cI")
_GENERATION_KEY: Final = struct.Struct(">cIQ")
_TABLE_AND_TOKEN: Final = struct.Struct(">IQ")
_TABLE_ID: Final = struct.Struct(">I")

TOKEN_END: Final = 1 << 64
"""The exclusive upper end of the ring."""

TABLE_ID_MAX: Final = (1 << 32) - 1

assert RECORD_HEADER.size == 24
assert DESCRIPTOR.size == 32
assert SECTION.size == 12


class Malformed(Exception):
    """The bytes are not what was written; the caller knows where they lay."""


Buffer = bytes | memoryview


def other_version(found: int, known: int) -> str:
    """Say why bytes of another version are not read, and what is not to be done about it."""
    return f"version {found}; this release reads {known}. If a newer one wrote it, start that one"


# --- The log ---------------------------------------------------------------------------------


def entry_checksum(group: int, index: int, term: int, kind: int, payload: Buffer) -> int:
    """Return the CRC-32 that an entry's descriptor carries."""
    return crc32(payload, crc32(ENTRY_IDENTITY.pack(group, index, term, kind)))


def encode_record(sequence: int, sections: Sequence[bytes], payloads: Sequence[bytes]) -> bytes:
    """Join one record; the sections' descriptors must point into the payloads."""
    assert sequence >= 1
    body = b"".join(sections)
    length = RECORD_HEADER.size + len(body) + sum(map(len, payloads))
    assert length <= RECORD_BYTES_MAX
    fields = RECORD_HEADER.pack(0, LOG_VERSION, KIND_RECORD, 0, len(body), length, sequence)
    checksum = crc32(body, crc32(fields[CRC_BYTES:]))
    return b"".join((checksum.to_bytes(CRC_BYTES, "big"), fields[CRC_BYTES:], body, *payloads))


@dataclass(slots=True)
class EntryRun:
    """The consecutive entries of one section, as found in a record."""

    first_index: int
    terms: list[int]
    descriptor_offset: int  # of the first descriptor, from the start of the record


@dataclass(slots=True)
class Section:
    """What one record says about one group."""

    group: int
    reset: tuple[int, int] | None
    truncate_from: int | None
    hard_state: tuple[int, int, int] | None  # term, vote, commit
    run: EntryRun | None


def decode_record(raw: Buffer, sequence: int) -> list[Section]:
    """Read a record and verify every checksum in it. Raises Malformed."""
    if len(raw) < RECORD_HEADER.size:
        raise Malformed(f"{len(raw)} bytes, the header alone has {RECORD_HEADER.size}")
    checksum, version, kind, _, body_length, length, found = RECORD_HEADER.unpack_from(raw)
    payloads_at = RECORD_HEADER.size + body_length
    if length != len(raw) or payloads_at > length:
        raise Malformed(f"lengths {body_length} and {length} in {len(raw)} bytes")
    if crc32(raw[CRC_BYTES:payloads_at]) != checksum:
        raise Malformed("its checksum does not match")
    if version != LOG_VERSION or kind != KIND_RECORD:
        raise Malformed(f"kind {kind}, {other_version(version, LOG_VERSION)}")
    if found != sequence:
        raise Malformed(f"it says it is record {found}")
    sections: list[Section] = []
    position = RECORD_HEADER.size
    try:
        while position < payloads_at:
            section, position = _decode_section(raw, position, payloads_at)
            sections.append(section)
    except struct.error as error:
        raise Malformed(f"a section is cut short: {error}") from error
    if position != payloads_at:
        raise Malformed("its sections run into the payloads")
    return sections


def _decode_section(raw: Buffer, position: int, payloads_at: int) -> tuple[Section, int]:
    group, flags, count = SECTION.unpack_from(raw, position)
    position += SECTION.size
    if flags & ~(FLAG_RESET | FLAG_TRUNCATE | FLAG_HARD_STATE):
        raise Malformed(f"flags {flags:#x} that this release does not know")
    section = Section(group, None, None, None, None)
    if flags & FLAG_RESET:
        section.reset = RESET.unpack_from(raw, position)
        position += RESET.size
    if flags & FLAG_TRUNCATE:
        (section.truncate_from,) = TRUNCATE.unpack_from(raw, position)
        position += TRUNCATE.size
    if flags & FLAG_HARD_STATE:
        section.hard_state = HARD_STATE.unpack_from(raw, position)
        position += HARD_STATE.size
    if count:
        section.run = run = EntryRun(0, [], position)
        for number in range(count):
            index, term, *_ = read_entry(raw, position, group, payloads_at)
            if number == 0:
                run.first_index = index
            elif index != run.first_index + number:
                raise Malformed(f"entry {index} follows entry {run.first_index + number - 1}")
            run.terms.append(term)
            position += DESCRIPTOR.size
    return section, position


def read_entry(
    raw: Buffer, descriptor_offset: int, group: int, payloads_at: int = 0
) -> tuple[int, int, int, Buffer]:
    """Return (index, term, kind, payload) of one entry of a record, verified. Raises Malformed."""
    try:
        if payloads_at == 0:
            payloads_at = RECORD_HEADER.size + _BODY_LENGTH.unpack_from(raw)[0]
        index, term, kind, offset, length, checksum = DESCRIPTOR.unpack_from(raw, descriptor_offset)
    except struct.error as error:
        raise Malformed(f"no descriptor at {descriptor_offset}: {error}") from error
    start = payloads_at + offset
    payload = raw[start : start + length]
    if len(payload) != length:
        raise Malformed(f"the payload of entry {index} is cut short")
    if entry_checksum(group, index, term, kind, payload) != checksum:
        raise Malformed(f"the checksum of entry {index} does not match")
    return index, term, kind, payload


@dataclass(slots=True)
class HeadGroup:
    """What the head keeps of one group."""

    group: int
    hard_state: tuple[int, int, int]  # term, vote, commit
    cut_index: int
    cut_term: int


@dataclass(slots=True)
class Head:
    """What is left of the records below `first_sequence`, which may be gone.

    Invariant: 1 <= first_sequence <= as_of + 1; every entry above its group's cut index, as the
    log stood after record `as_of`, lies in a record >= first_sequence.
    """

    as_of: int
    first_sequence: int
    groups: list[HeadGroup] = field(default_factory=list)


def encode_head(head: Head) -> bytes:
    """Encode a head. Pair of `decode_head`."""
    assert 1 <= head.first_sequence <= head.as_of + 1
    parts = [
        HEAD_HEADER.pack(
            0, LOG_VERSION, KIND_HEAD, 0, len(head.groups), head.as_of, head.first_sequence
        )[CRC_BYTES:]
    ]
    parts += [
        HEAD_GROUP.pack(group.group, *group.hard_state, group.cut_index, group.cut_term)
        for group in head.groups
    ]
    return _seal(b"".join(parts))


def decode_head(raw: Buffer) -> Head:
    """Decode what `encode_head` made. Raises Malformed."""
    _check_seal(raw, HEAD_HEADER.size)
    _, version, kind, _, count, as_of, first_sequence = HEAD_HEADER.unpack_from(raw)
    if version != LOG_VERSION or kind != KIND_HEAD:
        raise Malformed(f"kind {kind}, {other_version(version, LOG_VERSION)}")
    if len(raw) != HEAD_HEADER.size + count * HEAD_GROUP.size:
        raise Malformed(f"{len(raw)} bytes for {count} groups")
    if not 1 <= first_sequence <= as_of + 1:
        raise Malformed(f"first sequence {first_sequence} as of {as_of}")
    head = Head(as_of, first_sequence)
    for group, term, vote, commit, cut_index, cut_term in HEAD_GROUP.iter_unpack(
        raw[HEAD_HEADER.size :]
    ):
        head.groups.append(HeadGroup(group, (term, vote, commit), cut_index, cut_term))
    return head


def head_size_bytes(group_count: int) -> int:
    """Return the length of a head with so many groups."""
    return HEAD_HEADER.size + group_count * HEAD_GROUP.size


# --- The items -------------------------------------------------------------------------------


@dataclass(slots=True)
class ReplicaState:
    """How far a replica's items are applied. Always written in one transaction with them."""

    applied_index: int
    applied_term: int
    configuration: bytes  # raft.types.Configuration.encode()
    table_sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # id -> (count, bytes)


def state_key(group: int) -> bytes:
    """Return the key of a replica's state."""
    return _STATE_KEY.pack(STATE_PREFIX, group)


def group_of_state_key(key: Buffer) -> int:
    """Return the group whose state lies under this key. Raises Malformed."""
    if len(key) != _STATE_KEY.size:
        raise Malformed(f"a replica's key has {len(key)} bytes")
    group: int = _STATE_KEY.unpack(key)[1]
    return group


def generation_key(group: int, number: int) -> bytes:
    """Return the key of a dedupe generation."""
    return _GENERATION_KEY.pack(GENERATION_PREFIX, group, number)


def number_of_generation_key(key: Buffer) -> int:
    """Return the number that `generation_key` was given. Raises Malformed."""
    if len(key) != _GENERATION_KEY.size:
        raise Malformed(f"a generation's key has {len(key)} bytes")
    number: int = _GENERATION_KEY.unpack(key)[2]
    return number


def generations_prefix(group: int) -> bytes:
    """Return what the keys of all dedupe generations of a group begin with."""
    return _STATE_KEY.pack(GENERATION_PREFIX, group)


def encode_format() -> bytes:
    """Encode the format marker of the items environment."""
    return _seal(_FORMAT.pack(0, ITEMS_VERSION)[CRC_BYTES:])


def decode_format(raw: Buffer) -> None:
    """Check the format marker. Raises Malformed."""
    _check_seal(raw, _FORMAT.size)
    _check_items_version(raw)


def encode_owner(owner: str) -> bytes:
    """Encode whose the items are: the incarnation of a data directory, in hexadecimal."""
    return _seal(_FORMAT.pack(0, ITEMS_VERSION)[CRC_BYTES:] + bytes.fromhex(owner))


def decode_owner(raw: Buffer) -> str:
    """Decode what `encode_owner` made. Raises Malformed."""
    _check_seal(raw, _FORMAT.size)
    _check_items_version(raw)
    return raw[_FORMAT.size :].hex()


def encode_state(state: ReplicaState) -> bytes:
    """Encode a replica's state. Pair of `decode_state`."""
    assert state.applied_index >= 0
    assert state.applied_term >= 0
    tables = sorted(state.table_sizes.items())
    parts = [
        _STATE.pack(
            0,
            ITEMS_VERSION,
            state.applied_index,
            state.applied_term,
            len(state.configuration),
            len(tables),
        )[CRC_BYTES:],
        state.configuration,
    ]
    parts += [_TABLE.pack(table_id, count, size) for table_id, (count, size) in tables]
    return _seal(b"".join(parts))


def decode_state(raw: Buffer) -> ReplicaState:
    """Decode what `encode_state` made. Raises Malformed."""
    _check_seal(raw, _STATE.size)
    _check_items_version(raw)
    _, _, applied_index, applied_term, length, count = _STATE.unpack_from(raw)
    tables_at = _STATE.size + length
    if len(raw) != tables_at + count * _TABLE.size:
        raise Malformed(f"{len(raw)} bytes for {length} of configuration and {count} tables")
    tables = {
        table_id: (item_count, size_bytes)
        for table_id, item_count, size_bytes in _TABLE.iter_unpack(raw[tables_at:])
    }
    configuration = bytes(raw[_STATE.size : tables_at])
    return ReplicaState(applied_index, applied_term, configuration, tables)


def encode_generation(data: bytes) -> bytes:
    """Wrap the bytes of a dedupe generation. Pair of `decode_generation`."""
    return _seal(_GENERATION.pack(0, ITEMS_VERSION)[CRC_BYTES:] + data)


def decode_generation(raw: Buffer) -> bytes:
    """Unwrap a dedupe generation. Raises Malformed."""
    _check_seal(raw, _GENERATION.size)
    _check_items_version(raw)
    return bytes(raw[_GENERATION.size :])


@dataclass(frozen=True, slots=True)
class InstallRecord:
    """A snapshot that is being installed: the replica has no state until it is all in.

    `arc` is [low token, high token); `checksum` that of the end of the file, which `view` names.
    """

    group: int
    view: bytes  # 16 bytes
    applied_index: int
    applied_term: int
    arc: tuple[int, int]
    checksum: int


def install_key(group: int) -> bytes:
    """Return the key of an install under way."""
    return _STATE_KEY.pack(INSTALL_PREFIX, group)


def encode_install(record: InstallRecord) -> bytes:
    """Encode an install under way. Pair of `decode_install`."""
    low, high = record.arc
    first, last = (low, high - 1) if low < high else (1, 0)
    return _seal(
        _INSTALL.pack(
            0,
            ITEMS_VERSION,
            record.view,
            record.applied_index,
            record.applied_term,
            first,
            last,
            record.checksum,
        )[CRC_BYTES:]
    )


def decode_install(key: Buffer, raw: Buffer) -> InstallRecord:
    """Decode what lies under the key of an install. Raises Malformed."""
    _check_seal(raw, _INSTALL.size)
    _check_items_version(raw)
    if len(raw) != _INSTALL.size:
        raise Malformed(f"{len(raw)} bytes, {_INSTALL.size} expected")
    _, _, view, index, term, first, last, checksum = _INSTALL.unpack(raw)
    arc = (first, last + 1) if first <= last else (0, 0)
    return InstallRecord(group_of_state_key(key), view, index, term, arc, checksum)


def encode_snapshot_state(state: ReplicaState, generations: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode what a snapshot carries beside its items. Pair of `decode_snapshot_state`."""
    encoded = encode_state(state)
    listed = sorted(generations)
    parts = [_SNAPSHOT.pack(0, ITEMS_VERSION, len(listed), len(encoded))[CRC_BYTES:], encoded]
    for number, data in listed:
        parts += (_SNAPSHOT_GENERATION.pack(number, len(data)), data)
    return _seal(b"".join(parts))


def decode_snapshot_state(raw: Buffer) -> tuple[ReplicaState, list[tuple[int, bytes]]]:
    """Decode what `encode_snapshot_state` made. Raises Malformed."""
    _check_seal(raw, _SNAPSHOT.size)
    _check_items_version(raw)
    _, _, count, length = _SNAPSHOT.unpack_from(raw)
    position = _SNAPSHOT.size + length
    state = decode_state(raw[_SNAPSHOT.size : position])
    generations: list[tuple[int, bytes]] = []
    try:
        for _ in range(count):
            number, size = _SNAPSHOT_GENERATION.unpack_from(raw, position)
            position += _SNAPSHOT_GENERATION.size
            generations.append((number, bytes(raw[position : position + size])))
            position += size
    except struct.error as error:
        raise Malformed(f"a generation is cut short: {error}") from error
    if position != len(raw):
        raise Malformed(f"{len(raw)} bytes, {position} expected")
    return state, generations


def seal_image(key: bytes, image: bytes) -> bytes:
    """Return an image as it is stored under a key. Pair of `open_image`.

    The seal covers the key: an image's own checksum would not tell that a key has changed.
    """
    assert image
    return _CRC.pack(crc32(image, crc32(key))) + image


def open_image(key: bytes, raw: bytes) -> bytes:
    """Return the image of what `seal_image` made. Raises Malformed."""
    image = raw[CRC_BYTES:]
    if not image or crc32(image, crc32(key)) != _CRC.unpack_from(raw)[0]:
        raise Malformed(f"the checksum of the image under key {key.hex()} does not match")
    return image


def verify_image(key: bytes, raw: bytes) -> bytes:
    """Return the image like `open_image`, if its own checksum matches too. Raises Malformed.

    That one is as old as the image: it tells of damage before it was stored.
    """
    image = open_image(key, raw)
    try:
        check_image(image)
    except CorruptImage as error:
        raise Malformed(f"the image under key {key.hex()}: {error}") from error
    return image


# --- Ranges of item keys: table id u32 · 16-byte hash whose first 8 bytes are the token · ... ----


def table_of(key: Buffer) -> int:
    """Return the table id of an item key. Raises Malformed if it is too short to have one."""
    if len(key) < _TABLE_AND_TOKEN.size:
        raise Malformed(f"an item key has {len(key)} bytes")
    table_id: int = _TABLE_ID.unpack_from(key)[0]
    return table_id


def token_of(key: Buffer) -> int:
    """Return the token of an item key of at least 12 bytes."""
    token: int = _TABLE_AND_TOKEN.unpack_from(key)[1]
    return token


def table_low(table_id: int) -> bytes:
    """Return the least key that an item of the table could have."""
    return _TABLE_ID.pack(table_id)


def arc_low(table_id: int, low_token: int) -> bytes:
    """Return the least key of the table at or after a token."""
    return _TABLE_AND_TOKEN.pack(table_id, low_token)


def arc_high(table_id: int, high_token: int) -> bytes | None:
    """Return the exclusive upper bound of the table's arc; None = the end of all keys."""
    assert 0 < high_token <= TOKEN_END
    if high_token < TOKEN_END:
        return _TABLE_AND_TOKEN.pack(table_id, high_token)
    if table_id < TABLE_ID_MAX:
        return _TABLE_ID.pack(table_id + 1)
    return None


# --- Seals -----------------------------------------------------------------------------------


def _seal(body: bytes) -> bytes:
    """Put the checksum of `body` before it."""
    return crc32(body).to_bytes(CRC_BYTES, "big") + body


def _check_seal(raw: Buffer, length_min: int) -> None:
    """Check length and checksum of sealed bytes. Raises Malformed."""
    if len(raw) < length_min:
        raise Malformed(f"{len(raw)} bytes, at least {length_min} expected")
    if crc32(raw[CRC_BYTES:]) != _CRC.unpack_from(raw)[0]:
        raise Malformed("its checksum does not match")


def _check_items_version(raw: Buffer) -> None:
    version = raw[CRC_BYTES]
    if version != ITEMS_VERSION:
        raise Malformed(other_version(version, ITEMS_VERSION))
