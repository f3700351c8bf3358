"""For how long writes stop at each fault.

    python -m bench.gaps [--runs 10] [--only kill-one,power-cut] [--timeline] [--secure]

A cluster of three nodes and two routers, and two writers for each partition: each puts one item
after the other through one `quorate.Client`, 20 ms between an answer and the next put. The client
tries again, with the same request id, until a write is acknowledged. Then a fault strikes the nodes
that lead the most partitions, at a random moment, and is mended two to three seconds later.

*gap*: for each partition the longest time between two acknowledgements of its writers, the later of
which came after the fault, until a second after all is mended and written to again; of these the
longest of any partition. So it is what the unluckiest client sees, and its normal part, 20 ms and a
write, is in it: compare with `none`. For faults that take the quorum away it includes the outage.

*from quorum*: for those faults, the time from the moment at which the quorum was back (processes
resumed; or the node that completes a majority says that it takes part, which comes a second or more
after its start) until each partition has acknowledged a write: of these the longest.

Faults on packets need root (see `bench.packets`), a hung disk a C compiler; what cannot be done is
said and skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import results
from bench.faults import FAULTS, Fault, Stage
from bench.node_log import read_events
from bench.packets import CannotCut, PacketCage
from bench.processes import pids_of
from bench.tables import create_table, key_of_each_partition, on_demand
from quorate.client import Client, QuorateError
from quorate.local.background import BackgroundCluster, free_ports, wait_until
from quorate.local.topology import HOST, new_topology, write_stamp
from tests.processes.faults.disk_shim import DiskShim, compile_shim, environment

TABLE = "bench-gaps"

WRITERS_PER_PARTITION = 2

PAUSE_SECONDS = 0.02
"""Between two puts of a writer. Ours: what is measured is gaps, not how a machine is shared."""

DEADLINE_SECONDS = 60.0
"""Of one put with all its attempts. Ours: longer than any gap."""

LEAD_SECONDS = (1.0, 2.2)
"""From the first put to the fault. Ours: drawn over more than a heartbeat and an election."""

AFTER_SECONDS = 1.0
"""So long all partitions are written to once all is mended. Ours: an old leader that comes back
might disturb."""

NODES = ("a1", "b1", "c1")


@dataclass(frozen=True, slots=True)
class Gap:
    """What one fault did; milliseconds."""

    ms: float
    from_quorum_ms: float | None


class Writers:
    """The clients, in a thread of their own, and when each partition has acknowledged a write.

    They rest while `rest` is set: replicas are level only when nothing is written.
    """

    def __init__(self, endpoints: Sequence[str], keys: Mapping[int, str]) -> None:
        """Nothing is written before the block begins."""
        self.acknowledged: dict[int, list[float]] = {partition: [] for partition in keys}
        self.errors: list[str] = []
        self.rest = threading.Event()
        self._endpoints = endpoints
        self._keys = keys
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write_all()))

    def __enter__(self) -> Writers:
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the writes under way end."""
        self._stopping.set()
        self._thread.join()

    def since(self, moment: float) -> bool:
        """Return whether each partition has acknowledged a write since then."""
        return all(times and times[-1] > moment for times in self.acknowledged.values())

    async def _write_all(self) -> None:
        async with (
            Client(self._endpoints, deadline_seconds=DEADLINE_SECONDS) as client,
            asyncio.TaskGroup() as tasks,
        ):
            for partition in list(self._keys) * WRITERS_PER_PARTITION:
                tasks.create_task(self._write(client, partition))

    async def _write(self, client: Client, partition: int) -> None:
        for number in itertools.count():
            if self._stopping.is_set():
                return
            if self.rest.is_set():
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                await client.put_item(TABLE, {"id": self._keys[partition], "number": number})
                self.acknowledged[partition].append(time.monotonic())
            except QuorateError as error:
                self.errors.append(str(error))
            await asyncio.sleep(PAUSE_SECONDS)


def gap_of(times: Sequence[float], began: float) -> float:
    """Return the longest time between two acknowledgements that ends after a moment, seconds."""
    return max(after - before for before, after in itertools.pairwise(times) if after > began)


def first_after(times: Sequence[float], moment: float) -> float:
    """Return how long after a moment the first acknowledgement came, seconds."""
    return next(time for time in times if time > moment) - moment


def strike(stage: Stage, fault: Fault, writers: Writers, *, timeline: bool) -> Gap:
    """Make and mend a fault once, under load."""
    cluster = stage.cluster
    started = time.monotonic()
    writers.rest.clear()
    time.sleep(stage.rng.uniform(*LEAD_SECONDS))
    began = time.monotonic()
    back = fault.make(stage)
    mended = time.monotonic()
    wait_until(lambda: writers.since(mended), what="writes go on", timeout_seconds=40)
    time.sleep(AFTER_SECONDS)
    writers.rest.set()
    assert not writers.errors, writers.errors[0]
    times = {
        partition: [moment for moment in each if moment > started]
        for partition, each in writers.acknowledged.items()
    }
    gap = Gap(
        ms=round(max(gap_of(each, began) for each in times.values()) * 1000),
        from_quorum_ms=None
        if back is None
        else round(max(first_after(each, back) for each in times.values()) * 1000),
    )
    if timeline:
        _print_timeline(stage, times, began, back, mended)
    cluster.wait_healthy()
    cluster.wait_all_ready()
    return gap


def _print_timeline(
    stage: Stage,
    times: Mapping[int, Sequence[float]],
    began: float,
    back: float | None,
    mended: float,
) -> None:
    """Print what was logged and when writes stopped and went on, milliseconds from the fault."""
    lines = [(began, f"fault: {', '.join(stage.victims)}"), (mended, "mended")]
    if back is not None:
        lines.append((back, "quorum is back"))
    for event in read_events(stage.cluster, began):
        if event.name.startswith("catalog_"):
            continue  # watched all the while at whoever answers
        facts = " ".join(f"{name}={value}" for name, value in event.facts.items())
        lines.append((event.at, f"{event.node} {event.name} {facts}"))
    for partition, each in times.items():
        before, after = max(
            ((one, two) for one, two in itertools.pairwise(each) if two > began),
            key=lambda pair: pair[1] - pair[0],
        )
        lines.append((after, f"partition {partition} written after {(after - before) * 1000:.0f}"))
    for at, line in sorted(lines):
        print(f"    {(at - began) * 1000:7.0f}  {line}")


def find_cages(stack: ExitStack) -> dict[str, PacketCage]:
    """Return a cage for each node's packets, none if packets cannot be cut; that is said."""
    try:
        return {name: stack.enter_context(PacketCage(name)) for name in NODES}
    except CannotCut as reason:
        print(f"faults on packets are skipped: {reason}")
        return {}


def find_shims(stack: ExitStack, folder: Path) -> dict[str, DiskShim]:
    """Put a shim under each node's disk, for processes started from now on; none without a cc."""
    library = compile_shim(folder)
    if library is None:
        print("faults on disks are skipped: there is no C compiler")
        return {}
    shims = {
        name: DiskShim(folder / "data" / "nodes" / name, folder / f"{name}.control")
        for name in NODES
    }
    for shim in shims.values():
        stack.callback(shim.close)
    os.environ.update(environment(library, shims))
    return shims


@contextmanager
def writing(cluster: BackgroundCluster) -> Iterator[Writers]:
    """Write to each partition through both routers."""
    views = cluster.processes().values()
    endpoints = [f"{HOST}:{one.ports['grpc']}" for one in views if one.kind == "router"]
    with Writers(endpoints, key_of_each_partition(cluster, TABLE)) as writers:
        yield writers


@contextmanager
def staged(wanted: Sequence[Fault], options: argparse.Namespace) -> Iterator[Stage]:
    """Run a cluster in a folder that goes at the end."""
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir)).resolve()
    data_dir = folder / "data"
    data_dir.mkdir()
    write_stamp(data_dir, new_topology(1, options.partitions, free_ports(len(NODES))))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cages = find_cages(stack) if any(fault.cuts for fault in wanted) else {}
        hang = any(fault.hangs_disks for fault in wanted)
        shims = find_shims(stack, folder) if hang else {}
        cluster = BackgroundCluster(data_dir, routers=2, secure=options.secure)
        cluster.spawn()
        stack.enter_context(cluster)
        wait_until(
            lambda: (data_dir / "run" / "control.sock").exists() and len(pids_of(cluster)) == 5,
            what="all processes are there",
            timeout_seconds=20,
        )
        for name, cage in cages.items():
            cage.take_in(cluster.pid_of(name))
        cluster.wait_up()
        create_table(cluster, TABLE, on_demand())
        yield Stage(cluster, random.Random(options.seed), cages, shims)


def row(name: str, gaps: Sequence[Gap]) -> str:
    """Return a fault's line of the table, seconds."""
    totals = [gap.ms / 1000 for gap in gaps]
    since = [gap.from_quorum_ms / 1000 for gap in gaps if gap.from_quorum_ms is not None]
    told = f"{statistics.median(since):.2f} | {max(since):.2f}" if since else "|"
    middle = statistics.median(totals)
    return f"| {FAULTS[name].what} | {len(gaps)} | {middle:.2f} | {max(totals):.2f} | {told} |"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--only", default=",".join(FAULTS), help="names, with commas")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--secure", action="store_true", help="TLS between the processes")
    parser.add_argument("--timeline", action="store_true", help="print what was logged, and when")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, help="where data goes; decides which disk")
    options = parser.parse_args()
    names = options.only.split(",")
    found: dict[str, list[Gap]] = {name: [] for name in names}
    wanted = [FAULTS[name] for name in names]
    with staged(wanted, options) as stage, writing(stage.cluster) as writers:
        possible = [
            name
            for name in names
            if (stage.cages or not FAULTS[name].cuts)
            and (stage.shims or not FAULTS[name].hangs_disks)
        ]
        for number in range(1, options.runs + 1):
            for name in possible:  # in turn, so that all have their share of busy minutes
                gap = strike(stage, FAULTS[name], writers, timeline=options.timeline)
                found[name].append(gap)
                since = "" if gap.from_quorum_ms is None else f", from quorum {gap.from_quorum_ms}"
                print(f"{number:3} {name:20} gap {gap.ms} ms{since}", flush=True)
    print("| fault | runs | gap p50, s | max | from quorum p50 | max |\n|---|---|---|---|---|---|")
    for name in possible:
        print(row(name, found[name]))
    document = {
        "partitions": options.partitions,
        "secure": options.secure,
        "gaps": {name: [asdict(gap) for gap in found[name]] for name in possible},
    }
    print(f"kept in {results.append('gaps', document)}")


if __name__ == "__main__":
    main()
