"""A node comes back without its disk, or is replaced by another one: learner first, under load.

Reliability plan, rows D10 and D11, and 4.3 row 4.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from node.storage.identity import load_identity
from quorate import Client
from quorate.local.admin_http import AdminUnreachable
from quorate.local.background import BackgroundCluster, wait_until
from tests.processes.conftest import TABLE, heal, make_table
from tests.processes.raw_client import RawClient
from tests.processes.writing import Account, lost, writing

GROUPS = [f"group-{number}" for number in range(24)]
IDENTITY_EXIT = 4
DONE_SECONDS = 20.0


def run_replace(cluster: BackgroundCluster, *arguments: str) -> subprocess.Popen[str]:
    """Start `quorate node replace` as a person would."""
    return run_node(cluster, "replace", *arguments, "--admin", cluster.admin_address)


def run_node(cluster: BackgroundCluster, *arguments: str) -> subprocess.Popen[str]:
    """Start a subcommand of `quorate node` that an operator may call."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "quorate", "node", *arguments),
            *("--endpoint", cluster.grpc_address),
            *("--key-file", str(cluster.data_dir / "users.key")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command, once it has ended."""
    out, err = process.communicate(timeout=DONE_SECONDS)
    return process.returncode, out, err


def directory_of(cluster: BackgroundCluster, name: str) -> Path:
    return cluster.data_dir / "nodes" / name


def last_words(cluster: BackgroundCluster, name: str) -> str:
    return (cluster.data_dir / "run" / f"{name}.log").read_text().splitlines()[-1]


def refused_start(cluster: BackgroundCluster, name: str) -> str:
    """Start a node that must not take part; return the sentence that says why."""
    cluster.restart(name)
    assert cluster.wait_ended(name) == f"ended with exit code {IDENTITY_EXIT}"
    return last_words(cluster, name)


def replacement_in(cluster: BackgroundCluster) -> dict[str, Any] | None:
    """Return the only replacement under way, None if there is none (or nobody tells)."""
    try:
        found = cluster.status()["replacements"]
    except AdminUnreachable:
        return None
    return found[0] if found else None


def node_ids(cluster: BackgroundCluster) -> dict[str, int]:
    return {node["name"]: node["id"] for node in cluster.status()["nodes"]}


def add_node(cluster: BackgroundCluster, name: str, az: str) -> None:
    """Start one more node, and return when it has joined."""
    cluster.add_node(name, az)
    wait_until(
        lambda: name in node_ids(cluster),
        what=f"{name} has joined",
        timeout_seconds=DONE_SECONDS,
    )


def wait_replaced(cluster: BackgroundCluster, ids: set[int]) -> None:
    """Return when these are the nodes and every partition has three voters that are level."""
    wait_until(
        lambda: {node["id"] for node in cluster.status()["nodes"]} == ids,
        what=f"the nodes are {ids}",
        timeout_seconds=DONE_SECONDS,
    )
    cluster.wait_healthy()
    for partition in cluster.status()["partitions"]:
        assert {replica["id"] for replica in partition["replicas"]} == ids
        assert {replica["role"] for replica in partition["replicas"]} == {"leader", "follower"}


@asynccontextmanager
async def under_load(
    cluster: BackgroundCluster, *, with_quorum: bool = True
) -> AsyncIterator[Account]:
    """Write all over the ring meanwhile: what was acknowledged is found.

    A client that retries, as `Client` does, gets no error at all; nor does one that does not, as
    long as there is a quorum.
    """
    stop = asyncio.Event()
    prefix = uuid4().hex

    async def retrying(client: Client, writer: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            item = {"group": GROUPS[number % 24], "id": f"retried-{prefix}-{writer}-{number}"}
            await client.put_item(TABLE, item)
            await asyncio.sleep(0.01)

    async with (
        RawClient(cluster.public.http) as raw,
        Client(cluster.grpc_address, deadline_seconds=20.0) as client,
    ):
        async with asyncio.TaskGroup() as tasks:
            for writer in range(4):
                tasks.create_task(retrying(client, writer))
            async with writing(raw, TABLE, prefix=prefix, partition_keys=GROUPS) as account:
                yield account
            stop.set()
        assert len(account.acknowledged) > 200, "thin"
        if with_quorum:
            assert account.refused == set(), "routers hold writes until there is a leader"
        assert await lost(client, TABLE, account) == []


def test_a_lost_disk_is_replaced_under_load_and_refused_when_it_comes_back(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster(partitions=6)
    cluster.start()
    make_table(cluster, TABLE)
    directory, aside = directory_of(cluster, "b1"), cluster.data_dir.with_name("lost")

    async def story() -> None:
        async with under_load(cluster) as account:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(cluster.kill, "b1")
            directory.rename(aside)

            sentence = await asyncio.to_thread(refused_start, cluster, "b1")
            assert "quorate node replace b1 b1" in sentence

            watching = run_replace(cluster, "b1", "b1", "--wait")
            await asyncio.to_thread(
                wait_until,
                lambda: replacement_in(cluster) is not None,
                what="the replacement is noted",
                timeout_seconds=DONE_SECONDS,
            )
            await asyncio.to_thread(cluster.restart, "b1")
            code, out, err = await asyncio.to_thread(ended, watching)
            assert (code, err) == (0, "")
            assert "waiting for b1 to join" in out
            assert out.splitlines()[-1].startswith("done: node id 2 is gone")
            before = len(account.acknowledged)
            await asyncio.sleep(0.5)
            assert len(account.acknowledged) > before

    asyncio.run(story())
    wait_replaced(cluster, {1, 3, 4})
    assert node_ids(cluster) == {"a1": 1, "c1": 3, "b1": 4}

    cluster.kill("b1")
    directory.rename(cluster.data_dir.with_name("new"))
    aside.rename(directory)
    assert "node b1 (id 2) was replaced" in refused_start(cluster, "b1")
    identity = load_identity(directory)
    assert identity is not None
    assert identity.removed
    assert "node b1 (id 2) was replaced" in refused_start(cluster, "b1")

    directory.rename(aside)
    cluster.data_dir.with_name("new").rename(directory)
    cluster.restart("b1")
    cluster.wait_healthy()
    cluster.stop()


def test_a_node_that_is_well_hands_over_to_another_one_and_ends(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Also the catalog's replica moves; the next run starts the new node and not the old one."""
    cluster = own_cluster(partitions=6)
    cluster.start()
    make_table(cluster, TABLE)

    async def story() -> None:
        async with under_load(cluster):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(add_node, cluster, "d1", "az-a")
            code, _, err = await asyncio.to_thread(
                ended, run_replace(cluster, "a1", "d1", "--wait")
            )
            assert (code, err) == (0, "")

    asyncio.run(story())
    assert cluster.wait_ended("a1") == f"ended with exit code {IDENTITY_EXIT}"
    assert "node a1 (id 1) was replaced: node d1 has taken its place" in last_words(cluster, "a1")
    wait_replaced(cluster, {2, 3, 4})

    cluster.stop()
    cluster.start()
    assert "a1 was replaced or removed: it is not started" in cluster.output()
    assert {process.name for process in cluster.processes().values()} == {"b1", "c1", "d1", "r1"}
    wait_replaced(cluster, {2, 3, 4})
    make_table(cluster, "later")
    cluster.stop()


def test_what_cannot_be_replaced_is_refused_with_the_reason(cluster: BackgroundCluster) -> None:
    code, _, err = ended(run_replace(cluster, "b9", "d1"))
    assert (code, err.count("\n")) == (4, 1)
    assert "There is no node b9: the nodes are a1, b1, c1." in err

    code, _, err = ended(run_replace(cluster, "b1", "c1"))
    assert code == 1
    assert "replaced by one in its own AZ" in err

    code, _, err = ended(run_replace(cluster, "b1", "b1"))
    assert code == 1
    assert "Node b1 answers: stop it before" in err

    code, _, err = ended(run_replace(cluster, "b1", "nosuch"))
    assert (code, err.count("\n")) == (1, 1)
    assert "No node of the new name has joined" in err
    assert "--allow-unknown" in err
    assert replacement_in(cluster) is None


def status_code(cluster: BackgroundCluster) -> tuple[int, str]:
    command = (sys.executable, "-m", "quorate", "status", "--admin", cluster.admin_address)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_replacement_that_waits_for_nobody_is_told_and_cancelled(
    cluster: BackgroundCluster,
) -> None:
    code, out, _ = ended(run_replace(cluster, "b1", "nosuch", "--allow-unknown"))
    assert code == 0
    assert "waiting for nosuch to join" in out
    code, out = status_code(cluster)
    assert code == 1
    assert "quorate node cancel-replace b1" in out

    watching = run_replace(cluster, "b1", "nosuch", "--wait")
    assert watching.stdout is not None
    while "is being replaced by nosuch: waiting" not in watching.stdout.readline():
        pass
    code, out, err = ended(run_node(cluster, "cancel-replace", "b1"))
    assert (code, err) == (0, "")
    assert "node b1 (id 2) keeps its place: nosuch is not awaited" in out
    code, _, err = ended(watching)
    assert code == 1
    assert "somebody has cancelled it" in err

    assert status_code(cluster)[0] == 0
    code, _, err = ended(run_node(cluster, "cancel-replace", "b1"))
    assert code == 1
    assert "Node b1 is not being replaced" in err


def test_a_node_that_holds_nothing_is_removed_dead_or_alive(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Else a node that joined and went away is trouble for ever. One that runs ends."""
    cluster = own_cluster(partitions=6)
    cluster.start()
    code, _, err = ended(run_node(cluster, "remove", "b1"))
    assert code == 1
    assert "The node holds replicas" in err

    for name, dead in (("d1", True), ("d2", False)):
        add_node(cluster, name, "az-a")
        if dead:
            cluster.kill(name)
            assert status_code(cluster)[0] == 1
        code, out, err = ended(run_node(cluster, "remove", name))
        assert (code, err) == (0, "")
        assert f"node {name} (id" in out
        assert status_code(cluster)[0] == 0
        if not dead:
            assert cluster.wait_ended(name) == f"ended with exit code {IDENTITY_EXIT}"
        assert "was replaced or removed" in refused_start(cluster, name)
    assert set(node_ids(cluster)) == {"a1", "b1", "c1"}
    cluster.stop()


def test_an_old_copy_of_a_directory_is_refused(cluster: BackgroundCluster) -> None:
    """D11: it has forgotten votes and acknowledged writes. The newest one is welcome again."""
    directory = directory_of(cluster, "c1")
    backup, newest = (cluster.data_dir.with_name(name) for name in ("backup", "newest"))
    cluster.kill("c1")
    shutil.copytree(directory, backup)
    cluster.restart("c1")
    cluster.wait_healthy()
    cluster.kill("c1")
    directory.rename(newest)
    backup.rename(directory)
    try:
        sentence = refused_start(cluster, "c1")
    finally:
        shutil.rmtree(directory)
        newest.rename(directory)

    assert "this is an old copy" in sentence
    heal(cluster)


def test_an_old_copy_that_nobody_was_there_to_refuse_leaves_when_somebody_comes(
    cluster: BackgroundCluster,
) -> None:
    """It may run on for a while, and takes part in nothing."""
    directory = directory_of(cluster, "c1")
    backup, newest = (cluster.data_dir.with_name(name) for name in ("backup", "newest"))
    cluster.kill("c1")
    shutil.copytree(directory, backup)
    cluster.restart("c1")
    cluster.wait_healthy()
    for name in ("a1", "b1", "c1"):
        cluster.kill(name)
    directory.rename(newest)
    backup.rename(directory)
    try:
        cluster.restart("c1")
        cluster.restart("a1")
        how = cluster.wait_ended("c1")
        sentence = last_words(cluster, "c1")
    finally:
        shutil.rmtree(directory)
        newest.rename(directory)

    assert how == f"ended with exit code {IDENTITY_EXIT}"
    assert "this is an old copy" in sentence
    heal(cluster)


def test_a_replacement_goes_on_over_kills_of_the_new_node_and_of_leaders(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Whoever leads goes on where another one stopped: the state is in the catalog.

    With a lost disk and a node that is killed there is no quorum for a while.
    """
    cluster = own_cluster(partitions=6)
    cluster.start()
    make_table(cluster, TABLE)

    def take_in() -> None:
        cluster.kill("b1")
        shutil.rmtree(directory_of(cluster, "b1"))
        code, out, _ = ended(run_replace(cluster, "b1", "b1"))
        assert code == 0
        assert "waiting for b1 to join" in out
        cluster.restart("b1")
        wait_until(
            lambda: (now := replacement_in(cluster)) is None or now["new"]["joined"],
            what="b1 has joined",
            timeout_seconds=DONE_SECONDS,
        )
        cluster.kill("b1")
        cluster.restart("b1")
        cluster.kill("a1")
        cluster.restart("a1")
        cluster.kill("c1")
        cluster.restart("c1")

    async def story() -> None:
        async with under_load(cluster, with_quorum=False):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(take_in)
            await asyncio.to_thread(wait_replaced, cluster, {1, 3, 4})

    asyncio.run(story())
    cluster.stop()
