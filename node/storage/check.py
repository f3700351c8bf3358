"""The offline check of a data directory: everything that can be verified, verified.

For operators and for tests after a crash. Changes nothing; the node must be stopped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from node.storage.environment import DATA_FILE, Refuse, check_file
from node.storage.errors import CorruptItems, StorageError
from node.storage.identity import (
    ITEMS_DIRECTORY,
    LOG_DIRECTORY,
    DirectoryLock,
    load_identity,
)
from node.storage.items import ItemStore
from node.storage.items_install import SnapshotInstall
from node.storage.log import LogStore
from node.storage.snapshot_file import SNAPSHOTS_DIRECTORY


@dataclass(slots=True)
class CheckReport:
    """What was found. Sound if `findings` is empty."""

    groups: int = 0
    entries: int = 0
    items: int = 0
    findings: list[str] = field(default_factory=list)


def check_data_directory(directory: Path) -> CheckReport:
    """Check identity, log and items of a stopped node.

    Raises DirectoryInUse if it is not stopped, DirectoryUnusable.
    """
    report = CheckReport()
    lock = DirectoryLock.acquire(directory)
    try:
        for check in (_check_identity, _check_log, _check_items):
            try:
                check(directory, report)
            except StorageError as error:
                report.findings.append(str(error))
    finally:
        lock.release()
    return report


def _check_identity(directory: Path, report: CheckReport) -> None:
    if load_identity(directory) is None:
        report.findings.append(f"{directory} has never been used")


def _check_log(directory: Path, report: CheckReport) -> None:
    log = LogStore.open(directory / LOG_DIRECTORY, create=False)  # verifies every record
    groups = log.recovered().values()
    log.close()
    report.groups = len(groups)
    report.entries = sum(group.last_index - group.cut_index for group in groups)


def _check_items(directory: Path, report: CheckReport) -> None:
    path = directory / ITEMS_DIRECTORY
    refuse = Refuse(CorruptItems, path, "See the other findings")
    if path.exists():
        check_file(path / DATA_FILE, refuse, verify_bytes_max=sys.maxsize)
    items = ItemStore.open(path, create=False)
    try:
        for group in items.replicas():
            items.generations(group)
        for record in items.installs():
            SnapshotInstall(record, directory / SNAPSHOTS_DIRECTORY, begun=True).verify()
        position: bytes | None = b""
        while position is not None:
            position = items.scrub(position)
        report.items = items.item_count()
    finally:
        items.close()
