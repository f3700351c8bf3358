"""Clients that people have, over TLS, against a router of a real cluster (SECURITY.md, row 29)."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import HTTPClientError, SSLError

from quorate.client import Client, Unreachable
from quorate.local.background import BackgroundCluster, free_ports, wait_until
from quorate.local.data_dir import key_path
from quorate.local.topology import read_stamp
from tests.processes.conftest import TABLE

RELOAD_SECONDS_MAX = 15.0  # three times what the router waits between two looks at the files
KEY = {"group": {"S": "tls"}, "id": {"S": "1"}}


@dataclass(frozen=True, slots=True)
class TlsRouter:
    """One more router of the cluster, which speaks TLS, and where its certificate lies."""

    http_port: int
    grpc_address: str
    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.crt")

    def boto3(self, *, verify: str | bool, scheme: str = "https") -> Any:
        return boto3.client(
            "dynamodb",
            endpoint_url=f"{scheme}://localhost:{self.http_port}",
            verify=verify,
            region_name="local",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=5,
                read_timeout=10,
            ),
        )

    def certificate(self) -> str:
        """Return the certificate that a new connection is shown, PEM."""
        return ssl.get_server_certificate(("localhost", self.http_port), ca_certs=self.ca)


def quorate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "quorate", *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def command(cluster: BackgroundCluster, folder: Path, ports: list[int]) -> list[str]:
    """Return the command line of a router with TLS for a cluster."""
    stamp = read_stamp(cluster.data_dir)
    assert stamp is not None
    http, grpc, admin = (f"127.0.0.1:{port}" for port in ports)
    return [
        *("router", "--name", "tls", "--az", "az-a", "--cluster-id", stamp.cluster_id),
        *("--http", http, "--grpc", grpc, "--admin", admin),
        *("--tls-cert", str(folder / "server.crt"), "--tls-key", str(folder / "server.key")),
        *("--key-file", str(key_path(cluster.data_dir)), "--parent-pid", str(os.getpid())),
        *(part for node in stamp.nodes for part in ("--node", node.address)),
    ]


@pytest.fixture
def router(cluster: BackgroundCluster, tmp_path: Path) -> Iterator[TlsRouter]:
    made = quorate("cert", "make-dev", str(tmp_path), "localhost", "127.0.0.1")
    assert (made.returncode, made.stderr) == (0, "")
    ports = free_ports(3)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "quorate", *command(cluster, tmp_path, ports)],
            stdout=log,
            stderr=log,
        )
    try:
        cluster.wait_ready(admin_address=f"127.0.0.1:{ports[2]}")
        yield TlsRouter(ports[0], f"localhost:{ports[1]}", tmp_path)
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert '"level":"error"' not in (tmp_path / "log").read_text()


def test_row_29_boto3_is_served_over_tls_and_only_over_tls(router: TlsRouter) -> None:
    client = router.boto3(verify=router.ca)
    client.put_item(TableName=TABLE, Item={**KEY, "text": {"S": "x" * 300_000}})
    found = client.get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)
    assert len(found["Item"]["text"]["S"]) == 300_000
    client.close()

    stranger = router.boto3(verify=True)
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.list_tables()
    stranger.close()

    plain = router.boto3(verify=True, scheme="http")
    with pytest.raises(HTTPClientError):
        plain.list_tables()
    plain.close()


def test_row_29_client_is_served_over_tls_and_only_over_tls(router: TlsRouter) -> None:
    item = {"group": "tls", "id": "2", "text": "hello"}

    async def story() -> None:
        async with Client(router.grpc_address, tls_ca=router.ca) as client:
            await client.put_item(TABLE, item)
            assert await client.get_item(TABLE, {"group": "tls", "id": "2"}) == item
        async with Client(router.grpc_address) as plain:
            with pytest.raises(Unreachable):
                await plain.wait_connected(timeout_seconds=2.0)

    asyncio.run(story())


def test_command_takes_the_authority_from_the_environment(
    router: TlsRouter, tmp_path: Path, cluster: BackgroundCluster
) -> None:
    where = {"QUORATE_ENDPOINT": router.grpc_address, "QUORATE_DATA_DIR": str(cluster.data_dir)}

    listed = quorate("table", "list", **where, QUORATE_TLS_CA=router.ca)
    assert (listed.returncode, listed.stdout) == (0, f"{TABLE}\n")
    users = quorate("user", "list", "--json", **where, QUORATE_TLS_CA=router.ca)
    assert (users.returncode, users.stdout) == (0, "{}\n")

    quorate("cert", "make-dev", str(tmp_path / "other"), "localhost")
    other = str(tmp_path / "other" / "ca.crt")
    refused = quorate("table", "list", **where, QUORATE_TLS_CA=other)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert f"no router with a certificate that {other} vouches for answers at" in refused.stderr
    unknown = quorate("user", "list", **where, QUORATE_TLS_CA=str(tmp_path / "none"))
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "cannot read the certificate authority" in unknown.stderr


def test_new_certificate_is_served_without_a_restart(router: TlsRouter) -> None:
    client = router.boto3(verify=router.ca)
    client.list_tables()
    old = router.certificate()

    quorate("cert", "make-dev", str(router.folder), "localhost")
    wait_until(
        lambda: router.certificate() != old,
        what="the new certificate is shown",
        timeout_seconds=RELOAD_SECONDS_MAX,
    )

    client.list_tables()
    client.close()


def test_router_whose_key_others_may_read_does_not_start(
    cluster: BackgroundCluster, tmp_path: Path
) -> None:
    quorate("cert", "make-dev", str(tmp_path), "localhost")
    (tmp_path / "server.key").chmod(0o644)

    refused = quorate(*command(cluster, tmp_path, free_ports(3)))

    assert refused.returncode == 2
    assert f"the TLS key {tmp_path / 'server.key'} is open to others: chmod 600 it" in (
        refused.stderr
    )
