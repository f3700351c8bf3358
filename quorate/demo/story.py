"""The demo from start to end: load, kill, go on, restart, verify, and say what happened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from quorate.client import Client, QuorateError
from quorate.demo import checks
from quorate.demo.loading import Account, Loading
from quorate.demo.probe import ProbeProcess, gap_ms
from quorate.demo.records import Record, Source, find_source, key_of, parse_index
from quorate.local.admin_http import AdminUnreachable
from quorate.local.background import (
    BackgroundCluster,
    ClusterFailed,
    free_ports,
    leader_in,
    partition_of,
)
from quorate.local.control import ControlRefused, NoSupervisor
from quorate.local.processes import RouterPorts
from quorate.local.topology import HOST

RECORDS_DEFAULT: Final = 40_000

KILL_AT: Final = 1 / 3
RESTART_AT: Final = 2 / 3
"""Shares of the records after which the leader is killed, and restarted. Ours."""

OUTAGE_SECONDS_MIN: Final = 3.0
"""The node stays dead at least so long, for the gap to be seen whole. Ours."""

CATCH_UP_SECONDS_MAX: Final = 30.0
"""Longest wait for the restarted node to have everything. Ours."""

PROBE_WARM_UP_SECONDS: Final = 0.5


class DemoFailed(Exception):
    """What was promised is not so; the text says what."""


class DemoRefused(Exception):
    """The demo cannot be run like this; nothing was done."""


EXPECTED: Final = (QuorateError, ClusterFailed, AdminUnreachable, ControlRefused, NoSupervisor)
"""What may go wrong with a cluster: the demo has failed then, and has no bug."""


def _failure_of(error: BaseException) -> BaseException:
    """Return what to raise for an error, or for the first one of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return DemoFailed(f"{type(error).__name__}: {error}") if isinstance(error, EXPECTED) else error


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """`endpoint` is a running cluster's gRPC face; None starts a cluster of the demo's own."""

    endpoint: str | None = None
    data_dir: Path = Path("data")
    records_max: int = RECORDS_DEFAULT
    keep: bool = False


@dataclass(slots=True, kw_only=True)
class Summary:
    """What the demo found; the fields of `--json`."""

    source: str = ""
    records: int = 0
    sections: int = 0
    acknowledged: int = 0
    failed: int = 0
    retried_batches: int = 0
    load_seconds: float = 0.0
    writes_per_second: float = 0.0
    writes_per_second_before_kill: float = 0.0
    partition: int = 0
    killed_node: str = ""
    new_leader: str = ""
    write_gap_ms: float | None = None
    read_gap_ms: float | None = None
    verified: int = 0
    lost: int = -1
    catch_up_seconds: float | None = None
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


class Demo:
    """One run. `say` prints a line for people."""

    def __init__(self, options: DemoOptions, say: Callable[[str], None]) -> None:
        """Nothing happens yet."""
        self.summary = Summary()
        self._options = options
        self._say = say
        run = secrets.token_hex(3)
        self._table_name = f"demo-packages-{run}"
        self._probe_table_name = f"demo-probe-{run}"

    def run(self) -> Summary:
        """Run the demo; raises DemoFailed or DemoRefused."""
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            cluster = self._cluster(stack)
            source, records = _read_records(self._options.records_max)
            summary = self.summary
            summary.source, summary.records = source.name, len(records)
            self._say(f"read {len(records):,} records from {source.name}")
            try:
                asyncio.run(self._run(cluster, records))
            except (*EXPECTED, BaseExceptionGroup) as error:
                raise _failure_of(error) from error
            summary.seconds = time.monotonic() - started
            if summary.lost or summary.failed:
                raise DemoFailed(
                    f"{summary.lost:,} acknowledged writes lost, {summary.failed:,} writes failed"
                )
            return summary

    def _cluster(self, stack: contextlib.ExitStack) -> BackgroundCluster:
        options = self._options
        if options.endpoint is not None:
            cluster = _running_cluster(options.data_dir, options.endpoint)
            self._say(f"using the cluster at {options.endpoint}, data in {cluster.data_dir}")
            return cluster
        folder = Path(tempfile.mkdtemp(prefix="quorate-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = BackgroundCluster(folder / "data")
        self._say(
            f"starting a cluster of 3 nodes in 3 AZs and a router, data in {cluster.data_dir}"
        )
        try:
            return stack.enter_context(cluster)
        except ClusterFailed as failure:
            raise DemoFailed(f"the cluster did not start: {failure}") from failure

    async def _run(self, cluster: BackgroundCluster, records: Sequence[Record]) -> None:
        async with Client(cluster.grpc_address, raw=True) as client:
            await client.create_table(
                self._table_name, partition_key=("section", "S"), sort_key=("id", "S")
            )
            await client.create_table(self._probe_table_name, partition_key=("id", "S"))
            try:
                account = await self._load_and_kill(client, cluster, records)
                await self._verify(client, cluster, account)
            finally:
                if not self._options.keep:
                    with contextlib.suppress(QuorateError):
                        await client.delete_table(self._table_name)
                        await client.delete_table(self._probe_table_name)

    async def _load_and_kill(
        self, client: Client, cluster: BackgroundCluster, records: Sequence[Record]
    ) -> Account:
        summary, say = self.summary, self._say
        status = await asyncio.to_thread(cluster.status)
        summary.partition, share = self._busiest(status, records)
        summary.sections = len({key_of(record)[0] for record in records})
        probe_key = self._key_in(status, summary.partition)
        say(
            f"table {self._table_name}: {summary.sections} partition keys (sections); the busiest"
            f" partition is {summary.partition}, with {share:.0%} of the records"
        )
        probe = ProbeProcess(
            HOST,
            [cluster.public.http],
            table_name=self._probe_table_name,
            keys=[probe_key],
        )
        try:
            await asyncio.sleep(PROBE_WARM_UP_SECONDS)
            with _progress_bar(len(records)) as show:
                loading = Loading(client, self._table_name, records, show)
                started = time.monotonic()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(loading.run())
                    fault = tasks.create_task(self._kill_and_restart(cluster, loading))
            account = loading.account
            killed, restarted = fault.result()
            ended = max((at for at, _ in account.times), default=started)
            attempts = await asyncio.to_thread(probe.finish)
        finally:
            probe.kill()
        summary.acknowledged = len(account.acknowledged)
        summary.failed = len(records) - summary.acknowledged
        summary.retried_batches = account.retried_batches
        summary.load_seconds = ended - started
        summary.writes_per_second = _rate(account, started, ended)
        summary.writes_per_second_before_kill = _rate(account, started, killed)
        summary.write_gap_ms = gap_ms(attempts, "put", after=killed, before=restarted)
        summary.read_gap_ms = gap_ms(attempts, "get", after=killed, before=restarted)
        for reason in account.failed[: checks.SHOWN_MAX]:
            say(f"failed: {reason}")
        say(
            f"{summary.acknowledged:,} writes acknowledged in {summary.load_seconds:.1f} s:"
            f" {summary.writes_per_second:,.0f} writes/s"
            f" ({summary.writes_per_second_before_kill:,.0f} before the kill)"
        )
        if summary.write_gap_ms is None:
            raise DemoFailed("no write to the killed leader's partition succeeded after the kill")
        say(
            f"write gap at the kill, for a key of partition {summary.partition}:"
            f" {summary.write_gap_ms:,.0f} ms (strong reads {summary.read_gap_ms or 0:,.0f} ms)"
        )
        return account

    def _busiest(self, status: dict[str, Any], records: Sequence[Record]) -> tuple[int, float]:
        """Return the partition with the most records, and its share."""
        of_section = Counter(key_of(record)[0] for record in records)
        of_partition: Counter[int] = Counter()
        for section, count in of_section.items():
            of_partition[partition_of(status, self._table_name, {"S": section})] += count
        ((partition_id, count),) = of_partition.most_common(1)
        return partition_id, count / len(records)

    def _key_in(self, status: dict[str, Any], partition_id: int) -> str:
        """Return a key of the probe's table that lies in a partition."""
        number = 0
        while partition_of(status, self._probe_table_name, {"S": f"k{number}"}) != partition_id:
            number += 1
        return f"k{number}"

    async def _kill_and_restart(
        self, cluster: BackgroundCluster, loading: Loading
    ) -> tuple[float, float]:
        """Kill the busiest partition's leader in the middle; return when, and when it restarts."""
        summary, total = self.summary, self.summary.records
        await loading.reached(int(total * KILL_AT))
        status = await asyncio.to_thread(cluster.status)
        leader = leader_in(status, summary.partition)
        if leader is None:
            raise DemoFailed(f"partition {summary.partition} has no leader before the kill")
        summary.killed_node = leader
        killed = time.monotonic()
        before = len(loading.account.acknowledged)
        await asyncio.to_thread(cluster.kill, leader)
        self._say(
            f"SIGKILL to {leader}, the leader of partition {summary.partition},"
            f" after {before:,} acknowledged writes; loading goes on"
        )
        await loading.reached(int(total * RESTART_AT))
        await asyncio.sleep(max(0.0, killed + OUTAGE_SECONDS_MIN - time.monotonic()))
        status = await asyncio.to_thread(cluster.status)
        summary.new_leader = leader_in(status, summary.partition) or ""
        restarted = time.monotonic()
        await asyncio.to_thread(cluster.restart, leader)
        self._say(
            f"restarted {leader} after {restarted - killed:.1f} s and"
            f" {len(loading.account.acknowledged) - before:,} more acknowledged writes;"
            f" {summary.new_leader or 'nobody'} led meanwhile"
        )
        return killed, restarted

    async def _verify(self, client: Client, cluster: BackgroundCluster, account: Account) -> None:
        summary, say = self.summary, self._say
        started = time.monotonic()
        expected = account.acknowledged
        found = await checks.compare(client, self._table_name, expected, consistent=True)
        summary.verified, summary.lost = found.read, found.lost
        if found.lost:
            raise DemoFailed(
                f"{len(found.missing):,} acknowledged writes are missing and"
                f" {len(found.different):,} are different, such as {found.example()}"
            )
        wrong = await checks.miscounted(client, self._table_name, expected)
        if wrong:
            raise DemoFailed(f"Query counts other numbers of items than were written: {wrong}")
        say(
            f"read every acknowledged record through its leader, confirmed by a quorum, and counted"
            f" them by Query: all {found.read:,} are there, in {time.monotonic() - started:.1f} s"
        )
        await self._verify_restarted(cluster, account)

    async def _verify_restarted(self, cluster: BackgroundCluster, account: Account) -> None:
        """See that the restarted node has everything: by its lag, then by reads in its AZ."""
        summary, started = self.summary, time.monotonic()
        deadline = started + CATCH_UP_SECONDS_MAX
        while True:
            status = await asyncio.to_thread(cluster.status)
            if checks.lag_of(status, summary.killed_node) == 0:
                break
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{summary.killed_node} did not catch up in {CATCH_UP_SECONDS_MAX:g} s"
                )
            await asyncio.sleep(0.1)
        (az,) = (node["az"] for node in status["nodes"] if node["name"] == summary.killed_node)
        async with _router_in(az, status) as address, Client(address, raw=True) as nearby:
            while True:
                found = await checks.compare(
                    nearby, self._table_name, account.acknowledged, consistent=False
                )
                if not found.lost:
                    break
                if time.monotonic() > deadline:
                    raise DemoFailed(
                        f"eventual reads in {az} still miss {found.lost:,} records after"
                        f" {CATCH_UP_SECONDS_MAX:g} s, such as {found.example()}"
                    )
        summary.catch_up_seconds = time.monotonic() - started
        self._say(
            f"{summary.killed_node} has caught up: eventual reads in {az} find all {found.read:,}"
        )


def _read_records(records_max: int) -> tuple[Source, list[Record]]:
    """Return the records; the collector would look at each of their parts over and over."""
    source = find_source()
    gc.disable()
    try:
        records = parse_index(source.text, records_max=records_max)
        gc.freeze()
    finally:
        gc.enable()
    return source, records


def _rate(account: Account, started: float, until: float) -> float:
    count = max((count for at, count in account.times if at <= until), default=0)
    return count / (until - started) if until > started else 0.0


def _running_cluster(data_dir: Path, endpoint: str) -> BackgroundCluster:
    """Return handles on a running local cluster; raises DemoRefused if it is not one."""
    _, _, port = endpoint.rpartition(":")
    cluster = BackgroundCluster(data_dir, public=RouterPorts(http=0, grpc=0, admin=0))
    try:
        processes = cluster.processes()
    except (NoSupervisor, ControlRefused) as error:
        raise DemoRefused(f"the demo kills a node, through its supervisor: {error}") from error
    for process in processes.values():
        if process.kind == "router" and str(process.ports["grpc"]) == port:
            ports = process.ports
            cluster.public = RouterPorts(
                http=ports["http"], grpc=ports["grpc"], admin=ports["admin"]
            )
            return cluster
    raise DemoRefused(f"no router of the cluster in {data_dir} serves gRPC on {endpoint}")


@contextlib.asynccontextmanager
async def _router_in(az: str, status: dict[str, Any]) -> AsyncIterator[str]:
    """Run one more router, in an AZ: its eventual reads go to that AZ's node. Yield its address."""
    http, grpc, admin = free_ports(3)
    nodes = [part for node in status["nodes"] for part in ("--node", node["address"])]
    command = [
        *(sys.executable, "-m", "quorate", "router", "--parent-pid", str(os.getpid())),
        *("--log-level", "error", "--name", "demo", "--az", az),
        *("--http", f"{HOST}:{http}", "--grpc", f"{HOST}:{grpc}", "--admin", f"{HOST}:{admin}"),
        *("--cluster-id", status["cluster_id"], *nodes),
    ]
    process = subprocess.Popen(command)  # noqa: ASYNC220, S603 - does not wait; our own command
    probe = BackgroundCluster(Path(), public=RouterPorts(http=http, grpc=grpc, admin=admin))
    try:
        await asyncio.to_thread(probe.wait_ready)
        yield probe.grpc_address
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)


@contextlib.contextmanager
def _progress_bar(total: int) -> Any:  # noqa: ANN401 - a context manager of rich's making
    """Show a bar on a terminal, nothing elsewhere; yield what to call with the count."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn  # noqa: PLC0415

    with Progress(
        "loading",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        task = progress.add_task("loading", total=total)
        yield lambda count: progress.update(task, completed=count)
