"""The offline check of a data directory: everything that can be verified, verified.

For operators and for tests after a crash. Changes nothing; the node must be stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from node.storage.agreement import check_agreement
from node.storage.environment import DATA_FILE, Refuse, check_file
from node.storage.errors import CorruptItems, NotADataDirectory, StorageError
from node.storage.identity import (
    IDENTITY_FILE,
    ITEMS_DIRECTORY,
    LOG_DIRECTORY,
    DirectoryLock,
    load_identity,
)
from node.storage.items import WHAT_TO_DO, ItemStore
from node.storage.items_install import SnapshotInstall
from node.storage.log import LogStore
from node.storage.snapshot_file import SNAPSHOTS_DIRECTORY
from raft.types import HardState, LogReader

P = ParamSpec("P")
T = TypeVar("T")

_Log = tuple[HardState, LogReader]
_Applied = tuple[int, int]  # index and term


@dataclass(slots=True)
class CheckReport:
    """What was found. Sound if `findings` is empty."""

    groups: int = 0
    entries: int = 0
    items: int = 0
    findings: list[str] = field(default_factory=list)


def check_data_directory(directory: Path) -> CheckReport:
    """Check identity, log and items of a stopped node, and that they fit together.

    Raises NotADataDirectory, DirectoryInUse if the node is not stopped, DirectoryUnusable.
    """
    parts = (IDENTITY_FILE, LOG_DIRECTORY, ITEMS_DIRECTORY)
    if not any((directory / part).exists() for part in parts):
        raise NotADataDirectory(directory)
    report = CheckReport()
    lock = DirectoryLock.acquire(directory)
    try:
        identity = _try(report, load_identity, directory)
        owner = identity.incarnation if identity is not None else ""
        logs = _try(report, _check_log, directory, report, owner)
        replicas = _try(report, _check_items, directory, report, owner)
        if logs is not None and replicas is not None:
            _check_agreement(logs, replicas, report)
    finally:
        lock.release()
    return report


def _try(
    report: CheckReport, check: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T | None:
    """Return what a check returns, None if it has found something."""
    try:
        return check(*arguments, **named)
    except StorageError as error:
        report.findings.append(str(error))
        return None


def _check_log(directory: Path, report: CheckReport, owner: str = "") -> dict[int, _Log]:
    """Verify every record; return the log of every group, whose entries cannot be read any more."""
    log = LogStore.open(directory / LOG_DIRECTORY, create=False, owner=owner)
    groups = log.recovered()
    log.close()
    report.groups = len(groups)
    report.entries = sum(group.last_index - group.cut_index for group in groups.values())
    return {group: (found.hard_state, log.reader(group)) for group, found in groups.items()}


def _check_items(directory: Path, report: CheckReport, owner: str = "") -> dict[int, _Applied]:
    """Return how far every replica is applied, or will be once its install is done."""
    path = directory / ITEMS_DIRECTORY
    if path.exists():
        refuse = Refuse(CorruptItems, path, WHAT_TO_DO)
        check_file(path / DATA_FILE, refuse, verify_bytes_max=sys.maxsize)
    items = ItemStore.open(path, create=False, owner=owner)
    try:
        applied: dict[int, _Applied] = {}
        for group, state in items.replicas().items():
            items.generations(group)
            applied[group] = state.applied_index, state.applied_term
        for record in items.installs():
            SnapshotInstall(record, directory / SNAPSHOTS_DIRECTORY, begun=True).verify()
            applied[record.group] = record.applied_index, record.applied_term
        position: bytes | None = b""
        while position is not None:
            position = items.scrub(position)
        report.items = items.item_count()
        return applied
    finally:
        items.close()


def _check_agreement(
    logs: dict[int, _Log], replicas: dict[int, _Applied], report: CheckReport
) -> None:
    """Do what a start does before it trusts the two stores together."""
    for group, (hard_state, log) in sorted(logs.items()):
        applied, applied_term = replicas.get(group, (0, 0))
        _try(
            report,
            check_agreement,
            group,
            log,
            hard_state,
            applied=applied,
            applied_term=applied_term,
        )
