"""Users of a real cluster: made with the command, seen by every router, gone when deleted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from quorate.client import Credentials
from quorate.local.background import BackgroundCluster, wait_until
from quorate.security.sealing import OPERATOR_ID, Place, load_key_file, new_access_key
from quorate.v1 import catalog_pb2, users_pb2
from tests.processes.conftest import make_table

OTHER_ROUTER_SECONDS = 5.0
START_SECONDS = 30.0
NOT_UP = "not up"
CREATE_USER = "/quorate.v1.UserService/CreateUser"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def closed(own_cluster: Callable[..., BackgroundCluster]) -> Iterator[BackgroundCluster]:
    """A cluster with two routers and the table `music`, open until a story closes it."""
    with own_cluster("users", routers=2, partitions=3) as cluster:
        make_table(cluster, "music")
        yield cluster


@pytest.fixture
def quorate(closed: BackgroundCluster) -> Run:
    """Run the command as the operator, without anybody's access key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "quorate", *arguments],
            env={
                **clean,
                "QUORATE_ENDPOINT": closed.grpc_address,
                "QUORATE_DATA_DIR": str(closed.data_dir),
                **environment,
            },
            input="n\n",  # to whatever it asks
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def new_key(quorate: Run, *arguments: str) -> tuple[str, str]:
    """Return the access key that a `quorate user` command prints."""
    done = quorate("user", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return document["access_key_id"], document["secret_access_key"]


def code(url: str, key: tuple[str, str], proxy: str = "") -> str:
    """Return the error code that a call by an SDK is refused with, "" if it is served.

    With a proxy it goes there, and its target is a whole URL. NOT_UP stands for a router that does
    not listen.
    """
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="eu-north-1",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={"http": proxy} if proxy else None,
        ),
    )
    try:
        client.put_item(TableName="music", Item={"group": {"S": "a"}, "id": {"S": "b"}})
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except EndpointConnectionError:
        return NOT_UP
    finally:
        client.close()
    return ""


def urls(cluster: BackgroundCluster) -> list[str]:
    routers = (view for view in cluster.processes().values() if view.kind == "router")
    return [f"http://127.0.0.1:{view.ports['http']}" for view in routers]


def wait_for(cluster: BackgroundCluster, key: tuple[str, str], expected: str) -> None:
    """Return when every router answers a key so."""
    wait_until(
        lambda: all(code(url, key) == expected for url in urls(cluster)),
        what=f"every router answers {expected or 'well'!r}",
        timeout_seconds=OTHER_ROUTER_SECONDS,
    )


def everything_said(cluster: BackgroundCluster) -> bytes:
    """Return all logs, and everything that the nodes have on disk."""
    files = [path for path in Path(cluster.data_dir).rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


def test_user_is_made_used_rotated_and_deleted(closed: BackgroundCluster, quorate: Run) -> None:
    stranger = ("any", "any")
    assert [code(url, stranger) for url in urls(closed)] == ["", ""], "open while there is nobody"

    first = new_key(quorate, "create", "ada")
    wait_for(closed, stranger, "UnrecognizedClientException")
    wait_for(closed, first, "")
    wait_for(closed, (first[0], "wrong"), "InvalidSignatureException")

    second = new_key(quorate, "add-key", "ada")
    wait_for(closed, second, "")
    assert json.loads(quorate("user", "list", "--json").stdout) == {
        "ada": {"access_keys": [first[0], second[0]], "allowed": ["*:*"]}
    }
    assert quorate("user", "delete-key", "ada", first[0]).returncode == 0
    wait_for(closed, first, "UnrecognizedClientException")
    wait_for(closed, second, "")

    unsure = quorate("user", "delete", "ada")
    assert (unsure.returncode, unsure.stdout.strip()) == (2, "")
    assert "Delete user ada? It is the last: then nobody may call any more." in unsure.stderr
    assert quorate("user", "open-cluster", "-y").returncode == 1, "there is a user"
    deleted = quorate("user", "delete", "-y", "ada")
    assert deleted.returncode == 0
    assert "the cluster stays closed" in deleted.stdout
    wait_for(closed, second, "UnrecognizedClientException")
    wait_for(closed, stranger, "UnrecognizedClientException")
    unsure = quorate("user", "open-cluster")
    assert (unsure.returncode, unsure.stdout.strip()) == (2, "")
    assert "May everybody who reaches a router read and change everything" in unsure.stderr
    assert quorate("user", "open-cluster", "-y").returncode == 0
    wait_for(closed, stranger, "")

    said = everything_said(closed)
    assert first[0].encode() in said, "ids are no secrets"
    for _, secret in (first, second):
        assert secret.encode() not in said


def test_row_38_captured_call_of_an_operator_has_no_effect_again_on_any_router(
    closed: BackgroundCluster, quorate: Run
) -> None:
    """It would bring a deleted user back, with its old key, which somebody may have leaked."""
    keys = load_key_file(closed.data_dir / "users.key")
    cluster_id = closed.status()["cluster_id"]
    key = new_access_key()
    place = Place(cluster_id=cluster_id, user_name="ada", grants=(), access_key_id=key[0])
    message = users_pb2.CreateUserRequest(
        name="ada",
        access_key=catalog_pb2.AccessKey(id=key[0], sealed_secret=keys.seal(key[1], place)),
        change=users_pb2.ChangeId(cluster_id=cluster_id, id=os.urandom(16)),
    ).SerializeToString()
    operator = Credentials(OPERATOR_ID, keys.operator_secret)
    metadata = operator.metadata(CREATE_USER, time.time(), message)

    def send(router: str) -> str:
        """Send the very same call; return how it ends."""
        with grpc.insecure_channel(router) as channel:
            call: Any = channel.unary_unary(CREATE_USER)
            try:
                call(message, metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                return str(error.details())
        return "done"

    assert send(closed.grpc_address) == "done"
    wait_for(closed, key, "")
    assert quorate("user", "delete", "-y", "ada").returncode == 0
    wait_for(closed, key, "UnrecognizedClientException")

    routers = [view for view in closed.processes().values() if view.kind == "router"]
    for view in routers:
        assert send(f"127.0.0.1:{view.ports['grpc']}").startswith("This call was sent before")
    assert len(routers) == 2
    assert quorate("user", "list", "--json").stdout.strip() == "{}"
    wait_for(closed, key, "UnrecognizedClientException")


def test_the_command_signs_with_the_key_of_the_environment(
    closed: BackgroundCluster, quorate: Run
) -> None:
    key_id, secret = new_key(quorate, "create", "ada")

    refused = quorate("table", "list")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "MissingAuthenticationTokenException" in refused.stderr

    served = quorate("table", "list", AWS_ACCESS_KEY_ID=key_id, AWS_SECRET_ACCESS_KEY=secret)
    assert (served.returncode, served.stdout) == (0, "music\n")


def test_user_may_take_a_router_for_the_proxy_to_any_host(
    closed: BackgroundCluster, quorate: Run
) -> None:
    """The signature covers the host of the URL, without the port that is understood."""
    key = new_key(quorate, "create", "ada")
    wait_for(closed, key, "")
    proxy = urls(closed)[0]

    for url in (
        "http://quorate.example:8000",
        "http://quorate.example:80",
        "http://Quorate.example",
    ):
        assert code(url, key, proxy) == ""
        assert code(url, (key[0], "wrong"), proxy) == "InvalidSignatureException"


def test_user_does_what_it_is_allowed_on_every_router(
    closed: BackgroundCluster, quorate: Run
) -> None:
    key = new_key(quorate, "create", "bob", "--allow", "write:mus*", "--allow", "GetItem:orders")
    wait_for(closed, key, "")
    assert quorate("user", "list").stdout == f"bob {key[0]} write:mus* GetItem:orders\n"

    environment = {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]}
    refused = quorate("table", "describe", "music", **environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "bob is not authorized to perform: dynamodb:DescribeTable on resource" in refused.stderr
    assert "table/music" in refused.stderr

    said = quorate("user", "allow", "bob", "read:*")
    assert said.stdout == "user bob may do read:* and nothing else\n", said.stderr
    wait_for(closed, key, "AccessDeniedException")
    assert quorate("table", "list", **environment).stdout == "music\n"

    assert quorate("user", "allow", "bob", "*:*").returncode == 0
    wait_for(closed, key, "")
    assert quorate("user", "allow", "eve", "read:*").returncode == 4, "there is no such user"

    audit = "refused what=PutItem who=\"user 'bob'\""
    for line in (audit, "dynamodb:PutItem on resource: arn:aws"):
        assert line.encode() in everything_said(closed)


def test_users_survive_the_restart_of_everything(closed: BackgroundCluster, quorate: Run) -> None:
    key = new_key(quorate, "create", "ada")
    reader = new_key(quorate, "create", "bob", "--allow", "read:*")

    for name in closed.processes():
        closed.restart(name)
    closed.wait_healthy()
    wait_until(
        lambda: all(code(url, key) != NOT_UP for url in urls(closed)),
        what="every router listens again",
        timeout_seconds=START_SECONDS,
    )

    wait_for(closed, key, "")
    wait_for(closed, reader, "AccessDeniedException")
    wait_for(closed, ("any", "any"), "UnrecognizedClientException")


def test_operator_without_the_key_file_is_told_so(
    closed: BackgroundCluster, quorate: Run, tmp_path: Path
) -> None:
    lost = quorate("user", "list", QUORATE_KEY_FILE=str(tmp_path / "none"))
    assert (lost.returncode, lost.stdout) == (2, "")
    assert "cannot read the key file" in lost.stderr

    foreign = tmp_path / "foreign"
    foreign.write_text("00" * 32)
    foreign.chmod(0o600)
    refused = quorate("user", "create", "eve", QUORATE_KEY_FILE=str(foreign))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "InvalidSignatureException" in refused.stderr
