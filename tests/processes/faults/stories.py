"""The strict story of a node's death, and the cluster on which it is told many times.

    {survivor, victim} acknowledge writes, the bystander is down; the victim dies of its disk;
    the survivor is killed; victim and bystander are started, and asked for every write.

The victim is then the only one that can know what was acknowledged last: a copy that it
acknowledged and did not keep is missing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from uuid import uuid4

from quorate import Client
from quorate.local.background import wait_until
from tests.processes.conftest import TABLE
from tests.processes.faults.clusters import NODES, FaultyCluster
from tests.processes.faults.disk_shim import Act, Target
from tests.processes.history import Operation, not_linearizable, require_thick
from tests.processes.raw_client import RawClient
from tests.processes.recorder import COUNTERS, NAMES, REGISTERS, Recorder
from tests.processes.writing import lost, writing

GROUPS = [f"group-{number}" for number in range(12)]
RECORDERS = 6
WRITERS = 24
DEATH_SECONDS = 30.0
OPERATIONS_OF_A_STORY = 15
"""What the recorders must have done at least, on average, before and after a death."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the victim's disk does, counted from the moment when two nodes acknowledge writes."""

    act: Act
    at: int
    last: int | None = None
    target: Target = Target.SYNCS
    value: int = 0


@dataclass(slots=True)
class Deaths:
    """One cluster for many stories, and everything that its clients saw."""

    faulty: FaultyCluster
    victims: Iterator[str] = field(default_factory=lambda: cycle(NODES))
    run: str = field(default_factory=lambda: uuid4().hex)
    history: list[Operation] = field(default_factory=list)
    told: int = 0
    clients: int = 0

    def recorders(self, raw: RawClient) -> list[Recorder]:
        """New clients: an operation that was cut off belongs to one that is gone."""
        self.clients += RECORDERS
        numbers = range(self.clients - RECORDERS, self.clients)
        return [Recorder(raw, number, self.run, seed=1) for number in numbers]


@dataclass(frozen=True, slots=True)
class Death:
    """How a story ended: the supervisor's words, and the acknowledged writes that are gone."""

    victim: str
    ended: str
    last_words: str  # what the victim has logged in this story
    lost: list[str]


def die_of(deaths: Deaths, fault: Fault) -> Death:
    """Tell one story; afterwards all nodes are well."""
    return asyncio.run(_story(deaths, fault))


async def _story(deaths: Deaths, fault: Fault) -> Death:
    faulty, cluster = deaths.faulty, deaths.faulty.cluster
    victim = next(deaths.victims)
    others = [name for name in NODES if name != victim]
    survivor, bystander = random.Random(fault.at).sample(others, 2)
    logged = len(faulty.node_log(victim))
    stop = asyncio.Event()

    def until_the_victim_dies() -> str:
        faulty.kill(bystander)
        before = len(account.acknowledged)
        wait_until(
            lambda: len(account.acknowledged) >= before + WRITERS,
            what="two nodes acknowledge writes",
            timeout_seconds=10,
        )
        faulty.shims[victim].arm(
            fault.act, at=fault.at, last=fault.last, target=fault.target, value=fault.value
        )
        return cluster.wait_ended(victim, timeout_seconds=DEATH_SECONDS)

    def swap() -> None:
        faulty.kill(survivor)
        faulty.shims[victim].disarm()
        if faulty.disks:
            faulty.disks[victim].power_on()
        for name in (victim, bystander):
            cluster.restart(name)
        cluster.wait_ready()

    async with (
        RawClient(cluster.public.http) as raw,
        Client(cluster.grpc_address, deadline_seconds=20.0) as client,
    ):
        recorders = deaths.recorders(raw)
        async with (
            asyncio.TaskGroup() as tasks,
            writing(
                raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS, writers=WRITERS
            ) as account,
        ):
            for recorder in recorders:
                tasks.create_task(recorder.work(stop))
            ended = await asyncio.to_thread(until_the_victim_dies)
            last_words = faulty.node_log(victim)[logged:]
            await asyncio.to_thread(swap)
            stop.set()
        gone = await lost(client, TABLE, account)
        deaths.history += [each for recorder in recorders for each in recorder.history]
    await asyncio.to_thread(faulty.heal)
    deaths.told += 1
    return Death(victim, ended, last_words, gone)


def assert_linearizable(deaths: Deaths) -> None:
    """Check what the clients of all stories together saw, after reading everything once more."""

    async def read_all() -> None:
        async with RawClient(deaths.faulty.cluster.public.http) as raw:
            (recorder, *_) = deaths.recorders(raw)
            for name in NAMES:
                await recorder.read_once(name)
            deaths.history += recorder.history

    asyncio.run(read_all())
    ok_min = OPERATIONS_OF_A_STORY * deaths.told
    require_thick(deaths.history, ok_min=ok_min, keys_min=REGISTERS + COUNTERS)
    assert not_linearizable(deaths.history) == []
