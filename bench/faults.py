"""The faults of `bench.gaps`: each breaks something of a running cluster and mends it again.

A fault takes the stage and returns when the quorum was back, or None if it has taken none away: for
a resume its moment, for restarts when as many nodes as a majority needs take part again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.node_log import read_events
from bench.packets import PacketCage
from quorate.local.background import BackgroundCluster, leader_in, wait_until
from tests.processes.faults.disk_shim import FOR_GOOD, Act, DiskShim

OUTAGE_SECONDS = (2.0, 3.0)
"""How long a fault lasts, drawn anew each time. Ours: longer than an election, shorter than the
four seconds after which a router gives a write up."""

QUICK_SECONDS = 0.3
"""How long a restart right after a kill waits. Ours: as a supervisor's."""

START_SECONDS_MAX = 20.0


@dataclass(slots=True)
class Stage:
    """A cluster and what can be done to it. No cages: packets cannot be cut here."""

    cluster: BackgroundCluster
    rng: random.Random
    cages: Mapping[str, PacketCage]
    shims: Mapping[str, DiskShim]
    victims: list[str] = field(default_factory=list)  # of the fault that goes on

    def outage(self) -> None:
        """Let the fault last."""
        time.sleep(self.rng.uniform(*OUTAGE_SECONDS))

    def choose(self, count: int = 1) -> Sequence[str]:
        """Choose so many nodes: those that lead the most partitions."""
        status = self.cluster.status()
        led = Counter(leader_in(status, each["id"]) or "" for each in status["partitions"])
        nodes = [node["name"] for node in status["nodes"]]
        self.victims = sorted(nodes, key=lambda name: -led[name])[:count]
        return self.victims

    def choose_catalog_leader(self) -> Sequence[str]:
        """Choose the node that leads the catalog."""
        self.victims = [self.cluster.status()["catalog"]["leader"]]
        return self.victims

    def others(self, name: str) -> Sequence[str]:
        """Return the other nodes."""
        views = self.cluster.processes().values()
        return [one.name for one in views if one.kind == "node" and one.name != name]

    def port_of(self, name: str) -> int:
        """Return where a node listens."""
        return self.cluster.processes()[name].ports["node"]

    def signal_all(self, names: Sequence[str], number: signal.Signals) -> None:
        """Send a signal to several processes in the same moment."""
        for pid in [self.cluster.pid_of(name) for name in names]:
            os.kill(pid, number)

    def kill(self, names: Sequence[str]) -> None:
        """Kill processes in the same moment."""
        self.signal_all(names, signal.SIGKILL)
        for name in names:
            self.cluster.wait_ended(name)

    def restart(self, names: Sequence[str]) -> None:
        """Start processes that have ended."""
        for name in names:
            self.cluster.restart(name)
            if name in self.cages:
                self.cages[name].take_in(self.cluster.pid_of(name))

    def taking_part(self, count: int, since: float) -> float:
        """Wait until so many nodes have begun to take part since then; return when."""
        found: list[float] = []

        def have() -> bool:
            found[:] = [one.at for one in read_events(self.cluster, since) if one.name == "serving"]
            return len(found) >= count

        what = f"{count} nodes take part"
        wait_until(have, what=what, timeout_seconds=START_SECONDS_MAX)
        return found[count - 1]


def _nothing(stage: Stage) -> None:
    stage.outage()


def _kill(stage: Stage, names: Sequence[str]) -> None:
    stage.kill(names)
    stage.outage()
    stage.restart(names)


def _kill_one(stage: Stage) -> None:
    _kill(stage, stage.choose())


def _kill_catalog_leader(stage: Stage) -> None:
    _kill(stage, stage.choose_catalog_leader())


def _kill_router(stage: Stage) -> None:
    stage.victims = ["r1"]
    _kill(stage, stage.victims)


def _kill_two(stage: Stage) -> float:
    names = stage.choose(2)
    _kill(stage, names)
    return stage.taking_part(1, time.monotonic() - 1)


def _kill_all(stage: Stage) -> float:
    names = stage.choose(3)
    stage.kill(names)
    time.sleep(QUICK_SECONDS)
    began = time.monotonic()
    stage.restart(names)
    return stage.taking_part(2, began)


def _pause_one(stage: Stage) -> None:
    _pause(stage, stage.choose())


def _pause_two(stage: Stage) -> float:
    return _pause(stage, stage.choose(2))


def _pause(stage: Stage, names: Sequence[str]) -> float:
    stage.signal_all(names, signal.SIGSTOP)
    stage.outage()
    stage.signal_all(names, signal.SIGCONT)
    return time.monotonic()


def _power_cut(stage: Stage) -> None:
    """Nothing of what its kernel would say on behalf of a dead process gets out."""
    (name,) = stage.choose()
    stage.signal_all([name], signal.SIGSTOP)
    stage.cages[name].cut_off()
    stage.outage()
    stage.kill([name])
    stage.cages[name].heal()
    stage.restart([name])


def _cut_off(stage: Stage) -> None:
    """Its packets to other nodes and theirs to it vanish; routers reach all."""
    (name,) = stage.choose()
    others = stage.others(name)
    _cut(stage, [(name, other) for other in others] + [(other, name) for other in others])


def _deaf(stage: Stage) -> None:
    """It reaches the others, so they go on to believe in it until it has stepped down."""
    (name,) = stage.choose()
    _cut(stage, [(other, name) for other in stage.others(name)])


def _cut_between_two(stage: Stage) -> None:
    (name,) = stage.choose()
    other = stage.others(name)[0]
    _cut(stage, [(name, other), (other, name)])


def _cut(stage: Stage, ways: Sequence[tuple[str, str]]) -> None:
    """Drop what nodes send to where others listen, for a while."""
    for sender, to in ways:
        stage.cages[sender].cut_to(stage.port_of(to))
    stage.outage()
    for sender in {sender for sender, _ in ways}:
        stage.cages[sender].heal()


def _hung_disk(stage: Stage) -> None:
    (name,) = stage.choose()
    seconds = OUTAGE_SECONDS[1] + 1.0
    stage.shims[name].arm(Act.DELAY, last=FOR_GOOD, value=int(seconds * 1e6))
    time.sleep(seconds)
    stage.shims[name].disarm()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and what is needed to make it."""

    what: str
    make: Callable[[Stage], float | None]
    cuts: bool = False
    hangs_disks: bool = False


FAULTS: Mapping[str, Fault] = {
    "none": Fault("nothing, to compare with", _nothing),
    "kill-one": Fault("a node killed", _kill_one),
    "kill-catalog-leader": Fault("the catalog's leader killed", _kill_catalog_leader),
    "kill-two": Fault("two nodes killed, then started", _kill_two),
    "kill-all": Fault("all three nodes killed, then started", _kill_all),
    "pause-one": Fault("a node paused", _pause_one),
    "pause-two": Fault("two nodes paused, then resumed", _pause_two),
    "power-cut": Fault("a node's machine loses power", _power_cut, cuts=True),
    "cut-off": Fault("a node cut off from the others", _cut_off, cuts=True),
    "deaf": Fault("a node hears nothing from the others, they hear it", _deaf, cuts=True),
    "cut-between-two": Fault("two nodes cut off from each other", _cut_between_two, cuts=True),
    "hung-disk": Fault("a node's disk hangs", _hung_disk, hangs_disks=True),
    "kill-router": Fault("one of two routers killed", _kill_router),
}
