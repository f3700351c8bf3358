"""A cluster with certificates: it serves, fails over, renews them, replaces a node."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from cryptography import x509

from node.peers import introduce
from node.storage.identity import load_identity
from quorate.client.errors import QuorateError
from quorate.client.operator import Operator
from quorate.cluster.channels import Dialer
from quorate.local.background import BackgroundCluster, wait_until
from quorate.local.certificates import paths_of
from quorate.local.data_dir import key_path
from quorate.security.cluster_certificate import ClusterFiles
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import make_cluster_authority, make_cluster_certificate
from quorate.security.sealing import load_key_file
from quorate.security.watched_files import POLL_SECONDS
from quorate.v1 import node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub
from tests.processes.conftest import dynamodb, heal, make_table
from tests.processes.metrics_page import value

RELOAD_SECONDS_MAX = 3 * POLL_SECONDS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundCluster]:
    made = BackgroundCluster(tmp_path_factory.mktemp("secure") / "data", secure=True, partitions=3)
    with made:
        make_table(made, "stories")
        yield made


def put(cluster: BackgroundCluster, key: str) -> None:
    client = dynamodb(cluster.http_url, attempts_max=5)
    client.put_item(TableName="stories", Item={"group": {"S": key}, "id": {"S": key}})
    client.close()


def quorate(cluster: BackgroundCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quorate", *arguments, "--data-dir", str(cluster.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def cluster_id(cluster: BackgroundCluster) -> str:
    found: str = cluster.status()["cluster_id"]
    return found


def terms_of(cluster: BackgroundCluster) -> dict[int, int]:
    return {partition["id"]: partition["term"] for partition in cluster.status()["partitions"]}


def log(cluster: BackgroundCluster, name: str) -> str:
    return (cluster.data_dir / "run" / f"{name}.log").read_text()


def test_every_write_is_taken_when_a_leader_is_killed(cluster: BackgroundCluster) -> None:
    leader = cluster.leader_of("stories", {"S": "x"})
    put(cluster, "x")
    cluster.kill(leader)
    began_at = time.monotonic()
    put(cluster, "x")
    assert time.monotonic() - began_at < 2.0, "handshakes included"
    heal(cluster)


def test_processes_without_certificates_are_not_let_in(cluster: BackgroundCluster) -> None:
    port = cluster.processes()["a1"].ports["node"]

    async def story() -> None:
        async with Dialer().open(f"127.0.0.1:{port}") as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await NodeServiceStub(plain).GetStatus(node_pb2.GetStatusRequest(), timeout=3)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(story())


def test_new_certificates_and_a_new_authority_are_taken_without_a_break(
    cluster: BackgroundCluster,
) -> None:
    """A bundle of both, then new certificates, then the new authority alone."""
    certs, name = cluster.data_dir / "certs", cluster_id(cluster)
    streams = {each: log(cluster, each).count("peer_stream_open") for each in ("a1", "b1", "c1")}
    new = cluster.data_dir.parent / "new"
    make_cluster_authority(new, name, time.time())
    owners = [Caller(Role.NODE, name, each) for each in streams]
    owners += [Caller(Role.ROUTER, name), Caller(Role.ADMIN, name)]

    def taken(count: int) -> bool:
        return all(
            log(cluster, each).count("new_certificate") >= count for each in (*streams, "r1")
        )

    bundle = (certs / "ca.crt").read_bytes() + (new / "ca.crt").read_bytes()
    (certs / "ca.crt").write_bytes(bundle)
    wait_until(lambda: taken(1), what="the bundle is read", timeout_seconds=RELOAD_SECONDS_MAX)
    for owner in owners:
        made = make_cluster_certificate(new, owner, time.time())
        for path in (made.key, made.certificate):
            shutil.move(path, certs / path.name)
    wait_until(lambda: taken(2), what="new certificates", timeout_seconds=RELOAD_SECONDS_MAX)
    (certs / "ca.crt").write_bytes((new / "ca.crt").read_bytes())
    shutil.copy(new / "ca.key", certs / "ca.key")
    wait_until(lambda: taken(3), what="the new authority", timeout_seconds=RELOAD_SECONDS_MAX)

    for metric, each, role, labels in (
        ("quorate_node", "a1", Role.NODE, {}),
        ("quorate_router", "r1", Role.ROUTER, {"shown_to": "nodes"}),
    ):
        pem = paths_of(cluster.data_dir, role, each).certificate.read_bytes()
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        shown = value(cluster, each, f"{metric}_certificate_expires_timestamp_seconds", **labels)
        assert shown == ends.timestamp()
    put(cluster, "renewed")
    assert streams == {each: log(cluster, each).count("peer_stream_open") for each in streams}
    # And new connections are made with what is new.
    cluster.restart("b1")
    cluster.wait_healthy()
    put(cluster, "renewed again")
    assert '"level":"error"' not in log(cluster, "r1")


def test_row_16_only_an_admin_replaces_a_node(cluster: BackgroundCluster) -> None:
    """Not even whoever has the key file, through a router."""

    async def story() -> None:
        keys = load_key_file(key_path(cluster.data_dir))
        async with Operator(cluster.grpc_address, keys) as operator:
            with pytest.raises(
                QuorateError, match="may not do replace_node: ask the nodes, with an admin's"
            ):
                await operator.replace_node("a1", "a2")

    asyncio.run(story())
    assert not cluster.status()["replacements"]
    certs = cluster.data_dir / "certs"
    refused = quorate(
        cluster,
        *("node", "replace", "a1", "a2", "--cluster-ca", str(certs / "ca.crt")),
        *("--cluster-cert", str(certs / "router.crt"), "--cluster-key", str(certs / "router.key")),
    )
    assert refused.returncode == 2
    assert "not of admin" in refused.stderr


def test_row_16_an_admin_cancels_and_removes(cluster: BackgroundCluster) -> None:
    """The same commands, with the certificate in the data directory."""
    cluster.add_node("c9", "az-c")
    wait_until(
        lambda: any(node["name"] == "c9" for node in cluster.status()["nodes"]),
        what="c9 has joined",
        timeout_seconds=20,
    )
    for asked, said in (
        ("remove c9", "node c9 (id"),
        ("replace c1 nosuch --allow-unknown", "waiting for nosuch"),
        ("cancel-replace c1", "node c1 (id 3) keeps its place"),
    ):
        done = quorate(cluster, "node", *asked.split())
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
    for asked, said in (
        ("remove c1", "The node holds replicas"),
        ("replace c1 nosuch", "No node of the new name has joined"),
        ("cancel-replace c1", "Node c1 is not being replaced"),
    ):
        refused = quorate(cluster, "node", *asked.split())
        assert refused.returncode == 1
        assert said in refused.stderr
    assert not cluster.status()["replacements"]


def test_row_4_removed_node_is_refused_whatever_it_shows(cluster: BackgroundCluster) -> None:
    """Its certificate is still good; its name and its number are not."""
    files = ClusterFiles(
        paths_of(cluster.data_dir, Role.NODE, "c1"),
        Caller(Role.NODE, cluster_id(cluster), "c1"),
        time.time,
    )
    cluster.add_node("c2", "az-c")
    wait_until(
        lambda: any(node["name"] == "c2" for node in cluster.status()["nodes"]),
        what="c2 has joined",
        timeout_seconds=20,
    )
    done = quorate(
        cluster, "node", "replace", "c1", "c2", "--wait", "--admin", cluster.admin_address
    )
    assert (done.returncode, done.stderr) == (0, "")
    cluster.wait_ended("c1")
    terms = terms_of(cluster)
    removed = load_identity(cluster.data_dir / "nodes" / "c1")
    assert removed is not None
    assert removed.removed
    address = f"127.0.0.1:{cluster.processes()['a1'].ports['node']}"

    async def story() -> str:
        async with Dialer(files).open(address) as channel:
            node = NodeServiceStub(channel)
            sending = node.Replicate(metadata=introduce(removed, 1))
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await sending.write(
                    node_pb2.RaftBatch(messages=[node_pb2.RaftMessage(group=1, type=7, term=1000)])
                )
            await sending.code()
            # Asked of a call that writes nothing: where the refusal is quicker than a message,
            # gRPC gives the sender an error of its own.
            refused = node.Replicate(metadata=introduce(removed, 1))
            assert await refused.code() is grpc.StatusCode.PERMISSION_DENIED
            return str(await refused.details())

    assert "was removed from the cluster" in asyncio.run(story())
    assert terms_of(cluster) == terms
    put(cluster, "after")


def test_secure_cluster_stays_so(tmp_path: Path) -> None:
    """Started anew without --secure, it goes on with the certificates that it has."""
    first = BackgroundCluster(tmp_path / "data", secure=True, partitions=1)
    with first:
        pass
    again = BackgroundCluster(tmp_path / "data")
    with again:
        make_table(again, "stories")
        put(again, "x")
    assert "with certificates" in again.output()
