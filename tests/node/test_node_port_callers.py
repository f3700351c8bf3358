"""Who may call a node, over real sockets: rows 1 to 5, 16, 17 of the table in SECURITY.md.

Each test is called after its row.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.access import MAY_CALL, MAY_CHANGE, may_call, may_change
from node.peers import introduce
from node.storage.identity import Start
from quorate.local.background import wait_until
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import (
    cluster_paths,
    make_cluster_authority,
    make_cluster_certificate,
)
from quorate.v1 import catalog_pb2, node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub
from tests.node.port import (
    ADMIN,
    CLUSTER,
    ROUTER,
    NodePort,
    Refused,
    append,
    dialer,
    heartbeat,
    identity,
    node_caller,
    tell,
)

DAY = 86_400.0
SILENCE_SECONDS_MAX = 4.0  # twice what the node allows
AT_ONCE_SECONDS = 1.9  # sooner than the silent are closed
CHANGES = [
    field.name for field in catalog_pb2.CatalogCommand.DESCRIPTOR.oneofs_by_name["change"].fields
]
PEER = node_caller("b1")
CALLERS = {Role.NODE: PEER, Role.ROUTER: ROUTER, Role.ADMIN: ADMIN}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePort]:
    port = NodePort(tmp_path_factory.mktemp("port"))
    port.start()
    yield port
    alive = port.is_alive()
    port.stop()
    assert alive, port.log()


@pytest.fixture(autouse=True)
def no_state_changes(port: NodePort) -> Iterator[None]:
    """Whatever is refused leaves term, commit and log as they were."""
    before = port.state()
    yield
    assert port.state() == before


def client_context(port: NodePort, owner: Caller | None = PEER) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(port.certs / "ca.crt")
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if owner is not None:
        paths = cluster_paths(port.certs, owner.role, owner.name)
        context.load_cert_chain(paths.certificate, paths.key)
    return context


def refusal(port: NodePort, owner: Caller, method: str, request: Any) -> grpc.StatusCode | None:
    """Call a method that is not a stream's; return the code it was refused with, None if not."""

    async def story() -> grpc.StatusCode | None:
        async with port.opened(owner) as channel:
            stub = NodeServiceStub(channel)
            try:
                if method == "WatchCatalog":
                    call = stub.WatchCatalog(request, timeout=0.5)
                    await call.read()
                else:
                    await getattr(stub, method)(request, timeout=0.5)
            except grpc.aio.AioRpcError as error:
                return error.code() if error.code() is grpc.StatusCode.PERMISSION_DENIED else None
        return None

    return asyncio.run(story())


# Row 1: what is no handshake.


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), id="HTTP/2 without TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", id="HTTP/1.1"),
        pytest.param(bytes(1000), id="zeros"),
        pytest.param(b"\xff" * 1000, id="ones"),
    ],
)
def test_row_1_what_is_no_handshake_is_closed(port: NodePort, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port.ports[0]), timeout=AT_ONCE_SECONDS) as client:
        client.sendall(raw)
        answer = b""
        try:
            while part := client.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    assert not answer or answer[0] == 0x15, "nothing but a TLS alert"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"], ids=["nothing", "part of a hello"])
def test_row_1_silence_is_closed(port: NodePort, said: bytes) -> None:
    began_at = time.monotonic()
    with socket.create_connection(
        ("127.0.0.1", port.ports[0]), timeout=SILENCE_SECONDS_MAX
    ) as client:
        client.sendall(said)
        assert client.recv(1) == b""
    assert time.monotonic() - began_at > 1.0


# Row 2: certificates that are none here.


def test_row_2_tls_1_2_is_refused(port: NodePort) -> None:
    context = client_context(port)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", port.ports[0]), timeout=5) as client,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(client)

    with (
        socket.create_connection(("127.0.0.1", port.ports[0]), timeout=5) as client,
        client_context(port).wrap_socket(client) as secure,
    ):
        assert secure.version() == "TLSv1.3"


def handshake_fails(port: NodePort, context: ssl.SSLContext) -> None:
    """In TLS 1.3 a client learns that it was refused when it reads; the node writes it down."""
    lines = port.log().count("Handshake failed")
    with (
        socket.create_connection(("127.0.0.1", port.ports[0]), timeout=5) as client,
        context.wrap_socket(client) as secure,
        suppress(ssl.SSLError, ConnectionResetError),
    ):
        # One that takes the client says so with its SETTINGS at once.
        assert secure.recv(1) == b""
    wait_until(
        lambda: port.log().count("Handshake failed") > lines, what="logged", timeout_seconds=5
    )


def test_row_2_without_a_certificate_the_handshake_fails(port: NodePort) -> None:
    handshake_fails(port, client_context(port, None))
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in port.log()


@pytest.mark.parametrize("what", ["other CA", "self-signed", "expired", "not yet valid"])
def test_row_2_certificate_that_is_none_here_fails_the_handshake(
    port: NodePort, tmp_path: Path, what: str
) -> None:
    owner = node_caller("b1")
    folder = tmp_path / "other"
    made_at = time.time()
    if what in ("other CA", "self-signed"):
        make_cluster_authority(folder, CLUSTER, made_at)
    else:
        folder.mkdir()
        for name in ("ca.crt", "ca.key"):
            (folder / name).write_bytes((port.certs / name).read_bytes())
        (folder / "ca.key").chmod(0o600)
        made_at += 10 * DAY if what == "not yet valid" else -10 * DAY
    paths = make_cluster_certificate(folder, owner, made_at, valid_seconds=DAY)
    if what == "self-signed":
        paths = cluster_paths(folder, owner.role, owner.name)
        paths.certificate.write_bytes((folder / "ca.crt").read_bytes())
        paths.key.write_bytes((folder / "ca.key").read_bytes())
    context = client_context(port, None)
    context.load_cert_chain(paths.certificate, paths.key)
    handshake_fails(port, context)


def test_row_2_a_peer_with_its_certificate_is_let_in(port: NodePort) -> None:
    """The counterpart: what the others lack is what counts."""
    with (
        socket.create_connection(("127.0.0.1", port.ports[0]), timeout=5) as client,
        client_context(port).wrap_socket(client) as secure,
    ):
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        assert secure.recv(1)
    tell(port, [])


def test_row_2_routers_certificate_cannot_pass_for_a_nodes(port: NodePort) -> None:
    """As a server: what it is for stands in it."""
    certificate = x509.load_pem_x509_certificate((port.certs / "router.crt").read_bytes())
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usage] == ["1.3.6.1.5.5.7.3.2"]


# Row 3: the right authority, the wrong role or name.


@pytest.mark.parametrize("shown", [ROUTER, ADMIN], ids=["router", "admin"])
@pytest.mark.parametrize("method", ["Replicate", "TransferSnapshot"])
def test_row_3_only_nodes_speak_raft(port: NodePort, shown: Caller, method: str) -> None:
    async def story() -> grpc.StatusCode:
        async with port.opened(shown) as channel:
            kind = channel.stream_unary if method == "Replicate" else channel.stream_stream
            call: Any = kind(f"/quorate.v1.NodeService/{method}")(
                metadata=introduce(identity("b1"), 1)
            )
            return await asyncio.wait_for(call.code(), 5)  # type: ignore[no-any-return]

    assert asyncio.run(story()) is grpc.StatusCode.PERMISSION_DENIED


def test_row_3_name_in_the_certificate_is_the_claimed_nodes(port: NodePort) -> None:
    with pytest.raises(Refused, match="shows the certificate of another node") as refused:
        tell(port, [heartbeat(9)], shown=node_caller("c1"))
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert 'caller="node c1 of cluster port"' in port.log()

    request = node_pb2.IdentifyRequest(
        cluster_id=CLUSTER, node_id=2, incarnation="incarnation of b1", starts=99, start_token="x"
    )
    assert refusal(port, node_caller("c1"), "Identify", request)
    assert not refusal(port, node_caller("b1"), "Identify", node_pb2.IdentifyRequest())
    tell(port, [])  # its start 99 was not believed: b1 would be an old copy now


def test_row_3_table_has_every_call_and_every_change() -> None:
    methods = node_pb2.DESCRIPTOR.services_by_name["NodeService"].methods_by_name
    assert set(MAY_CALL) == set(methods)
    assert set(MAY_CHANGE) == {*CHANGES, ""}
    assert not any(may_call(role, "NoSuchCall") or may_change(role, "no_such") for role in Role)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", ["Identify", "WatchCatalog", "GetStatus", "LeaseCapacity"])
def test_row_3_table_is_what_the_port_does(port: NodePort, role: Role, method: str) -> None:
    input_type = (
        node_pb2.DESCRIPTOR.services_by_name["NodeService"].methods_by_name[method].input_type
    )
    request = getattr(node_pb2, input_type.name)()

    assert (refusal(port, CALLERS[role], method, request) is None) == may_call(role, method)


@pytest.mark.parametrize("role", list(Role))
def test_row_3_only_routers_open_routes(port: NodePort, role: Role) -> None:
    async def story() -> grpc.StatusCode | None:
        async with port.opened(CALLERS[role]) as channel:
            call: Any = channel.stream_stream("/quorate.v1.NodeService/Route")()
            try:
                return await asyncio.wait_for(call.code(), 0.5)  # type: ignore[no-any-return]
            except TimeoutError:
                return None
            finally:
                call.cancel()

    code = asyncio.run(story())
    assert code is (None if role is Role.ROUTER else grpc.StatusCode.PERMISSION_DENIED)


@pytest.mark.parametrize(
    "name",
    [
        x509.UniformResourceIdentifier("admin.port.quorate"),
        x509.UniformResourceIdentifier("spiffe://admin.port.quorate"),
        x509.RFC822Name("admin.port.quorate"),
        x509.RFC822Name("x@admin.port.quorate"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    ],
    ids=lambda name: f"{type(name).__name__} {name.value}",
)
def test_row_3_no_name_but_a_dns_name_is_a_role(port: NodePort, name: x509.GeneralName) -> None:
    """An outside authority that may not give the names of roles may give others."""
    assert code_for_names(port, [name]) is grpc.StatusCode.PERMISSION_DENIED
    assert code_for_names(port, []) is grpc.StatusCode.PERMISSION_DENIED
    # The counterpart: beside the right one they do not matter.
    assert code_for_names(port, [name, x509.DNSName("router.port.quorate")]) is grpc.StatusCode.OK


def code_for_names(port: NodePort, names: list[x509.GeneralName]) -> grpc.StatusCode:
    """Return how a call ends with a certificate of the cluster's authority for these names."""
    issuer = x509.load_pem_x509_certificate((port.certs / "ca.crt").read_bytes())
    issuer_key = load_pem_private_key((port.certs / "ca.key").read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.fromtimestamp(time.time(), UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    credentials = grpc.ssl_channel_credentials(
        issuer.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
    )
    options = (("grpc.ssl_target_name_override", f"node.{CLUSTER}.quorate"),)
    with grpc.secure_channel(port.address, credentials, options) as channel:
        try:
            NodeServiceStub(channel).GetStatus(node_pb2.GetStatusRequest(), timeout=5)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[no-any-return]
    return grpc.StatusCode.OK


# Row 4: who was a member. Those that were removed: tests/processes/test_certificates.py.


@pytest.mark.parametrize(
    "change",
    [
        {"incarnation": "of a wiped directory"},
        {"start": Start(1, "first")},
        {"start": Start(2, "copy")},
    ],
    ids=["old incarnation", "older start", "copy"],
)
def test_row_4_old_incarnation_is_refused_whatever_it_shows(
    port: NodePort, change: dict[str, Any]
) -> None:
    tell(port, [])  # the second start is known

    with pytest.raises(Refused) as refused:
        tell(port, [heartbeat(99), append(99, 0, 0, b"x")], said=identity("b1", **change))

    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_row_4_node_that_nobody_knows_is_refused(port: NodePort) -> None:
    make_cluster_certificate(port.certs, node_caller("z9"), time.time(), overwrite=True)
    stranger = identity("b1", node_id=9)

    with pytest.raises(Refused) as refused:
        tell(port, [heartbeat(99)], shown=node_caller("z9"), said=stranger)

    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


# Row 5: what is meant for others.


def test_row_5_other_cluster(port: NodePort) -> None:
    with pytest.raises(Refused, match="of another cluster") as refused:
        tell(port, [heartbeat(99)], said=identity("b1", cluster_id="other"))
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED

    foreign = Caller(Role.NODE, "other", "b1")
    other = port.folder / "other"
    other.mkdir(exist_ok=True)
    for name in ("ca.crt", "ca.key"):
        (other / name).write_bytes((port.certs / name).read_bytes())
        (other / name).chmod(0o600)
    make_cluster_certificate(other, foreign, time.time(), overwrite=True)

    async def story() -> None:
        credentials = dialer(other, foreign).credentials
        assert credentials is not None
        channel = grpc.aio.secure_channel(
            port.address,
            credentials,
            options=(("grpc.ssl_target_name_override", f"node.{CLUSTER}.quorate"),),
        )
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError, match="of cluster other") as denied:
                await NodeServiceStub(channel).Identify(node_pb2.IdentifyRequest(), timeout=5)
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(story())


def test_row_5_message_for_another_node_or_group(port: NodePort) -> None:
    with pytest.raises(Refused, match="this is node 1, not node '2'") as refused:
        tell(port, [heartbeat(99)], receiver=2)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION

    tell(port, [append(99, 0, 0, b"x", group=4_000_000)])  # dropped: as if it were lost


# Row 16: what only an admin may.


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("change", CHANGES)
def test_row_16_changes_by_role(port: NodePort, role: Role, change: str) -> None:
    command = catalog_pb2.CatalogCommand(request_id=bytes(16))
    getattr(command, change).SetInParent()
    if change == "add_node":
        command.add_node.name = "b1"
    request = node_pb2.ChangeCatalogRequest(command=command)
    before = port.log().count(f"call_refused method=ChangeCatalog/{change} ")

    code = refusal(port, CALLERS[role], "ChangeCatalog", request)

    assert (code is None) == may_change(role, change)
    if change in ("replace_node", "cancel_replacement", "remove_node"):
        assert (code is None) == (role is Role.ADMIN)
    if code is None and role is Role.ADMIN:
        assert f"admin_call method=ChangeCatalog/{change} " in port.log()
    if code is not None and change == "replace_node":
        assert port.log().count(f"call_refused method=ChangeCatalog/{change} ") > before


def test_row_16_node_adds_itself_alone(port: NodePort) -> None:
    command = catalog_pb2.CatalogCommand(request_id=bytes(16))
    command.add_node.name = "d1"
    request = node_pb2.ChangeCatalogRequest(command=command)

    assert refusal(port, node_caller("b1"), "ChangeCatalog", request)


@pytest.mark.parametrize("role", list(Role))
def test_row_16_leadership_is_handed_over_for_admins_alone(port: NodePort, role: Role) -> None:
    code = refusal(
        port, CALLERS[role], "TransferLeadership", node_pb2.TransferLeadershipRequest(to=2)
    )

    assert (code is None) == (role is Role.ADMIN)


# Row 17: what is not there.


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/quorate.v1.NodeService/NoSuchCall",
        "/quorate.v1.ClusterService/ReplaceNode",
    ],
)
def test_row_17_unknown_services_are_unimplemented(port: NodePort, method: str) -> None:
    async def story() -> None:
        async with port.opened(ADMIN) as channel:
            call: Any = channel.unary_unary(method)
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await call(b"", timeout=5)
            assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(story())
