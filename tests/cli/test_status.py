"""`quorate status`, with a router that tells what the test says."""

from __future__ import annotations

import http.server
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quorate.cli.status import UNKNOWN as DASH
from quorate.cli.status import duration_text, size_text, troubles, versions_text
from tests.cli.conftest import Command


def status_document() -> dict[str, Any]:
    names = [("a1", "az-a"), ("b1", "az-b"), ("c1", "az-c")]
    return {
        "cluster_id": "c0ffee",
        "epoch": 3,
        "router": {
            "name": "r1",
            "pid": 10,
            "uptime_seconds": 5.0,
            "version": "0.1.0",
            "signatures": "not required",
        },
        "nodes": [
            {
                "id": number,
                "name": name,
                "az": az,
                "address": f"127.0.0.1:1700{number}",
                "pid": 100 + number,
                "healthy": True,
                "uptime_seconds": 61.5,
                "version": "0.1.0",
                "memtable_bytes": 1536,
                "log_bytes": 1 << 20,
                "items_bytes": 0,
                "log_commits": 7,
            }
            for number, (name, az) in enumerate(names, start=1)
        ],
        "partitions": [
            {
                "id": 1,
                "low_token": 0,
                "leader": "a1",
                "term": 2,
                "commit": 9,
                "applied": 9,
                "replicas": [
                    {
                        "node": name,
                        "az": az,
                        "role": "leader" if name == "a1" else "follower",
                        "match": 9,
                        "lag_entries": 4 if name == "c1" else 0,
                        "healthy": True,
                    }
                    for name, az in names
                ],
            }
        ],
        "replacements": [],
        "tables": [{"name": "music", "id": 1, "item_count": 12, "size_bytes": 2048}],
    }


class Admin(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the server's document."""

    def do_GET(self) -> None:
        body = json.dumps(self.server.document).encode()  # type: ignore[attr-defined]
        self.send_response(self.server.code)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def admin() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Admin)
    server.document, server.code = status_document(), 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_healthy_cluster_is_shown_and_exits_with_zero(quorate: Command, admin: Any) -> None:
    ended = quorate("status", "--admin-port", str(admin.server_port))

    assert ended.code == 0
    for text in ("c0ffee", "az-b", "127.0.0.1:17003", "1.5 KiB", "1m 1s", "4 behind", "music"):
        assert text in ended.out
    assert ended.out.splitlines()[0] == "healthy"


def test_the_verdict_comes_first_and_what_nobody_told_is_a_dash(
    quorate: Command, admin: Any
) -> None:
    away = admin.document["nodes"][2]
    away["healthy"] = False
    for told in ("pid", "uptime_seconds", "memtable_bytes", "log_bytes", "items_bytes"):
        away[told] = None
    part = admin.document["partitions"][0]
    part["leader"] = part["term"] = part["commit"] = part["applied"] = None

    lines = quorate("status", "--admin-port", str(admin.server_port)).out.splitlines()

    assert lines[:2] == ["node c1 in az-c does not answer", "no leader: partition 1"]
    node = next(line for line in lines if line.startswith("c1 "))
    assert (
        node.split() == f"c1 az-c down {DASH} 127.0.0.1:17003 0 {DASH} {DASH} {DASH} {DASH}".split()
    )
    partition = next(line for line in lines if line.startswith("1 "))
    assert partition.split()[:5] == ["1", "none", DASH, DASH, DASH]


def test_of_many_tables_and_partitions_the_largest_and_the_worst_are_shown_unless_all_are_asked_for(
    quorate: Command, admin: Any
) -> None:
    tables = [{"name": f"t{n:02}", "item_count": n, "size_bytes": n} for n in range(46)]
    admin.document["tables"] = tables
    (part,) = admin.document["partitions"]
    parts = [{**part, "id": number} for number in range(1, 101)]
    parts[96]["leader"] = None
    admin.document["partitions"] = parts
    asked = ("status", "--admin-port", str(admin.server_port))

    some, all_of_them = quorate(*asked).out, quorate(*asked, "--all").out

    assert "t45" in some
    assert "t30" in some
    assert "t29" not in some
    assert "... and 30 tables more: --all shows them" in some
    assert "97         none" in some
    assert "... and 84 partitions more: --all shows them" in some
    assert "t00" in all_of_them
    assert "more" not in all_of_them
    assert len(all_of_them.splitlines()) > len(some.splitlines()) + 100


def test_watch_redraws_in_place_on_a_terminal(admin: Any) -> None:
    command = [sys.executable, "-m", "quorate", "status", "--watch", "--admin-port"]
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with (
        interrupts_heeded(),
        subprocess.Popen(
            [*command, str(admin.server_port)], stdout=end, env=environment
        ) as process,
    ):
        os.close(end)
        shown = b""
        while shown.count(b"c0ffee") < 3:
            shown += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        while (more := read_some(terminal)) != b"":
            shown += more
    os.close(terminal)

    assert process.returncode == 130
    redraws = shown.split(b"c0ffee")[1:-1]
    assert all(b"\x1b[1A" in redraw for redraw in redraws)  # up again, over what was there


@contextmanager
def interrupts_heeded() -> Iterator[None]:
    """Let a process that is started heed Ctrl-C, also where the tests run in the background.

    A shell has its background jobs ignore it, and that is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def read_some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody has the other end open
        return b""


def test_a_partition_without_a_leader_is_named_and_exits_with_one(
    quorate: Command, admin: Any
) -> None:
    admin.document["partitions"][0]["leader"] = None
    admin.document["nodes"][2]["healthy"] = False
    admin.document["nodes"][2]["pid"] = None

    ended = quorate("status", "--admin-port", str(admin.server_port))

    assert ended.code == 1
    assert "node c1 in az-c does not answer" in ended.out
    assert "no leader: partition 1" in ended.out


def test_a_replacement_under_way_is_told_group_by_group(quorate: Command, admin: Any) -> None:
    admin.document["replacements"] = [
        {
            "old": {"id": 2, "name": "b1", "az": "az-b"},
            "new": {"id": 4, "name": "b1", "joined": True},
            "groups_moved": 7,
            "groups_left": 2,
            "catching_up": [
                {"group": 3, "lag_entries": 120, "flow": "replicate"},
                {"group": 5, "lag_entries": 9000, "flow": "snapshot"},
            ],
        },
        {
            "old": {"id": 3, "name": "c1", "az": "az-c"},
            "new": {"id": None, "name": "c9", "joined": False},
            "groups_moved": 0,
            "groups_left": 9,
            "catching_up": [],
        },
    ]

    ended = quorate("status", "--admin-port", str(admin.server_port))

    assert (
        "node b1 (id 2) is being replaced by b1 (id 4): 7 of 9 groups moved;"
        " group (entries behind): 3 (120), 5 (snapshot)"
    ) in ended.out
    assert (
        "node c1 (id 3) is being replaced by c9, which has not joined: start it in az-c with an"
        " empty directory, or quorate node cancel-replace c1"
    ) in ended.out


@pytest.mark.parametrize(("joined", "code"), [(False, 1), (True, 0)])
def test_a_replacement_that_waits_for_its_node_is_trouble(
    quorate: Command,
    admin: Any,
    joined: bool,  # noqa: FBT001 - a parameter of the test
    code: int,
) -> None:
    """One whose node copies is not: it ends by itself."""
    admin.document["replacements"] = [
        {
            "old": {"id": 2, "name": "b1", "az": "az-b"},
            "new": {"id": 4 if joined else None, "name": "b9", "joined": joined},
            "groups_moved": 0,
            "groups_left": 9,
            "catching_up": [],
        }
    ]

    ended = quorate("status", "--admin-port", str(admin.server_port))

    assert ended.code == code
    assert ("healthy" in ended.out.splitlines()[0]) == joined


def test_json_is_what_the_router_said(quorate: Command, admin: Any) -> None:
    ended = quorate("status", "--admin-port", str(admin.server_port), "--json")

    assert json.loads(ended.out) == admin.document


def test_a_router_that_cannot_tell_fails_the_command(quorate: Command, admin: Any) -> None:
    admin.code = 503

    assert quorate("status", "--admin-port", str(admin.server_port)).code == 1


def test_no_router_has_its_own_exit_code(quorate: Command) -> None:
    ended = quorate("status", "--admin-port", "9")

    assert ended.code == 3
    assert "no router answers" in ended.err


def test_exit_when_healthy_waits_until_all_is_well(quorate: Command, admin: Any) -> None:
    admin.document["nodes"][2]["healthy"] = False
    healing = threading.Timer(1.5, lambda: admin.document["nodes"][2].update(healthy=True))
    healing.start()

    ended = quorate("status", "--admin-port", str(admin.server_port), "--exit-when-healthy")

    healing.join()
    assert ended.code == 0
    assert ended.out.count("healthy\n") == 1
    assert "does not answer" not in ended.out


@pytest.mark.parametrize(("port", "code"), [(None, 1), ("9", 3)])
def test_exit_when_healthy_gives_up_in_time_and_says_why(
    quorate: Command, admin: Any, port: str | None, code: int
) -> None:
    admin.document["nodes"][2]["healthy"] = False
    port = port or str(admin.server_port)

    ended = quorate("status", "--admin-port", port, "-e", "--timeout", "1.2")

    assert ended.code == code
    assert ("does not answer" in ended.out) is (code == 1)


def test_a_cluster_without_partitions_is_not_well() -> None:
    assert troubles({"nodes": [], "partitions": [], "replacements": []}) == [
        "the cluster has no partitions yet"
    ]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, DASH), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")],
)
def test_sizes_are_for_people(size_bytes: int | None, text: str) -> None:
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, DASH), (5.9, "5s"), (61, "1m 1s"), (3700, "1h 1m"), (90_000, "1d 1h")],
)
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_releases_are_told_only_while_they_differ() -> None:
    document = status_document()
    assert versions_text(document) == ""
    document["nodes"][1]["version"] = ""  # it does not answer
    assert versions_text(document) == ""

    document["nodes"][2]["version"] = "0.2.0"

    assert versions_text(document) == "an upgrade is under way: 0.1.0 (a1, r1); 0.2.0 (c1)"


@pytest.mark.parametrize("signatures", ["required", "not required"])
def test_it_is_said_if_everybody_may_call(quorate: Command, admin: Any, signatures: str) -> None:
    admin.document["router"]["signatures"] = signatures
    said = quorate("status", "--admin-port", str(admin.server_port)).out

    assert ("open to everybody: no call needs a signature" in said) == (signatures != "required")
