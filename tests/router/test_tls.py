"""TLS for clients, on both faces, over real sockets: row 29 of the table in docs/SECURITY.md."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quorate.http.limits import HttpLimits
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import (
    DevelopmentFiles,
    make_cluster_authority,
    make_cluster_certificate,
    make_development_certificate,
)
from quorate.security.server_certificate import load_server_certificate
from router.options import RouterOptions
from router.process import Refused, RouterProcess
from tests.router.talk import SMALL, Talk, read_answer, status_of
from tests.router.talk import tell as tell_of_server
from tests.router.world import World
from tests.router.world import tell as tell_of_router

BOTH = pytest.mark.parametrize("face", ["http", "grpc"])
GRPC_HANDSHAKE_SECONDS_MAX = 4.0  # twice what the face allows
AT_ONCE_SECONDS = 1.9  # sooner than either face closes the silent
ALL_CIPHERS = "ALL:@SECLEVEL=0"
PEER = "127.0.0.1"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentFiles:
    folder = tmp_path_factory.mktemp("tls")
    return make_development_certificate(folder, ["localhost", PEER], time.time())


@pytest.fixture
def tell(files: DevelopmentFiles) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Run a story with a router that speaks TLS."""

    def told(story: Callable[[World], Awaitable[None]], **options: Any) -> None:
        tell_of_router(story, **{"tls_cert": files.certificate, "tls_key": files.key, **options})

    return told


def port_of(world: World, face: str) -> int:
    return world.router.http_port if face == "http" else world.router.grpc_port


def trusting(
    files: DevelopmentFiles,
    *,
    version: ssl.TLSVersion | None = None,
    protocol: str = "http/1.1",
) -> ssl.SSLContext:
    """Return a client's context, for one version of TLS if it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([protocol])
    if version is not None:
        context.set_ciphers(ALL_CIPHERS)  # else this side refuses the old versions by itself
        context.minimum_version = context.maximum_version = version
    return context


def client_hello(version: int) -> bytes:
    """Return the first record of a client of SSL 3.0 (0x0300) or a later version."""
    ciphers = struct.pack(">4H", 6, 0x0035, 0x002F, 0x000A)  # RSA with AES and 3DES
    body = struct.pack(">H", version) + bytes(32) + b"\0" + ciphers + b"\1\0"
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16" + struct.pack(">HH", version, len(handshake)) + handshake


async def all_that_comes(port: int, raw: bytes) -> bytes:
    """Send bytes; return what comes back until the server closes."""
    reader, writer = await asyncio.open_connection(PEER, port)
    writer.write(raw)
    answer = await rest_of(reader)
    writer.close()
    return answer


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes, or resets the connection."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def list_tables(world: World, context: ssl.SSLContext) -> int:
    """Call the router as SDKs do; return the status."""
    reader, writer = await asyncio.open_connection(
        PEER, world.router.http_port, ssl=context, server_hostname="localhost"
    )
    writer.write(
        b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}"
    )
    status, _ = await read_answer(reader)
    writer.close()
    await writer.wait_closed()
    return status


async def is_serving(world: World, files: DevelopmentFiles) -> bool:
    """Ask the gRPC face for its health."""
    async with grpc.aio.secure_channel(
        f"localhost:{world.router.grpc_port}",
        grpc.ssl_channel_credentials(files.ca.read_bytes()),
        options=[("grpc.use_local_subchannel_pool", 1)],  # a handshake of its own
    ) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def assert_served(world: World, files: DevelopmentFiles) -> None:
    assert await list_tables(world, trusting(files)) == 200
    assert await is_serving(world, files)


# Row 29: what is refused.


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", id="HTTP/1.1"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), id="HTTP/2"),
        pytest.param(client_hello(0x0300), id="SSL 3.0"),
        pytest.param(client_hello(0x0301), id="TLS 1.0"),
        pytest.param(client_hello(0x0302), id="TLS 1.1"),
        pytest.param(bytes(1000), id="zeros"),
        pytest.param(b"\xff" * 1000, id="ones"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", id="SSH"),
        pytest.param(b"\x16\x03\x01\xff\xff" + bytes(100), id="a record that is too long"),
        pytest.param(b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", id="a hello of 16 MB"),
        pytest.param(b"\x17\x03\x03\x00\x01a", id="data before the handshake"),
    ],
)
def test_row_29_what_is_no_handshake_is_refused_and_closed(
    tell: Callable[..., None], files: DevelopmentFiles, face: str, raw: bytes
) -> None:
    async def story(world: World) -> None:
        async with asyncio.timeout(AT_ONCE_SECONDS):
            answer = await all_that_comes(port_of(world, face), raw)

        assert not answer or answer[0] == 0x15, "nothing but a TLS alert"
        assert len(answer) < 100
        await assert_served(world, files)

    tell(story)


@BOTH
@pytest.mark.parametrize(
    ("version", "is_served"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # that is the point
def test_row_29_clients_of_old_versions_are_refused(
    tell: Callable[..., None],
    files: DevelopmentFiles,
    face: str,
    version: ssl.TLSVersion,
    is_served: object,
) -> None:
    async def story(world: World) -> None:
        context = trusting(files, version=version, protocol="http/1.1" if face == "http" else "h2")
        connecting = asyncio.open_connection(PEER, port_of(world, face), ssl=context)
        if is_served:
            _, writer = await connecting
            assert writer.get_extra_info("ssl_object").version() == version.name.replace(
                "v1_", "v1."
            )
            writer.close()
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await connecting

    tell(story)


def test_row_29_newest_version_is_preferred(
    tell: Callable[..., None], files: DevelopmentFiles
) -> None:
    async def story(world: World) -> None:
        for face in ("http", "grpc"):
            context = trusting(files, protocol="http/1.1" if face == "http" else "h2")
            _, writer = await asyncio.open_connection(PEER, port_of(world, face), ssl=context)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.close()

    tell(story)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(client_hello(0x0303)[:-1], id="not all of a hello"),
        pytest.param(b"\x80\x2e\x01\x03\x00", id="the begin of SSL 2.0's"),
    ],
)
def test_row_29_silence_in_the_handshake_of_http_is_closed(
    files: DevelopmentFiles, said: bytes
) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(said)
        while not talk.server.connection_count:
            await asyncio.sleep(0.001)

        talk.later(SMALL.handshake_seconds_max - 0.1)
        assert talk.server.connection_count == 1
        talk.later(0.2)
        assert await rest_of(reader) == b""
        while talk.server.connection_count:
            await asyncio.sleep(0.001)
        assert talk.server.handshakes_failed == 1

    tell_of_server(story, tls=context_of(files))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(client_hello(0x0303)[:-1], id="not all of a hello"),
    ],
)
def test_row_29_silence_in_the_handshake_of_grpc_is_closed(
    tell: Callable[..., None], said: bytes
) -> None:
    async def story(world: World) -> None:
        async with asyncio.timeout(GRPC_HANDSHAKE_SECONDS_MAX):
            assert await all_that_comes(world.router.grpc_port, said) == b""

    tell(story)


def test_row_29_client_without_tls_gets_no_answer(tell: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"localhost:{world.router.grpc_port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE

    tell(story)


# What a client may take, with TLS.


def context_of(files: DevelopmentFiles) -> ssl.SSLContext:
    """Return the context that the router serves these files with."""
    return load_server_certificate(files.certificate, files.key, time.time()).context


def test_handshakes_count_as_connections(files: DevelopmentFiles) -> None:
    async def story(talk: Talk) -> None:
        silent = [await talk.connect() for _ in range(SMALL.connections_max)]
        while talk.server.connection_count < SMALL.connections_max:
            await asyncio.sleep(0.001)
        assert await all_that_comes(talk.server.port, b"") == b"", "one too many, at once"

        silent[0][1].close()
        while talk.server.connection_count == SMALL.connections_max:
            await asyncio.sleep(0.001)
        assert status_of(await exchange(talk, files, b"GET / HTTP/1.0\r\n\r\n")) == 200

    tell_of_server(story, tls=context_of(files))


def test_handshakes_of_one_address_have_its_limit(files: DevelopmentFiles) -> None:
    async def story(talk: Talk) -> None:
        await talk.connect()
        while not talk.server.connection_count:
            await asyncio.sleep(0.001)
        assert await all_that_comes(talk.server.port, b"") == b""

    tell_of_server(story, HttpLimits(connections_per_network_max=1), tls=context_of(files))


async def connect(
    talk: Talk, files: DevelopmentFiles
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a TLS connection to the server of a talk."""
    reader, writer = await asyncio.open_connection(PEER, talk.server.port, ssl=trusting(files))
    talk.writers.append(writer)
    return reader, writer


def exchange_in_a_thread(port: int, context: ssl.SSLContext, raw: bytes) -> bytes:
    """Send bytes over TLS; return what comes until the server closes.

    In a thread, as a client of its own kind: asyncio's drops what it has not read by then.
    """
    with (
        socket.create_connection((PEER, port)) as plain,
        context.wrap_socket(plain, server_hostname=PEER) as connection,
    ):
        connection.sendall(raw)
        received = []
        while part := connection.recv(1 << 16):
            received.append(part)
    return b"".join(received)


async def exchange(talk: Talk, files: DevelopmentFiles, raw: bytes) -> bytes:
    """Send bytes over TLS; return what comes until the server closes."""
    return await asyncio.to_thread(exchange_in_a_thread, talk.server.port, trusting(files), raw)


def test_large_bodies_go_both_ways(files: DevelopmentFiles) -> None:
    async def story(talk: Talk) -> None:
        body = bytes(range(256)) * (4 << 10)
        answer = await exchange(
            talk,
            files,
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body),
        )
        assert answer.endswith(body)

    tell_of_server(story, HttpLimits(), tls=context_of(files))


@pytest.mark.parametrize("target", [b"https://h:443/", b"HTTPS://h", b"http://h/"])
def test_whole_url_with_an_offer_of_http_2_is_served(
    files: DevelopmentFiles, target: bytes
) -> None:
    async def story(talk: Talk) -> None:
        answer = await exchange(
            talk,
            files,
            b"POST %b HTTP/1.1\r\nHost: h \r\nConnection: Upgrade, close\t\r\nUpgrade: h2c\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" % target,
        )
        assert answer.endswith(b"abc")
        assert (talk.seen[0].path, talk.seen[0].headers[b"host"]) == (b"/", b"h")

    tell_of_server(story, tls=context_of(files))


def test_refused_request_is_answered_and_closed(files: DevelopmentFiles) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await connect(talk, files)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n")
        assert (await read_answer(reader))[0] == 413
        talk.later(10.0)
        assert await rest_of(reader) == b""
        while talk.server.connection_count:
            await asyncio.sleep(0.001)

    tell_of_server(story, tls=context_of(files))


def test_row_28_slow_reader_of_a_large_answer_is_cut_off(files: DevelopmentFiles) -> None:
    limits = HttpLimits()

    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await connect(talk, files)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a StreamWriter's is both
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)
        talk.seen[0].reply(200, b"", bytes(16 << 20))
        assert talk.server.books.unsent_bytes > 8 << 20

        talk.later(limits.write_seconds_max + 0.1)
        while talk.server.connection_count:
            await asyncio.sleep(0.001)
        assert talk.server.books.unsent_bytes == 0

    tell_of_server(story, limits, tls=context_of(files))


def test_client_that_ends_before_its_answer_is_forgotten_with_it(files: DevelopmentFiles) -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await connect(talk, files)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.sleep(0.01)
        talk.seen[0].reply(200, b"", b"perhaps to nobody")
        while talk.server.connection_count:
            await asyncio.sleep(0.001)

    tell_of_server(story, tls=context_of(files))


def test_router_that_stops_waits_for_no_handshake(tell: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        reader, writer = await asyncio.open_connection(PEER, world.router.http_port)
        world.router.stop_wanted.set()
        async with asyncio.timeout(HttpLimits().handshake_seconds_max / 2):
            assert await rest_of(reader) == b""
        writer.close()

    tell(story)


# A new certificate.


async def serial_numbers(world: World, files: DevelopmentFiles) -> set[str]:
    """Return the serial numbers that a new connection to each face is shown."""
    seen = set()
    for port, protocol in ((world.router.http_port, "http/1.1"), (world.router.grpc_port, "h2")):
        context = trusting(files, protocol=protocol)
        _, writer = await asyncio.open_connection(PEER, port, ssl=context)
        seen.add(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()
    return seen


def test_new_certificate_is_shown_to_new_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_development_certificate(tmp_path, ["localhost", PEER], time.time())

    async def story(world: World) -> None:
        certificates = world.router.certificates
        assert certificates is not None
        (first,) = await serial_numbers(world, files)
        reader, writer = await asyncio.open_connection(
            PEER, world.router.http_port, ssl=trusting(files)
        )

        make_development_certificate(tmp_path, ["localhost", PEER], time.time())
        certificates.refresh()
        (second,) = await serial_numbers(world, files)
        assert second != first
        await assert_served(world, files)

        files.key.write_bytes(b"half a ke")
        certificates.refresh()
        assert "old_certificate_stays" in caplog.text
        assert await serial_numbers(world, files) == {second}

        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader))[0] == 200, "who was connected stays so"
        writer.close()

    tell_of_router(story, tls_cert=files.certificate, tls_key=files.key)


# What is refused at start, and said.


def router(**options: Any) -> RouterProcess:
    anywhere = f"{PEER}:0"
    settings: dict[str, Any] = {"http": anywhere, "grpc": anywhere, "admin": anywhere, **options}
    return RouterProcess(
        RouterOptions(name="r", az="a", cluster_id="c", nodes=(anywhere,), **settings)
    )


def test_half_a_pair_is_refused(files: DevelopmentFiles) -> None:
    with pytest.raises(Refused, match="--tls-cert and --tls-key belong together"):
        router(tls_cert=files.certificate)
    with pytest.raises(Refused, match="--tls-cert and --tls-key belong together"):
        router(tls_key=files.key)


def test_pair_that_cannot_be_served_is_refused(files: DevelopmentFiles, tmp_path: Path) -> None:
    key = tmp_path / "key"
    shutil.copy(files.key, key)
    key.chmod(0o644)
    with pytest.raises(Refused, match="is open to others: chmod 600 it"):
        router(tls_cert=files.certificate, tls_key=key)


def test_tls_alone_does_not_open_the_router_to_everybody(files: DevelopmentFiles) -> None:
    """It says who the router is, not who calls."""
    with pytest.raises(Refused, match=r"needs --require-auth, or --insecure"):
        router(http="0.0.0.0:0", tls_cert=files.certificate, tls_key=files.key)


@pytest.mark.parametrize("has_tls", [False, True])
def test_listening_beyond_loopback_without_tls_is_said(
    files: DevelopmentFiles, caplog: pytest.LogCaptureFixture, has_tls: object
) -> None:
    caplog.set_level(logging.WARNING)
    tls = {"tls_cert": files.certificate, "tls_key": files.key} if has_tls else {}

    async def story(world: World) -> None:
        assert ("INSECURE listen=0.0.0.0" in caplog.text) is not has_tls

    tell_of_router(story, http="0.0.0.0:0", insecure=True, **tls)


@pytest.mark.parametrize("has_certificate", [False, True])
def test_asking_nodes_beyond_loopback_without_certificates_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_certificate: object
) -> None:
    caplog.set_level(logging.WARNING)
    router = Caller(Role.ROUTER, "cluster")
    make_cluster_authority(tmp_path, router.cluster_id, time.time())
    paths = make_cluster_certificate(tmp_path, router, time.time())

    addresses: dict[str, Any] = dict.fromkeys(("http", "grpc", "admin"), f"{PEER}:0")
    RouterProcess(
        RouterOptions(
            name="r",
            az="a",
            cluster_id=router.cluster_id,
            nodes=("node.example:7400", f"{PEER}:7400"),
            cluster_paths=paths if has_certificate else None,
            **addresses,
        )
    )

    said = "INSECURE nodes=node.example:7400"
    assert (said in caplog.text) is not has_certificate
