"""`quorate up`, `node` and `router`: what they refuse before anything is started."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import typer

from quorate.cli.processes import parse_member
from quorate.local.topology import new_topology, write_stamp
from quorate.security.sealing import create_key_file
from tests.cli.conftest import Command


def test_a_member_is_read() -> None:
    member = parse_member("a1=az-a@host.example:17001")

    assert (member.name, member.az, member.address) == ("a1", "az-a", "host.example:17001")


@pytest.mark.parametrize("text", ["", "a1", "a1=az-a", "a1=az-a@host", "a1=@host:1", "=az@host:1"])
def test_what_is_no_member_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="NAME=AZ@HOST:PORT"):
        parse_member(text)


def test_a_node_says_which_options_it_lacks(quorate: Command) -> None:
    ended = quorate("node", "--name", "a1", "--az", "az-a")

    assert ended.code == 2
    assert "--listen, --data-dir, --cluster-id, --member" in ended.err


def test_a_probe_is_answered_as_by_dynamodb_or_as_by_dynamodb_local(quorate: Command) -> None:
    ended = quorate("router", "--probe-status", "500")

    assert ended.code == 2
    assert "200 or 400" in ended.err


@pytest.mark.parametrize("command", ["kill", "pause", "resume", "restart"])
def test_acting_on_a_cluster_that_does_not_run_is_said_so(
    quorate: Command, tmp_path: Path, command: str
) -> None:
    ended = quorate("node", command, "a1", "--data-dir", str(tmp_path))

    assert ended.code == 3
    assert "no local cluster runs" in ended.err


def test_adding_a_node_to_a_cluster_that_does_not_run_is_said_so(
    quorate: Command, tmp_path: Path
) -> None:
    ended = quorate("node", "add", "d1", "--az", "az-a", "--data-dir", str(tmp_path))

    assert ended.code == 3
    assert "no local cluster runs" in ended.err


def test_replacing_a_node_needs_the_key_file_and_a_router(quorate: Command, tmp_path: Path) -> None:
    key_file = tmp_path / "users.key"
    arguments = ("node", "replace", "b1", "b1", "--key-file", str(key_file))

    without = quorate(*arguments)
    create_key_file(key_file)
    alone = quorate(*arguments, endpoint="127.0.0.1:9")

    assert (without.code, alone.code) == (2, 3)
    assert "cannot read the key file" in without.err
    assert "no router answers at 127.0.0.1:9" in alone.err


def test_a_busy_port_is_refused_with_the_setting_and_nothing_is_left(
    quorate: Command, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        ended = quorate("up", "--data-dir", str(data), "--grpc-port", str(port))

    assert ended.code == 2
    assert f"port {port} (gRPC) is in use" in ended.err
    assert "QUORATE_GRPC_PORT" in ended.err
    assert not data.exists()


def test_ports_that_are_the_same_are_refused(quorate: Command, tmp_path: Path) -> None:
    ended = quorate(
        "up", "--data-dir", str(tmp_path / "data"), "--grpc-port", "8100", "--http-port", "8100"
    )

    assert ended.code == 2
    assert "must differ" in ended.err


def test_another_topology_is_refused(quorate: Command, tmp_path: Path) -> None:
    write_stamp(tmp_path, new_topology(1, 12, [10_001, 10_002, 10_003]))
    before = json.loads((tmp_path / "cluster.json").read_text())

    ended = quorate("up", "--data-dir", str(tmp_path), "--partitions", "24", *free_ports())

    assert ended.code == 2
    assert "12 partitions, not 24" in ended.err
    assert json.loads((tmp_path / "cluster.json").read_text()) == before


def test_a_strangers_folder_is_refused(quorate: Command, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")

    ended = quorate("up", "--data-dir", str(tmp_path), *free_ports())

    assert ended.code == 2
    assert "holiday.jpg" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holiday.jpg"]


def free_ports() -> list[str]:
    options = []
    listeners = [socket.socket() for _ in range(3)]
    for option, listener in zip(("http", "grpc", "admin"), listeners, strict=True):
        listener.bind(("127.0.0.1", 0))
        options += [f"--{option}-port", str(listener.getsockname()[1])]
    for listener in listeners:
        listener.close()
    return options


def test_help_tells_the_exit_codes(quorate: Command) -> None:
    for command in ([], ["put"], ["load"], ["table", "create"], ["node"], ["router"]):
        assert "Exit codes:" in quorate(*command, "--help").out


def test_the_version_is_printed(quorate: Command) -> None:
    assert quorate("--version").out.startswith("quorate ")
