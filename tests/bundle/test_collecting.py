"""Who does not answer, or not in time, is missing; the others are not."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quorate.bundle import faces
from quorate.bundle.collecting import Wanted, collect
from quorate.bundle.faces import Asking
from quorate.cluster.channels import Dialer
from quorate.local.background import free_ports


class Face(http.server.BaseHTTPRequestHandler):
    """An admin face of a node: no /status, and it is not ready."""

    def do_GET(self) -> None:
        pages = {"/health": (200, b"ok\n"), "/ready": (503, b"why\n"), "/metrics": (200, b"up 1\n")}
        code, body = pages.get(self.path, (404, b"no such page\n"))
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Face) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def hanging() -> Iterator[str]:
    """A process that is stopped: the kernel takes the connection, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_pages_are_taken_as_they_are() -> None:
    with serving() as address:
        told, missing = Asking({"b": address}).gather(time.monotonic() + 30)

    assert told["b"].pages == {
        "health.txt": b"ok\n",
        "ready.txt": b"HTTP 503\nwhy\n",
        "metrics.txt": b"up 1\n",
    }
    assert missing == []


def test_one_that_hangs_and_one_that_is_down_keep_nobody_waiting() -> None:
    (closed,) = free_ports(1)
    with serving() as address, hanging() as hung:
        asking = Asking({"a": hung, "b": address, "c": f"127.0.0.1:{closed}"})
        until = time.monotonic() + 1.0
        told, missing = asking.gather(until)

    assert time.monotonic() < until + faces.ASK_SECONDS
    assert told["b"].pages["health.txt"] == b"ok\n"
    assert f"a has not answered at http://{hung} in time" in missing
    assert any(each.startswith("c does not answer") for each in missing)


def test_more_processes_than_are_asked_are_counted() -> None:
    (closed,) = free_ports(1)
    count = faces.FACES_MAX + 3
    _, missing = Asking({f"n{n:04}": f"127.0.0.1:{closed}" for n in range(count)}).gather(
        time.monotonic() + 30
    )

    assert "3 more processes were not asked: 200 at most" in missing


def test_a_cluster_of_which_nothing_is_known_has_no_id(tmp_path: Path) -> None:
    closed, other = free_ports(2)
    wanted = Wanted(
        data_dir=tmp_path / "none",
        faces=[f"127.0.0.1:{closed}"],
        nodes=[f"127.0.0.1:{other}"],
        seconds=10,
    )
    collected = collect(wanted, Dialer(), 1.0)

    assert collected.cluster_id == ""
    missing = "\n".join(collected.bundle.missing)
    assert "catalog: no node told it (where nodes have certificates" in missing
    assert "is not a local cluster's data directory" in missing
    assert "status of the cluster: no router told it" in missing
