"""The data directories of a cluster of format 1: checked, served, and refused if they are newer."""

from __future__ import annotations

import json
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

import lmdb
import pytest

from node.storage import layout
from node.storage.check import check_data_directory
from node.storage.identity import load_identity
from tests.compatibility.paths import CLUSTER, CONTENTS

NODES = ("a1", "b1", "c1")
NEWER = "version 2; this release reads 1. If a newer one wrote it, start that one"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The unpacked directory of the cluster."""
    with tarfile.open(CLUSTER) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "data"


@pytest.mark.parametrize("name", NODES)
def test_directory_is_sound(data: Path, name: str) -> None:
    report = check_data_directory(data / "nodes" / name)

    assert report.findings == []
    assert report.groups == 3
    assert report.entries > 200
    assert load_identity(data / "nodes" / name) is not None


def test_trees_hold_what_clients_wrote(data: Path) -> None:
    """Of the node that stopped politely: everything; its memtable is in the tree."""
    report = check_data_directory(data / "nodes" / "a1")

    assert report.items == sum(map(len, json.loads(CONTENTS.read_text()).values()))


def sealed_as_newer(raw: bytes, version_at: int, covered: slice) -> bytes:
    """Return the bytes with the next version and a checksum that is right."""
    changed = bytearray(raw)
    changed[version_at] += 1
    struct.pack_into(">I", changed, 0, crc32(changed[covered]))
    return bytes(changed)


def records(data: Path) -> Iterator[tuple[bytes, bytes]]:
    environment = lmdb.open(str(data / "nodes" / "a1" / "log"), readonly=True, lock=False)
    with environment, environment.begin() as transaction:
        yield from ((bytes(key), bytes(value)) for key, value in transaction.cursor())


def rewrite(directory: Path, store: str, database: bytes | None, key: bytes, value: bytes) -> None:
    environment = lmdb.open(str(directory / store), max_dbs=4, map_size=1 << 36)
    with environment, environment.begin(write=True) as transaction:
        handle = environment.open_db(database, transaction)  # None: the main database
        assert transaction.put(key, value, db=handle)


def test_newer_log_record_is_refused(data: Path) -> None:
    key, raw = next((key, raw) for key, raw in records(data) if key != layout.HEAD_KEY)
    (body_bytes,) = struct.unpack_from(">8xI", raw)
    newer = sealed_as_newer(raw, 4, slice(4, layout.RECORD_HEADER.size + body_bytes))
    rewrite(data / "nodes" / "a1", "log", None, key, newer)

    (finding,) = check_data_directory(data / "nodes" / "a1").findings
    assert NEWER in finding


def test_newer_log_head_is_refused(data: Path) -> None:
    raw = dict(records(data))[layout.HEAD_KEY]
    rewrite(
        data / "nodes" / "a1", "log", None, layout.HEAD_KEY, sealed_as_newer(raw, 4, slice(4, None))
    )

    (finding,) = check_data_directory(data / "nodes" / "a1").findings
    assert NEWER in finding


def test_newer_items_store_is_refused(data: Path) -> None:
    newer = sealed_as_newer(layout.encode_format(), 4, slice(4, None))
    rewrite(data / "nodes" / "a1", "items", b"replicas", layout.FORMAT_KEY, newer)

    (finding,) = check_data_directory(data / "nodes" / "a1").findings
    assert NEWER in finding


@pytest.mark.parametrize(
    ("raw", "decode"),
    [
        (layout.encode_format(), layout.decode_format),
        (layout.encode_state(layout.ReplicaState(1, 1, b"")), layout.decode_state),
        (layout.encode_generation(b"x"), layout.decode_generation),
        (
            layout.encode_install(layout.InstallRecord(1, b"v" * 16, 1, 1, (0, 9), 7)),
            partial(layout.decode_install, layout.install_key(1)),
        ),
    ],
    ids=["format", "state", "generation", "install"],
)
def test_newer_structure_of_the_items_store_is_refused(
    raw: bytes, decode: Callable[[bytes], object]
) -> None:
    decode(raw)

    with pytest.raises(layout.Malformed, match=NEWER):
        decode(sealed_as_newer(raw, 4, slice(4, None)))
