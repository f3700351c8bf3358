"""A disk that fails ends the process; one that is full makes it refuse, and go on when it is not.

Source: reliability.md, D1 to D3; raft.md, S50.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest

from quorate import Client
from quorate.local.background import wait_until
from tests.processes.conftest import TABLE
from tests.processes.faults.clusters import FaultyCluster, faulty_cluster
from tests.processes.faults.disk_shim import FOR_GOOD, Act, Target
from tests.processes.faults.stories import (
    GROUPS,
    WRITERS,
    Deaths,
    Fault,
    die_of,
)
from tests.processes.raw_client import RawClient
from tests.processes.writing import lost, writing

FAILS_SYNC_ONCE = Fault(act=Act.FAIL, value=errno.EIO, at=1)
FAILS_META_PAGE_ONCE = Fault(act=Act.FAIL, value=errno.EIO, at=2)
FAILS_WRITE_ONCE = Fault(act=Act.FAIL, value=errno.EIO, at=5, target=Target.WRITES)
FAILS_FOR_GOOD = Fault(act=Act.FAIL, value=errno.EIO, at=7, last=FOR_GOOD)
FULL_THEN_SHORT = ((Act.FAIL, errno.ENOSPC), (Act.STOP_SHORT, 1024))
"""No room for a page; then, a moment later, for its first block only."""

SYNCS_FIND_NO_ROOM = Fault(act=Act.FAIL, value=errno.ENOSPC, at=3, last=FOR_GOOD)


@pytest.fixture(scope="module")
def log_deaths(shim_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    with faulty_cluster(tmp_path_factory.mktemp("log"), shim_library, part="log") as faulty:
        yield Deaths(faulty)


@pytest.fixture(scope="module")
def items_deaths(shim_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    with faulty_cluster(tmp_path_factory.mktemp("items"), shim_library, part="items") as faulty:
        yield Deaths(faulty)


def assert_exits_and_loses_nothing(deaths: Deaths, fault: Fault) -> None:
    """LMDB would let the next commit succeed: an error that passes must not be survived."""
    death = die_of(deaths, fault)

    assert death.ended == "ended with exit code 3"
    assert death.last_words.count("storage_failed") == 1
    assert death.lost == []
    assert death.unexplained == []


@pytest.mark.parametrize(
    "fault", [FAILS_SYNC_ONCE, FAILS_META_PAGE_ONCE, FAILS_WRITE_ONCE, FAILS_FOR_GOOD]
)
def test_node_whose_log_fails_exits(log_deaths: Deaths, fault: Fault) -> None:
    assert_exits_and_loses_nothing(log_deaths, fault)


def test_node_whose_log_finds_no_room_at_a_sync_exits(log_deaths: Deaths) -> None:
    """What was written before the sync may be on the disk, or not: that is not a full disk."""
    assert_exits_and_loses_nothing(log_deaths, SYNCS_FIND_NO_ROOM)


def test_enough_was_done_around_the_errors_of_the_log(log_deaths: Deaths) -> None:
    log_deaths.assert_thick()


@pytest.mark.parametrize("fault", [FAILS_SYNC_ONCE, FAILS_META_PAGE_ONCE])
def test_node_whose_items_fail_exits(items_deaths: Deaths, fault: Fault) -> None:
    assert_exits_and_loses_nothing(items_deaths, fault)


def test_node_without_room_for_its_items_serves_on_and_catches_up(items_deaths: Deaths) -> None:
    """They stay in memory, and in the log; nobody needs to notice."""
    faulty = items_deaths.faulty
    shim = faulty.shims["a1"]

    async def story() -> None:
        async with RawClient(faulty.cluster.public.http) as raw:
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS) as account:
                before = shim.syncs
                await until(lambda: shim.syncs > before, "a checkpoint is written")
                await asyncio.sleep(0.5)  # its meta page too: to be without that is a failure
                shim.arm(Act.FAIL, value=errno.ENOSPC, last=FOR_GOOD, target=Target.WRITES)
                await logged(faulty, "a1", "checkpoint_refused_disk_full")
                shim.disarm()
                before = shim.syncs
                await until(lambda: shim.syncs > before, "a checkpoint is written")
            assert account.acknowledged
            assert account.failures == []

    asyncio.run(story())


async def until(done: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, done, what=what, timeout_seconds=20)


async def logged(faulty: FaultyCluster, name: str, event: str, start: int = 0) -> None:
    await until(lambda: event in faulty.node_log(name)[start:], f"{name} logs {event}")


async def refuse_and_recover(
    faulty: FaultyCluster, fill: Callable[[], None], free: Callable[[], None]
) -> None:
    """Fill the disk of a1 while it is one of two: nothing is acknowledged until it has room.

    Then a1 is the only one that can know what was acknowledged, and is asked for it.
    """
    cluster = faulty.cluster
    start = len(faulty.node_log("a1"))
    pid = cluster.pid_of("a1")
    async with (
        RawClient(cluster.public.http) as raw,
        Client(cluster.grpc_address, deadline_seconds=20.0) as client,
    ):
        async with writing(
            raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS, writers=WRITERS
        ) as account:
            await asyncio.to_thread(faulty.kill, "b1")
            acknowledged = account.acknowledged
            await until(lambda: len(acknowledged) > WRITERS, "two nodes acknowledge writes")
            fill()
            await logged(faulty, "a1", "storage_full", start)
            before = len(acknowledged)
            await asyncio.sleep(0.7)
            assert len(acknowledged) - before <= WRITERS, "only what was on its way to the client"
            free()
            await logged(faulty, "a1", "storage_has_room_again", start)
            await until(lambda: len(acknowledged) > before + WRITERS, "writes go on")
            assert cluster.pid_of("a1") == pid
            await asyncio.to_thread(faulty.kill, "c1")
            await asyncio.to_thread(cluster.restart, "b1")
            await asyncio.to_thread(cluster.wait_ready)
        assert await lost(client, TABLE, account) == []
    await asyncio.to_thread(faulty.heal)


@pytest.mark.parametrize("n", [1, 4])
def test_node_without_room_for_its_log_refuses_and_recovers(log_deaths: Deaths, n: int) -> None:
    faulty = log_deaths.faulty
    shim = faulty.shims["a1"]

    def fill() -> None:
        shim.arm(Act.FAIL, value=errno.ENOSPC, at=n, last=FOR_GOOD, target=Target.WRITES)

    asyncio.run(refuse_and_recover(faulty, fill, shim.disarm))


def test_node_whose_log_has_room_now_and_then_lives_on(log_deaths: Deaths) -> None:
    assert_lives_on(log_deaths.faulty, "storage_full", pages=(1, 3, 1, 2, 5))


def test_node_whose_items_have_room_now_and_then_lives_on(items_deaths: Deaths) -> None:
    assert_lives_on(items_deaths.faulty, "checkpoint_refused_disk_full", pages=(1,))


def assert_lives_on(faulty: FaultyCluster, refused: str, pages: Sequence[int]) -> None:
    """So many pages of a1 find no room, one number after the other; then all is well."""
    shim, cluster = faulty.shims["a1"], faulty.cluster
    pid, start = cluster.pid_of("a1"), len(faulty.node_log("a1"))

    async def story() -> None:
        async with (
            RawClient(cluster.public.http) as raw,
            Client(cluster.grpc_address, deadline_seconds=20.0) as client,
        ):
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS) as account:
                for count, (act, value) in product(pages, FULL_THEN_SHORT):
                    shim.arm(act, last=count, value=value, target=Target.PAGES)
                    await until(lambda: shim.pages > count, "pages are written")  # noqa: B023
                shim.disarm()
                before = len(account.acknowledged)
                await until(lambda: len(account.acknowledged) > before + 100, "writes go on")
            assert await lost(client, TABLE, account) == []

    asyncio.run(story())
    assert refused in faulty.node_log("a1")[start:], "thin"
    assert cluster.pid_of("a1") == pid
    cluster.wait_healthy()


def test_leader_whose_disk_hangs_is_replaced_and_follows_when_it_answers(
    log_deaths: Deaths,
) -> None:
    """One sync of four seconds: leadership goes elsewhere after two, and nothing is lost."""
    faulty, cluster = log_deaths.faulty, log_deaths.faulty.cluster

    async def story() -> None:
        leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": GROUPS[0]})
        start = len(faulty.node_log(leader))
        pid = cluster.pid_of(leader)
        async with (
            RawClient(cluster.public.http) as raw,
            Client(cluster.grpc_address, deadline_seconds=20.0) as client,
        ):
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS) as account:
                faulty.shims[leader].arm(Act.DELAY, value=4_000_000)
                await logged(faulty, leader, "disk_stalled", start)
                before = len(account.acknowledged)
                await until(lambda: len(account.acknowledged) > before + 100, "writes go on")
                assert faulty.shims[leader].syncs == 1, "the disk had answered by then"
            assert await lost(client, TABLE, account) == []
        await asyncio.to_thread(cluster.wait_healthy)
        assert cluster.pid_of(leader) == pid

    asyncio.run(story())


def test_node_on_a_full_disk_refuses_and_recovers(
    shim_library: Path, loop_disks: None, tmp_path: Path
) -> None:
    """A real one, filled to the last block by somebody else's file."""
    with faulty_cluster(tmp_path, shim_library, on_disks=True, disk_mib=32) as faulty:
        filler = faulty.node_directory("a1") / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                with contextlib.suppress(OSError):  # no room, as is wanted
                    while True:
                        file.write(bytes(1 << 16))
                os.fsync(file.fileno())

        asyncio.run(refuse_and_recover(faulty, fill, filler.unlink))
