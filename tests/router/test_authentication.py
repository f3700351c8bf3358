"""Who may call over gRPC, how a change of users takes effect, and that nothing secret is told."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from model.errors import ServiceUnavailable
from quorate.client import Client, Credentials, RequestRefused
from quorate.client.errors import QuorateError
from quorate.client.operator import ListedUser, Operator
from quorate.cluster.catalog import AccessKeyRecord, Grant, UserRecord
from quorate.cluster.commands import (
    CatalogCommand,
    CreateUser,
    ReplaceGrants,
    decode_catalog_command,
)
from quorate.local.admin_http import get
from quorate.security.permissions import parse_grant
from quorate.security.sealing import OPERATOR_ID, KeyFile, Place
from quorate.v1 import api_pb2, node_pb2, users_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from router.authentication import Authentication
from router.options import RouterOptions
from router.process import Refused, RouterProcess
from tests.router.cluster import CLUSTER_ID
from tests.router.signed import KEY_FILE, KEY_ID, SECRET, ada
from tests.router.world import World, tell

METHOD = "/quorate.v1.QuorateService/ListTables"
ADA = Credentials(KEY_ID, SECRET)


@pytest.fixture(autouse=True)
def no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def client(world: World, credentials: Credentials | None = None) -> Client:
    return Client(f"127.0.0.1:{world.router.grpc_port}", credentials=credentials)


def without(name: str, metadata: Any = ()) -> Any:
    """Return the metadata of a signed call, but for one of its parts."""
    return [each for each in metadata or ADA.metadata(METHOD, time.time(), b"") if each[0] != name]


async def list_tables(world: World, metadata: Any = ()) -> list[str]:
    """Make one unary call; raises AioRpcError."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
        stub = QuorateServiceStub(channel)
        answer = await stub.ListTables(api_pb2.ListTablesRequest(), metadata=metadata, timeout=3)
        return list(answer.table_names)


def place(user_name: str = "ada", key_id: str = KEY_ID, grants: tuple[Grant, ...] = ()) -> Place:
    return Place(cluster_id=CLUSTER_ID, user_name=user_name, grants=grants, access_key_id=key_id)


async def refused(client: Client) -> str:
    """Return the code that a call over the Pipeline is refused with."""
    with pytest.raises(RequestRefused) as refusal:
        await client.put_item("Music", {"p": "a"})
    return refusal.value.code


def test_signed_calls_are_served_over_both_grpc_ways(key_file: Path) -> None:
    async def story(world: World) -> None:
        async with client(world, ADA) as ours:
            await ours.put_item("Music", {"p": "a"})
        for request_id in (b"", b"i" * 16):
            signed = ADA.metadata(METHOD, time.time(), b"", request_id)
            assert await list_tables(world, signed) == ["Music"]

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        (Credentials("QRTEBBBBBBBBBBBBBBBB", SECRET), "UnrecognizedClientException"),
        (Credentials(KEY_ID, "wrong"), "InvalidSignatureException"),
    ],
)
def test_other_calls_are_refused_over_both_grpc_ways(
    key_file: Path, credentials: Credentials | None, code: str
) -> None:
    async def story(world: World) -> None:
        async with client(world, credentials) as stranger:
            assert await refused(stranger) == code
        metadata = credentials.metadata(METHOD, time.time(), b"") if credentials else ()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await list_tables(world, metadata)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert not world.items

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda: ADA.metadata("/quorate.v1.QuorateService/DeleteTable", time.time(), b""),
            id="signed for another method",
        ),
        pytest.param(
            lambda: ADA.metadata(METHOD, time.time() - 16 * 60, b""), id="signed long ago"
        ),
        pytest.param(lambda: ADA.metadata(METHOD, time.time(), b"") * 2, id="signed twice"),
        pytest.param(lambda: without("x-amz-date"), id="no date"),
        pytest.param(lambda: without("x-amz-content-sha256"), id="no hash"),
        pytest.param(
            lambda: (*without("x-amz-content-sha256"), ("x-amz-content-sha256", "0" * 64)),
            id="another hash beside the signed message",
        ),
        pytest.param(
            lambda: ADA.metadata(METHOD, time.time(), b"another message"),
            id="signed for another message",
        ),
        pytest.param(
            lambda: (*ADA.metadata(METHOD, time.time(), b""), ("x-quorate-request-id", "0" * 32)),
            id="a request id that is not signed",
        ),
        pytest.param(
            lambda: without(
                "x-quorate-request-id", ADA.metadata(METHOD, time.time(), b"", b"i" * 16)
            ),
            id="the request id taken away",
        ),
    ],
)
def test_row_37_call_that_is_not_signed_for_itself_and_now_is_refused(
    key_file: Path, change: Callable[[], Any]
) -> None:
    async def story(world: World) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await list_tables(world, change())
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_anybody_is_served_while_there_are_no_users(key_file: Path) -> None:
    async def story(world: World) -> None:
        for credentials in (None, ADA, Credentials("any", "any")):
            async with client(world, credentials) as anybody:
                await anybody.put_item("Music", {"p": "a"})

    tell(story, key_file=key_file)


def test_open_stream_is_closed_to_strangers_by_the_first_user(key_file: Path) -> None:
    async def story(world: World) -> None:
        async with client(world) as stranger, client(world, ADA) as user:
            await stranger.put_item("Music", {"p": "a"})
            await user.put_item("Music", {"p": "b"})

            await world.publish_users(ada(CLUSTER_ID))

            assert await refused(stranger) == "MissingAuthenticationTokenException"
            await user.put_item("Music", {"p": "c"})

    tell(story, key_file=key_file)


def test_deleted_key_ends_at_once_also_on_an_open_stream(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(world: World) -> None:
        async with client(world, ADA) as user:
            await user.put_item("Music", {"p": "a"})

            await world.publish_users(UserRecord(name="ada", access_keys=()))

            for _ in range(3):
                assert await refused(user) == "UnrecognizedClientException"

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file, log_level="warning")

    # gRPC may have something to say of the stand-in nodes' end.
    (line,) = [each.getMessage() for each in caplog.records if each.name == "quorate.events"]
    assert line.startswith("refused what=/quorate.v1.QuorateService/Pipeline who=ipv4:127.0.0.1:")
    assert line.endswith(" why=UnrecognizedClientException")


def test_secret_that_was_sealed_with_another_key_file_opens_nothing(key_file: Path) -> None:
    sealed = KeyFile(b"1" * 32).seal(SECRET, place())
    user = UserRecord(name="ada", access_keys=(AccessKeyRecord(id=KEY_ID, sealed_secret=sealed),))

    async def story(world: World) -> None:
        async with client(world, ADA) as ours:
            assert await refused(ours) == "UnrecognizedClientException"

    tell(story, users=(user,), key_file=key_file)


def test_row_39_grants_that_no_operator_has_sealed_make_the_key_useless(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that lies gives its own user more rights, or another user's key; on an open stream."""
    honest = ada(CLUSTER_ID, parse_grant("write:Music"))
    lies = [
        replace(honest, grants=()),
        replace(honest, grants=(parse_grant("*:*"),)),
        replace(honest, name="root"),
    ]

    async def story(world: World) -> None:
        async with client(world, ADA) as user:
            for lie in lies:
                await user.put_item("Music", {"p": "a"})
                await world.publish_users(lie)
                assert await refused(user) == "UnrecognizedClientException"
                await world.publish_users(honest)

    tell(story, users=(honest,), key_file=key_file, log_level="error")
    lines = [line for line in caplog.messages if line.startswith("access_key_unusable ")]
    assert len(lines) == len(lies)
    assert "has not sealed it for this user and its grants" in lines[0]


def test_row_37_signature_of_a_call_does_not_open_a_pipeline(key_file: Path) -> None:
    """It is signed when it is opened, over nothing; that of a message is for that message alone."""
    method = "/quorate.v1.QuorateService/Pipeline"

    async def answer(world: World, message: bytes) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call = QuorateServiceStub(channel).Pipeline(
                iter(()), metadata=ADA.metadata(method, time.time(), message), timeout=3
            )
            return await call.code()  # type: ignore[no-any-return]

    async def story(world: World) -> None:
        assert await answer(world, b"") is grpc.StatusCode.OK
        assert await answer(world, b"a message") is grpc.StatusCode.UNAUTHENTICATED

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_row_40_closed_cluster_without_users_serves_nobody(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def status(world: World) -> str:
        _, document = await asyncio.to_thread(
            get, f"127.0.0.1:{world.router.admin_port}", "/status"
        )
        return str(json.loads(document)["router"]["signatures"])

    async def story(world: World) -> None:
        async with client(world) as stranger:
            await stranger.put_item("Music", {"p": "a"})
            assert await status(world) == "not required"

            await world.publish_users(closed=True)
            assert await refused(stranger) == "MissingAuthenticationTokenException"
            assert await status(world) == "required"

            await world.publish_users()
            await stranger.put_item("Music", {"p": "a"})

    with caplog.at_level("INFO"):
        tell(story, key_file=key_file, log_level="info")
    said = [line.partition(" ")[0] for line in caplog.messages]
    assert [each for each in said if each in ("open_to_everybody", "closed")] == [
        "open_to_everybody",
        "closed",
        "open_to_everybody",
    ]


def test_router_that_does_not_know_the_users_yet_asks_to_be_tried_again() -> None:
    authentication = Authentication(
        key_file=KEY_FILE, always_required=True, region=None, wall_clock=time.time
    )

    with pytest.raises(ServiceUnavailable):
        authentication.check_grpc(METHOD, ADA.metadata(METHOD, time.time(), b""))


# Operators


def test_only_who_has_the_key_file_manages_users(key_file: Path) -> None:
    async def story(world: World) -> None:
        endpoint = f"127.0.0.1:{world.router.grpc_port}"
        async with Operator(endpoint, KEY_FILE) as operator:
            assert list(await operator.users()) == ["ada"]
        async with Operator(endpoint, KeyFile(b"1" * 32)) as stranger:
            with pytest.raises(QuorateError) as refusal:
                await stranger.users()
            assert refusal.value.code == "InvalidSignatureException"

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_operator_hands_over_secrets_sealed_only(key_file: Path) -> None:
    async def story(world: World) -> None:
        endpoint = f"127.0.0.1:{world.router.grpc_port}"
        async with Operator(endpoint, KEY_FILE) as operator:
            made = await operator.create_user("bob")

        (request,) = (node.commands[-1] for node in world.nodes if node.commands)
        assert made.secret_access_key.encode() not in request.SerializeToString()
        key = request.command.create_user.access_key
        assert KEY_FILE.unseal(key.sealed_secret, place("bob", key.id)) == made.secret_access_key
        assert made.secret_access_key not in repr(made)

    tell(story, key_file=key_file)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a\n", "é"])
def test_user_has_a_name_as_in_iam(key_file: Path, name: str) -> None:
    async def story(world: World) -> None:
        async with Operator(f"127.0.0.1:{world.router.grpc_port}", KEY_FILE) as operator:
            with pytest.raises(QuorateError) as refusal:
                await operator.create_user(name)
            assert refusal.value.code == "ValidationException"

    tell(story, key_file=key_file)


def test_operator_gives_a_user_grants(key_file: Path) -> None:
    grants = (parse_grant("read:orders,log-*"), parse_grant("PutItem:log-*"))

    async def story(world: World) -> None:
        async with Operator(f"127.0.0.1:{world.router.grpc_port}", KEY_FILE) as operator:
            await operator.create_user("bob", grants)
            await operator.replace_grants("ada", grants[:1])
            listed = await operator.users()

        created, replaced = (
            command for node in world.nodes for command in map(decode, node.commands)
        )
        assert isinstance(created, CreateUser)
        assert isinstance(replaced, ReplaceGrants)
        assert (created.grants, replaced.grants) == (grants, grants[:1])
        (key,) = replaced.access_keys
        assert KEY_FILE.unseal(key.sealed_secret, place(grants=grants[:1])) == SECRET
        assert listed == {"ada": ListedUser(access_key_ids=[KEY_ID], grants=grants)}

    def decode(request: node_pb2.ChangeCatalogRequest) -> CatalogCommand | None:
        return decode_catalog_command(request.command)

    tell(story, users=(ada(CLUSTER_ID, *grants),), key_file=key_file)


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ([], "to mean it, grant *:*"),
        ([Grant(actions=("Get",), tables=("orders",))], "'Get' is no action"),
        ([Grant(actions=("read",), tables=("or ders",))], "'or ders' is no table"),
        ([parse_grant("read:" + "x" * 255)] * 8, "2,048 characters at most"),
    ],
)
def test_grants_that_mean_nothing_are_refused(
    key_file: Path, grants: list[Grant], said: str
) -> None:
    async def story(world: World) -> None:
        async with Operator(f"127.0.0.1:{world.router.grpc_port}", KEY_FILE) as operator:
            with pytest.raises(QuorateError, match=re.escape(said)) as refusal:
                await operator.replace_grants("ada", grants)
            assert refusal.value.code == "ValidationException"
        assert not any(node.commands for node in world.nodes)

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_row_24_users_key_does_not_manage_users(key_file: Path) -> None:
    async def story(world: World) -> None:
        operator = Operator(f"127.0.0.1:{world.router.grpc_port}", KEY_FILE)
        operator._credentials = ADA
        async with operator:
            with pytest.raises(QuorateError) as refusal:
                await operator._call("DeleteUser", delete_user("ada"))
            assert refusal.value.code == "AccessDeniedException"
            assert "user/ada is not authorized to perform: quorate:DeleteUser" in str(refusal.value)

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_row_38_operators_captured_signature_does_not_carry_another_message(key_file: Path) -> None:
    method = "/quorate.v1.UserService/DeleteUser"

    async def story(world: World) -> None:
        signer = Credentials(OPERATOR_ID, KEY_FILE.operator_secret)
        captured = delete_user("bob").SerializeToString()
        metadata = signer.metadata(method, time.time(), captured)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call: Any = channel.unary_unary(method)
            for message in (
                delete_user("ada").SerializeToString(),
                b"",
                b"\xff no message",
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await call(message, metadata=metadata, timeout=3)
                assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await call(captured, metadata=metadata, timeout=3)
            garbage = signer.metadata(method, time.time(), b"\xff no message")
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call(b"\xff no message", metadata=garbage, timeout=3)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def delete_user(
    name: str, cluster_id: str = CLUSTER_ID, change_id: bytes = b"i" * 16
) -> users_pb2.DeleteUserRequest:
    change = users_pb2.ChangeId(cluster_id=cluster_id, id=change_id)
    return users_pb2.DeleteUserRequest(name=name, change=change)


async def delete_user_code(
    world: World, request: users_pb2.DeleteUserRequest, *, late_seconds: float = 0.0
) -> grpc.StatusCode:
    """Return how the call of an operator ends whose date is so much off."""
    method = "/quorate.v1.UserService/DeleteUser"
    signer = Credentials(OPERATOR_ID, KEY_FILE.operator_secret)
    message = request.SerializeToString()
    metadata = signer.metadata(method, time.time() - late_seconds, message)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
        call: Any = channel.unary_unary(method)
        try:
            await call(message, metadata=metadata, timeout=3)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("request_of", "late_seconds", "expected"),
    [
        (lambda: delete_user("ada"), 0, grpc.StatusCode.OK),
        (lambda: delete_user("ada"), 90, grpc.StatusCode.UNAUTHENTICATED),
        (lambda: delete_user("ada"), -90, grpc.StatusCode.UNAUTHENTICATED),
        (lambda: delete_user("ada", "another"), 0, grpc.StatusCode.PERMISSION_DENIED),
        (lambda: delete_user("ada", ""), 0, grpc.StatusCode.PERMISSION_DENIED),
        (lambda: delete_user("ada", change_id=b""), 0, grpc.StatusCode.INVALID_ARGUMENT),
        (lambda: delete_user("ada", change_id=b"i" * 17), 0, grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["good", "old", "early", "other cluster", "no cluster", "no id", "long id"],
)
def test_row_38_operators_call_is_for_one_cluster_and_for_now(
    key_file: Path,
    request_of: Callable[[], users_pb2.DeleteUserRequest],
    late_seconds: float,
    expected: grpc.StatusCode,
) -> None:
    async def story(world: World) -> None:
        found = await delete_user_code(world, request_of(), late_seconds=late_seconds)
        assert found is expected
        commands = [command for node in world.nodes for command in node.commands]
        assert len(commands) == (expected is grpc.StatusCode.OK)

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_row_38_what_was_asked_before_is_refused_and_logged(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That the catalog says so: test_catalog_machine.py, and tests/processes/test_users.py."""

    async def story(world: World) -> None:
        for node in world.nodes:
            node.change = lambda command: "repeated" if command.operator_call == b"i" * 16 else ""
        found = await delete_user_code(world, delete_user("ada"))
        assert found is grpc.StatusCode.UNAUTHENTICATED

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file, log_level="warning")
    assert any(
        line.startswith("refused what=/quorate.v1.UserService/DeleteUser")
        for line in caplog.messages
    )


# Options


def options(**more: Any) -> RouterOptions:
    addresses = dict.fromkeys(("http", "grpc", "admin"), "127.0.0.1:0")
    return RouterOptions(
        **{
            "name": "r1",
            "az": "a",
            "cluster_id": "c",
            "nodes": ("127.0.0.1:1",),
            **addresses,
            **more,
        }
    )


@pytest.mark.parametrize("face", ["http", "grpc"])
def test_router_is_open_to_other_machines_only_when_told(face: str, key_file: Path) -> None:
    everywhere = {face: "0.0.0.0:0"}

    with pytest.raises(Refused, match="needs --require-auth, or --insecure"):
        RouterProcess(options(**everywhere, key_file=key_file))
    RouterProcess(options(**everywhere, insecure=True))
    RouterProcess(options(**everywhere, require_auth=True, key_file=key_file))


def test_signatures_cannot_be_required_without_a_key_file() -> None:
    with pytest.raises(Refused, match="--require-auth needs --key-file"):
        RouterProcess(options(require_auth=True))


def test_key_file_that_others_may_read_stops_the_router(key_file: Path) -> None:
    key_file.chmod(0o644)

    with pytest.raises(Refused, match="open to others"):
        RouterProcess(options(key_file=key_file))


def test_refusals_are_logged_without_secrets_and_not_without_bound(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(world: World) -> None:
        credentials = Credentials(KEY_ID, "a wrong secret")
        for _ in range(50):
            with pytest.raises(grpc.aio.AioRpcError):
                await list_tables(world, credentials.metadata(METHOD, time.time(), b""))

    with caplog.at_level("WARNING"):
        tell(story, users=(ada(CLUSTER_ID),), key_file=key_file, log_level="warning")

    lines = [line for line in caplog.messages if line.startswith("refused ")]
    assert 1 <= len(lines) <= 40
    assert "InvalidSignatureException" in lines[0]
    assert not any(text in caplog.text for text in (SECRET, "a wrong secret", "Signature="))
