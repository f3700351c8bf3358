"""The strict story of a node's death, and the cluster on which it is told many times.

    {survivor, victim} acknowledge writes, the bystander is down; the victim dies of its disk;
    the survivor is killed; victim and bystander are started, and asked for every write.

The victim is then the only one that can know what was acknowledged last: a copy that it
acknowledged and did not keep is missing. What the recorders saw on the way must be linearizable.
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
from tests.processes.history import ThinHistory, not_linearizable
from tests.processes.raw_client import RawClient
from tests.processes.recorder import NAMES, Recorder
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
    """One cluster for many stories, and how much its clients have done in all of them."""

    faulty: FaultyCluster
    victims: Iterator[str] = field(default_factory=lambda: cycle(NODES))
    told: int = 0
    operations: int = 0

    def assert_thick(self) -> None:
        """Raise ThinHistory if too little was done for the stories to prove anything."""
        if self.operations < OPERATIONS_OF_A_STORY * self.told:
            raise ThinHistory(f"{self.operations} operations in {self.told} stories")


@dataclass(frozen=True, slots=True)
class Death:
    """How a story ended."""

    ended: str  # in the supervisor's words
    last_words: str  # what the victim has logged in this story
    lost: list[str]  # acknowledged writes that are gone
    unexplained: list[str]  # registers and counters whose operations no order explains


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
        run = uuid4().hex
        recorders = [Recorder(raw, client, run, seed=fault.at) for client in range(RECORDERS)]
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
        for name in NAMES:
            await recorders[0].read_once(name)
    history = [operation for recorder in recorders for operation in recorder.history]
    deaths.told += 1
    deaths.operations += sum(operation.status == "ok" for operation in history)
    await asyncio.to_thread(faulty.heal)
    return Death(ended, last_words, gone, not_linearizable(history))
