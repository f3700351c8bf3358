"""What clients, and what is between them and a router, make of HTTP: proxies, codings, upgrades."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import zlib
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from quorate.local.background import BackgroundCluster
from tests.sdk.conftest import CREDENTIALS

ONE_ATTEMPT = {"total_max_attempts": 1, "mode": "standard"}
SIGNED_BY_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=a/20260101/local/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0"
)


def client_of(endpoint: str, **config: Any) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        config=Config(retries=ONE_ATTEMPT, **config),
        **CREDENTIALS,
    )


@pytest.mark.parametrize(
    "endpoint",
    ["http://localhost:8000", "http://localhost", "http://LocalHost/"],
)
def test_boto3_may_take_the_router_for_its_proxy(
    cluster: BackgroundCluster, table: str, endpoint: str
) -> None:
    """As HTTP_PROXY in a container's environment has it: the target is a whole URL then."""
    client = client_of(endpoint, proxies={"http": cluster.http_url})
    item = {"artist": {"S": "proxy"}, "song": {"S": endpoint}}
    client.put_item(TableName=table, Item=item)
    got = client.get_item(TableName=table, Key=item, ConsistentRead=True)
    client.close()

    assert got["Item"] == item


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]),
    "deflate": zlib.compress,
    "identity": bytes,
    "deflate, gzip": lambda body: gzip.compress(zlib.compress(body)),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_boto3_may_compress_its_requests(
    cluster: BackgroundCluster, table: str, coding: str
) -> None:
    client = client_of(cluster.http_url)

    def compress(request: Any, **_: Any) -> None:
        request.data = CODINGS[coding](request.body)
        request.headers["Content-Encoding"] = coding

    client.meta.events.register("before-sign.dynamodb", compress)
    item = {"artist": {"S": "coding"}, "song": {"S": coding}, "text": {"S": "x" * 20_000}}
    client.put_item(TableName=table, Item=item)
    key = {name: item[name] for name in ("artist", "song")}
    got = client.get_item(TableName=table, Key=key, ConsistentRead=True)
    client.close()

    assert got["Item"] == item


def curl(cluster: BackgroundCluster, *options: str) -> tuple[int, str, str]:
    """Call ListTables; return status, media type and body of the answer."""
    command = shutil.which("curl")
    if command is None:
        pytest.skip("no curl on this machine")
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Authorization": SIGNED_BY_ANYBODY}
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    shown = ["-s", "--max-time", "20", "-w", "\n%{http_code}\n%{content_type}"]
    done = subprocess.run(
        [command, *shown, *lines, "-d", "{}", *options, cluster.http_url],
        capture_output=True,
        text=True,
        check=True,
    )
    body, status, media_type = done.stdout.rsplit("\n", 2)
    return int(status), media_type, body


CURL = {
    "json": ("-H", "Content-Type: application/json"),
    "json with a charset": ("-H", "Content-Type: Application/JSON; charset=utf-8"),
    "blanks": ("-H", "Content-Type: application/json \t "),
    "upgrade": ("--http2", "-H", "Content-Type: application/json"),
    "upgrade and chunks": (
        *("--http2", "-H", "Content-Type: application/json"),
        *("-H", "Transfer-Encoding: chunked"),
    ),
    "upgrade, chunks and patience": (
        *("--http2", "-H", "Content-Type: application/json"),
        *("-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"),
    ),
    "HTTP/1.0": ("--http1.0", "-H", "Content-Type: application/json"),
    "a whole URL": (
        *("--request-target", "http://localhost:8000"),
        *("-H", "Content-Type: application/json"),
    ),
}


@pytest.mark.parametrize("options", CURL.values(), ids=CURL)
def test_curl_is_answered_with_the_media_type_it_sent(
    cluster: BackgroundCluster, options: tuple[str, ...]
) -> None:
    status, media_type, body = curl(cluster, *options)

    assert (status, media_type) == (200, "application/json")
    assert "TableNames" in json.loads(body)
