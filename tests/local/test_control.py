"""The control socket: one line in, one line out."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from quorate.local import control


async def obliging(action: str, name: str, az: str) -> dict[str, object]:
    if name == "z9":
        raise control.ControlRefused("there is no z9")
    return {"message": " ".join(filter(None, (action, name, az))), "processes": []}


def while_serving(data_dir: Path, question: Any) -> Any:
    """Run a blocking question in a thread while the socket is served."""

    async def run() -> Any:
        (data_dir / "run").mkdir(parents=True)
        server = await control.serve(data_dir / "run" / "control.sock", obliging)
        async with server, asyncio.timeout(10):
            return await asyncio.to_thread(question)

    return asyncio.run(run())


def test_a_request_is_answered(tmp_path: Path) -> None:
    answer = while_serving(tmp_path, lambda: control.ask(tmp_path, "kill", "a1"))

    assert answer["message"] == "kill a1"


def test_an_added_node_has_an_az(tmp_path: Path) -> None:
    answer = while_serving(tmp_path, lambda: control.ask(tmp_path, "add", "d1", "az-b"))

    assert answer["message"] == "add d1 az-b"


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)

    assert while_serving(deep, lambda: control.ask(deep, "list"))["ok"]


def test_a_refusal_comes_back_as_one(tmp_path: Path) -> None:
    with pytest.raises(control.ControlRefused, match="there is no z9"):
        while_serving(tmp_path, lambda: control.ask(tmp_path, "kill", "z9"))


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"{}\n", b'{"action": "reboot"}\n', b"\xff\n", b"x" * 10_000 + b"\n"]
)
def test_nonsense_is_answered_or_dropped_and_the_socket_goes_on(
    tmp_path: Path, line: bytes
) -> None:
    def question() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(tmp_path / "run" / "control.sock"))
            connection.sendall(line)
            answer = connection.makefile("rb").readline()
        assert control.ask(tmp_path, "list")["ok"]
        return answer

    answer = while_serving(tmp_path, question)

    assert answer == b"" or b'"ok": false' in answer


def test_no_cluster_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(control.NoSupervisor, match="no local cluster runs"):
        control.ask(tmp_path, "list")
