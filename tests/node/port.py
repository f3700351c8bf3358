"""A real node process with certificates, and peers of it that are the test's own.

The node is a1 of three; b1 and c1 exist just long enough to let it start. Afterwards a test may
speak in their names, with the certificates that they would have: no election can be won here
unless the test wants it, so every change of the node's state is the test's doing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import grpc
import grpc.aio

from node.peers import introduce
from node.storage.identity import Identity, Start
from quorate.cluster.channels import Dialer, server_credentials
from quorate.local.background import free_ports
from quorate.security.cluster_certificate import ClusterFiles
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import (
    cluster_paths,
    make_cluster_authority,
    make_cluster_certificate,
)
from quorate.v1 import node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub

CLUSTER = "port"
NAMES = ("a1", "b1", "c1")
START_SECONDS = 30.0
NODE, ROUTER, ADMIN = (Caller(role, CLUSTER) for role in Role)


def node_caller(name: str) -> Caller:
    return Caller(Role.NODE, CLUSTER, name)


def make_certificates(folder: Path, *more: Caller) -> None:
    make_cluster_authority(folder, CLUSTER, time.time())
    for owner in (*map(node_caller, NAMES), ROUTER, ADMIN, *more):
        make_cluster_certificate(folder, owner, time.time())


def dialer(folder: Path, owner: Caller) -> Dialer:
    """Return what opens channels with a certificate of a folder."""
    return Dialer(ClusterFiles(cluster_paths(folder, owner.role, owner.name), owner, time.time))


def identity(name: str, **changes: Any) -> Identity:
    """Return who a peer says it is: the node of that name, at its second start."""
    number = NAMES.index(name) + 1
    fields: dict[str, Any] = {"start": Start(2, "second"), **changes}
    return Identity(
        fields.pop("cluster_id", CLUSTER), fields.pop("node_id", number), name, f"az-{name[0]}",
        fields.pop("incarnation", f"incarnation of {name}"), joined=True, **fields,
    )  # fmt: skip


@dataclass(slots=True)
class NodePort:
    """The process, and where it is."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(4))
    process: subprocess.Popen[bytes] | None = None

    @property
    def certs(self) -> Path:
        return self.folder / "certs"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start the node; return when it takes part."""
        make_certificates(self.certs)
        paths = cluster_paths(self.certs, Role.NODE, "a1")
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "quorate", "node", "--name", "a1", "--az", "az-a"),
                    *("--listen", self.address, "--data-dir", str(self.folder / "a1")),
                    *("--cluster-id", CLUSTER, "--partitions", "1"),
                    *(
                        part
                        for name, port in zip(NAMES, self.ports, strict=False)
                        for part in ("--member", f"{name}=az-{name[0]}@127.0.0.1:{port}")
                    ),
                    *("--cluster-ca", str(paths.ca), "--cluster-cert", str(paths.certificate)),
                    *("--cluster-key", str(paths.key), "--parent-pid", str(os.getpid())),
                    *("--log-format", "text"),
                ],
                stdout=log,
                stderr=log,
            )
        try:
            asyncio.run(self._let_it_start())
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    async def _let_it_start(self) -> None:
        async with asyncio.timeout(START_SECONDS), AsyncExitStack() as stack:
            for name, port in zip(NAMES[1:], self.ports[1:], strict=False):
                await stack.enter_async_context(_peer(self.certs, name, port))
            while " info serving " not in self.log():
                assert self.process is not None
                assert self.process.poll() is None, self.log()
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def opened(self, owner: Caller, certs: Path | None = None) -> grpc.aio.Channel:
        """Return a channel with somebody's certificate."""
        return dialer(certs or self.certs, owner).open(self.address)

    def state(self) -> tuple[int, int, int]:
        """Return term, commit and last index of the catalog's replica."""

        async def ask() -> tuple[int, int, int]:
            async with self.opened(ROUTER) as channel:
                status = await NodeServiceStub(channel).GetStatus(
                    node_pb2.GetStatusRequest(), timeout=5
                )
            (group,) = (group for group in status.groups if group.group == 0)
            return group.term, group.commit, group.last

        return asyncio.run(ask())

    def is_alive(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None


@asynccontextmanager
async def _peer(certs: Path, name: str, port: int) -> AsyncIterator[None]:
    """Serve just enough of a peer for a1 to start."""
    who = identity(name)

    async def identify(raw: bytes, context: Any) -> bytes:
        return node_pb2.IdentifyResponse(
            cluster_id=CLUSTER, node_id=who.node_id, incarnation=who.incarnation
        ).SerializeToString()

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "quorate.v1.NodeService",
                {"Identify": grpc.unary_unary_rpc_method_handler(identify)},
            ),
        )
    )
    owner = node_caller(name)
    files = ClusterFiles(cluster_paths(certs, owner.role, name), owner, time.time)
    assert server.add_secure_port(f"127.0.0.1:{port}", server_credentials(files)) == port
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


class Refused(Exception):
    """The call ended; with this code and these details."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


def tell(
    port: NodePort,
    batches: list[Any],
    *,
    shown: Caller | None = None,
    said: Identity | None = None,
    receiver: int = 1,
    certs: Path | None = None,
) -> None:
    """Send a peer's messages to the node and wait until it has taken all. Raises Refused.

    `shown` is whose certificate, `said` who the peer says it is: both b1 unless told. A batch is a
    RaftBatch, or the bytes of what should be one.
    """

    async def messages() -> AsyncIterator[bytes]:
        for batch in batches:
            yield batch if isinstance(batch, bytes) else batch.SerializeToString()

    async def story() -> None:
        async with (
            asyncio.timeout(20),
            port.opened(shown or node_caller("b1"), certs) as channel,
        ):
            method: Any = channel.stream_unary("/quorate.v1.NodeService/Replicate")
            try:
                await method(messages(), metadata=introduce(said or identity("b1"), receiver))
            except grpc.aio.AioRpcError as error:
                raise Refused(error.code(), error.details() or "") from None

    asyncio.run(story())


def append(
    term: int, index: int, log_term: int, *payloads: bytes, commit: int = 0, **changes: Any
) -> node_pb2.RaftBatch:
    """Return a leader's message with entries of its term after (index, log_term)."""
    fields: dict[str, Any] = {
        "group": 0,
        "type": 1,
        "term": term,
        "index": index,
        "log_term": log_term,
        "commit": commit,
        "entry_terms": [term] * len(payloads),
        "entry_kinds": [0] * len(payloads),
        "entry_payloads": list(payloads),
        "entry_checksums": [crc32(payload) for payload in payloads],
    }
    return node_pb2.RaftBatch(messages=[node_pb2.RaftMessage(**{**fields, **changes})])


def heartbeat(term: int, *, commit: int = 0) -> node_pb2.RaftBatch:
    return node_pb2.RaftBatch(
        heartbeats=node_pb2.HeartbeatColumns(
            groups=[0], terms=[term], commits=[commit], sequences=[1]
        )
    )
