"""Opening an LMDB environment safely, and telling "full" from "broken".

LMDB maps a truncated file without a word and the process dies of SIGBUS at the first read; so
the file is checked against its own meta pages, by plain reads, before it is mapped.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import lmdb
from lmdb.verify import VerifyError, verify

from node.storage.errors import Corrupt, StorageFailed, StorageFull
from quorate.security.private_directory import DIRECTORY_MODE, FILE_MODE

LMDB_MAJOR: Final = 0
"""LMDB 0.9: its file format, and not that of 1.0, which neither reads of the other's."""

DATA_FILE: Final = "data.mdb"

FULL_BELOW_BYTES: Final = 1 << 20
"""A disk with less room is full. LMDB writes at most 64 pages at once, 256 KiB."""

FULL_LATELY_SECONDS: Final = 60.0
"""How long after a disk was found full a write that stopped short is put down to that, even if
there is room again by then. Ours: room that comes and goes has mostly gone before."""

_META: Final = struct.Struct("=16xIIQQ96xQQ")
"""A meta page of LMDB 0.9 on 64 bits, in native byte order: (page header), magic, version,
address, map size, (two databases), last page, transaction id. Source: mdb.c, MDB_meta."""

_PAGE_BYTES: Final = struct.Struct("=40xI")
"""The page size: the first field of the first of the two databases. Source: same."""

_META_MAGIC: Final = 0xBEEFC0DE
_META_VERSION: Final = 1
_PAGE_BYTES_ALLOWED: Final = frozenset(1 << shift for shift in range(9, 17))

assert _META.size == 152


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOptions:
    """What the log and the items want to be different."""

    map_size_bytes: int
    metasync: bool
    readahead: bool
    verify_bytes_max: int  # up to this size, the whole tree is walked before it is mapped
    databases_max: int = 0
    readers_max: int = 126


class Refuse:
    """Makes the store's own Corrupt error, with where it was and what to do about it."""

    __slots__ = ("_error", "_what_to_do", "_where")

    def __init__(self, error: type[Corrupt], where: Path, what_to_do: str) -> None:
        self._error = error
        self._where = where
        self._what_to_do = what_to_do

    def __call__(self, what: str) -> Corrupt:
        """Return the error, to be raised."""
        return self._error(what, str(self._where), self._what_to_do)


def open_environment(
    path: Path,
    options: EnvironmentOptions,
    refuse: Refuse,
    *,
    create: bool,
    fill: Callable[[lmdb.Environment], None],
) -> lmdb.Environment:
    """Open the environment in directory `path`; make it first if there is none.

    A new one is made aside, filled by `fill`, synced and renamed: so a missing or empty data
    file is never taken for a new one. Raises what `refuse` makes, StorageFull or StorageFailed.
    """
    try:
        if not path.exists():
            if not create:
                raise refuse("it is missing")
            _create(path, options, fill)
        data = path / DATA_FILE
        needed_bytes = check_file(data, refuse, verify_bytes_max=options.verify_bytes_max)
        if data.stat().st_size < needed_bytes:
            # To read a mapped page that is not in the file is a SIGBUS; zeros fail a checksum.
            os.truncate(data, needed_bytes)
        environment = _map(path, options)
        environment.reader_check()
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
        raise refuse(f"LMDB cannot read it ({error})") from error
    except (lmdb.Error, OSError) as error:
        raise storage_error(error, f"opening {path}") from error
    return environment


def _create(
    path: Path, options: EnvironmentOptions, fill: Callable[[lmdb.Environment], None]
) -> None:
    aside = path.with_name(path.name + ".new")
    if aside.exists():  # a start that was killed half-way; nobody has used it
        shutil.rmtree(aside)
    aside.mkdir(DIRECTORY_MODE, parents=True)
    environment = _map(aside, options)
    try:
        fill(environment)
        environment.sync(True)  # noqa: FBT003 - lmdb's own signature
    finally:
        environment.close()
    sync_directory(aside)
    aside.rename(path)
    sync_directory(path.parent)


def _map(path: Path, options: EnvironmentOptions) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=options.map_size_bytes,
        subdir=True,
        metasync=options.metasync,
        sync=True,
        readahead=options.readahead,
        max_readers=options.readers_max,
        max_dbs=options.databases_max,
        max_spare_txns=4,
        mode=FILE_MODE,
        lib_version=LMDB_MAJOR,
    )


def check_file(data: Path, refuse: Refuse, *, verify_bytes_max: int) -> int:
    """Check, without mapping it, that a data file is whole; return how long it has to be.

    Raises what `refuse` makes, StorageFailed. A file of at most `verify_bytes_max` bytes is walked
    page by page: some 75 MB a second.
    """
    try:
        size_bytes = data.stat().st_size
        with data.open("rb") as file:
            first = file.read(_META.size)
            page_bytes = _PAGE_BYTES.unpack_from(first)[0] if len(first) == _META.size else 0
            file.seek(page_bytes)
            second = file.read(_META.size)
    except FileNotFoundError as error:
        raise refuse(f"{DATA_FILE} is missing") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise refuse(f"{DATA_FILE} is not there ({error.strerror})") from error
    except OSError as error:
        raise storage_error(error, f"reading {data}") from error
    if len(first) < _META.size or len(second) < _META.size:
        raise refuse(f"{DATA_FILE} was cut short, to {size_bytes} bytes")
    metas = [_META.unpack(raw) for raw in (first, second)]
    if page_bytes not in _PAGE_BYTES_ALLOWED or any(
        (magic, version) != (_META_MAGIC, _META_VERSION) for magic, version, *_ in metas
    ):
        raise refuse(f"{DATA_FILE} has a damaged meta page, or is not of LMDB 0.9")
    transactions = [meta[-1] for meta in metas]
    # Each commit writes the older of the two pages, with the next id.
    if any(transactions) and abs(transactions[0] - transactions[1]) != 1:
        raise refuse(f"the meta pages of {DATA_FILE} disagree: transactions {transactions}")
    last_page = max(metas, key=lambda meta: meta[-1])[-2]
    needed_bytes: int = (last_page + 1) * page_bytes
    # The last pages of a file, if they are free, may never have been written: a file that is
    # too short may still be whole, and only a walk of the tree can tell; and that not quite, for
    # of a value of several pages it looks at the first only.
    if size_bytes < needed_bytes:
        _verify(data, refuse, f"was cut short, to {size_bytes} of {needed_bytes} bytes")
    elif size_bytes <= verify_bytes_max:
        _verify(data, refuse, "is damaged")
    return needed_bytes


def _verify(data: Path, refuse: Refuse, verdict: str) -> None:
    try:
        findings: list[str] = verify(str(data), subdir=False)  # type: ignore[no-untyped-call]
    except VerifyError as error:
        raise refuse(f"{DATA_FILE} {verdict}: {error}") from error
    if findings:
        raise refuse(f"{DATA_FILE} {verdict}: {findings[0]} ({len(findings)} findings)")


def storage_error(
    error: Exception, doing: str, file: FileWatch | None = None
) -> StorageFull | StorageFailed:
    """Return what an error of LMDB or the system means for the node.

    Full is only what is found before a sync: the map is full, or a page could not be written for
    want of space (DiskError is ENOSPC). A sync may fail with ENOSPC too, where blocks are given
    out late; nobody knows then what is on the disk. `file`, the one that was written, tells. Of a
    page that found room for its first blocks only, LMDB says EIO; the disk is full then too, or was
    a moment ago.
    """
    if isinstance(error, lmdb.MapFullError):
        return StorageFull(f"{doing}: the map is full; raise the map size and restart")
    no_room = isinstance(error, lmdb.DiskError)
    if file is not None and no_room:
        file.disk_was_full()
    if no_room or (file is not None and _may_be_short_write(error) and file.disk_is_full()):
        if file is not None and file.lost_a_write():
            return StorageFailed(f"{doing}: the sync failed for want of space")
        return StorageFull(f"{doing}: no space left on the device")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"{doing}: {error}")
    return StorageFailed(f"{doing}: {error}")


def write_error(
    error: Exception, doing: str, file: FileWatch, environment: lmdb.Environment
) -> StorageFull | StorageFailed:
    """Return what the error of a write transaction, which is over, means for the node.

    Full is only what may be tried again: the pages of a transaction, all of which the next attempt
    writes anew, and on which nothing rests that was ever acknowledged. Not the meta page, which
    would have made them count: LMDB writes nothing more then, and does not know what is there.
    """
    failure = storage_error(error, doing, file)
    if isinstance(failure, StorageFull):
        try:
            environment.begin(write=True).abort()
        except lmdb.Error as panic:
            return StorageFailed(f"{doing}: its meta page was not written ({error}): {panic}")
    return failure


def _may_be_short_write(error: Exception) -> bool:
    """Whether LMDB means EIO, for which it has no class of its own. Source: mdb_page_flush."""
    return type(error) is lmdb.Error and str(error).endswith(os.strerror(errno.EIO))


class FileWatch:
    """Looks after a file that we have open: is it still there, has a write of it been lost?"""

    __slots__ = ("_descriptor", "_full_at", "_path")

    def __init__(self, path: Path) -> None:
        """Remember the file as it is now. Raises StorageFailed."""
        self._path = path
        self._full_at = -inf
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, f"opening {path}") from error

    def check(self) -> None:
        """Raise StorageFailed if the path does not lead to the same file any more."""
        try:
            there = self._path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._descriptor)):
            raise StorageFailed(f"{self._path} was deleted or replaced while in use")

    def lost_a_write(self) -> bool:
        """Whether the kernel could not write a page of the file back, and so dropped it.

        It says so once to every descriptor that was open at the time, so LMDB's having heard of
        it does not hide it from ours. Source: the kernel's Documentation on errseq_t.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            return True
        return False

    def disk_was_full(self) -> None:
        """Take note that there was no room for a write."""
        self._full_at = time.monotonic()

    def disk_is_full(self) -> bool:
        """Whether the disk has no room for a transaction of ordinary size, or had none lately."""
        disk = os.fstatvfs(self._descriptor)
        if disk.f_bavail * disk.f_frsize < FULL_BELOW_BYTES:
            self.disk_was_full()
        return time.monotonic() - self._full_at < FULL_LATELY_SECONDS

    def close(self) -> None:
        """Let go of the file. Harmless when done already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
