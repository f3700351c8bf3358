"""How other commands reach a running supervisor: JSON lines over a unix socket.

A request is one line `{"action": "kill", "name": "a1"}`, for `add` with an `az`, too; an answer is
one line with `ok` and either `message` and `processes`, or `error`. The socket lies in the data
directory, so its owner's file permissions decide who may use it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ACTIONS: Final = ("list", "kill", "pause", "resume", "restart", "add")

REQUEST_BYTES_MAX: Final = 4096
"""Longest request line. Ours."""

REQUEST_TIMEOUT_SECONDS: Final = 5.0
"""Longest wait for a connected client's line. Ours."""

ANSWER_TIMEOUT_SECONDS: Final = 30.0
"""Longest wait for an answer: a restart waits for a clean stop first. Ours."""

Handler = Callable[[str, str, str], Awaitable[dict[str, object]]]
"""Does (action, name, AZ) and returns the answer's fields; raises ControlRefused."""


class ControlRefused(Exception):
    """The supervisor will not do that; the text is one sentence."""


class NoSupervisor(Exception):
    """No local cluster runs with this data directory; the text is one sentence."""


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Yield a path of the same socket that is short enough for the kernel.

    A unix socket's path has 107 bytes at most (unix(7)); a data directory's may be longer, so its
    folder is reached through a descriptor.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Listen on `path`, which the caller's lock makes ours: an old socket there is removed."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(path) as short:
            listener.bind(short)
        path.chmod(0o600)
        listener.listen(16)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_SECONDS)
            document = await _handle(line, handler)
            writer.write(json.dumps(document).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # the client went away, or never said anything: it is told nothing
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=listener, limit=REQUEST_BYTES_MAX)


async def _handle(line: bytes, handler: Handler) -> dict[str, object]:
    try:
        request = json.loads(line)
        action = str(request["action"])
        name, az = str(request.get("name", "")), str(request.get("az", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"ok": False, "error": "the request is not a JSON object with an action"}
    if action not in ACTIONS:
        return {"ok": False, "error": f"no such action: {action}"}
    try:
        return {"ok": True, **await handler(action, name, az)}
    except ControlRefused as refusal:
        return {"ok": False, "error": str(refusal)}


def _encode(action: str, name: str, az: str) -> bytes:
    return json.dumps({"action": action, "name": name, "az": az}).encode() + b"\n"


def ask(data_dir: Path, action: str, name: str = "", az: str = "") -> dict[str, object]:
    """Send one request to the supervisor of a data directory and return its answer.

    Raises NoSupervisor if none runs there, ControlRefused if it says no.
    """
    path = data_dir / "run" / "control.sock"
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            _short_path(path) as short,
        ):
            connection.settimeout(ANSWER_TIMEOUT_SECONDS)
            connection.connect(short)
            connection.sendall(_encode(action, name, az))
            line = connection.makefile("rb").readline()
    except TimeoutError as error:
        raise NoSupervisor(f"the cluster in {data_dir} does not answer") from error
    except OSError as error:
        raise NoSupervisor(
            f"no local cluster runs with the data directory {data_dir} (see --data-dir)"
        ) from error
    if not line:
        raise NoSupervisor(f"the cluster in {data_dir} is stopping")
    answer: dict[str, object] = json.loads(line)
    if not answer["ok"]:
        raise ControlRefused(str(answer["error"]))
    return answer
