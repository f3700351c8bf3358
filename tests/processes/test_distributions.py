"""Two distributions of one tree: the client's leaves an application's environment clean."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quorate import __version__
from quorate.local.background import free_ports
from tests.processes.wheels import ROOT, Environment, Wheel, build_wheels

PACKAGES = ("model", "node", "quorate", "raft", "router")
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")

IMPORT_ALL = """
import importlib, pkgutil, quorate
for module in pkgutil.walk_packages(quorate.__path__, "quorate."):
    if module.name != "quorate.__main__":
        importlib.import_module(module.name)
        print(module.name)
"""

TYPED_PROGRAM = """
import asyncio

from quorate import Client, ResourceNotFound


async def main() -> None:
    async with Client("127.0.0.1:8001") as client:
        try:
            item = await client.get_item("songs", {"artist": "Nina Simone"})
        except ResourceNotFound:
            item = None
        reveal_type(client)
        reveal_type(item)


asyncio.run(main())
"""

ILL_TYPED_PROGRAM = """
from quorate import Client

client = Client(8001)
client.no_such_method()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wheel, Wheel]:
    return build_wheels(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def client_alone(
    wheels: tuple[Wheel, Wheel], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    client, _ = wheels
    environment = Environment(tmp_path_factory.mktemp("client"), client.requirements())
    environment.install(client)
    return environment


def code_of_the_tree() -> set[str]:
    """Return the files of the packages, those that are not ours to keep left out."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_each_file_is_in_one_wheel_and_the_client_is_one_package(
    wheels: tuple[Wheel, Wheel],
) -> None:
    client, server = wheels
    assert {name.split("/")[0] for name in client.files()} == {"quorate"}
    assert client.files() & server.files() == set()
    assert client.files() | server.files() == code_of_the_tree()
    assert any(GENERATED.search(name) for name in client.files())
    assert "quorate/py.typed" in client.files()


def test_both_wheels_are_of_one_version_and_say_what_they_need(
    wheels: tuple[Wheel, Wheel],
) -> None:
    client, server = wheels
    assert client.metadata()["Version"] == server.metadata()["Version"] == __version__
    assert [str(each) for each in server.requirements()] == [
        f"quorate[server-dependencies]=={__version__}"
    ]
    needed = {each.name for each in client.requirements()}
    of_server = {each.name for each in client.requirements("server-dependencies")} - needed
    assert {"grpcio", "protobuf", "typer"} <= needed
    assert {"httptools", "lmdb", "uvloop"} <= of_server
    for wheel in wheels:
        classifiers = wheel.metadata().get_all("Classifier") or []
        for version in ("3.11", "3.12", "3.13"):
            assert f"Programming Language :: Python :: {version}" in classifiers


def test_all_of_the_client_is_imported_without_the_server(
    client_alone: Environment, tmp_path: Path
) -> None:
    """Whatever needs the server's dependencies is in the server's wheel."""
    done = client_alone.run("python", "-c", IMPORT_ALL, cwd=tmp_path)

    assert done.stderr == ""
    assert "quorate.client.client" in done.stdout.split()
    for package in ("raft", "model", "node", "router", "lmdb", "httptools"):
        assert client_alone.run("python", "-c", f"import {package}", cwd=tmp_path).returncode


@pytest.mark.parametrize(
    "command",
    ["up", "demo", "check .", "log find 00 .", "node --name a1", "router"],
)
def test_what_is_the_servers_says_what_to_install(
    client_alone: Environment, tmp_path: Path, command: str
) -> None:
    arguments = command.split()
    if command == "router":
        options = ("name", "az", "http", "grpc", "admin", "cluster-id", "node")
        arguments += [text for option in options for text in (f"--{option}", "x:1")]
    done = client_alone.run("quorate", *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"install quorate-server=={__version__}" in done.stderr


def test_a_tree_without_the_servers_dependencies_says_what_to_install(
    wheels: tuple[Wheel, Wheel], tmp_path: Path
) -> None:
    """As after `pip install -e .` alone."""
    client, _ = wheels
    environment = Environment(tmp_path / "editable", client.requirements())
    (environment.packages / "tree.pth").write_text(f"{ROOT}\n")
    done = environment.run("python", "-m", "quorate", "up", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "pip install -e '.[server-dependencies]'" in done.stderr


@pytest.mark.parametrize(
    "command",
    ["get songs {}", "user list", "status", "table list", "node replace a1 b1", "node list"],
)
def test_what_is_the_clients_works_without_the_server(
    client_alone: Environment, tmp_path: Path, command: str
) -> None:
    """It gets as far as there is nobody to ask, or no key to ask with."""
    (port,) = free_ports(1)
    where = {"status": ("--admin-port", str(port)), "get": ("--endpoint", f"127.0.0.1:{port}")}
    where["table"] = where["get"]
    arguments = command.split()
    done = client_alone.run("quorate", *arguments, *where.get(arguments[0], ()), cwd=tmp_path)

    assert done.returncode in (2, 3)
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "quorate-server" not in done.stderr


def test_a_program_is_checked_against_the_installed_wheel(
    client_alone: Environment, tmp_path: Path
) -> None:
    """Without the marker, mypy would take everything for Any."""
    (tmp_path / "program.py").write_text(TYPED_PROGRAM)
    (tmp_path / "wrong.py").write_text(ILL_TYPED_PROGRAM)
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-incremental"),
            *("--config-file", "", "--python-executable", client_alone.python),
            *("program.py", "wrong.py"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    said = checked.stdout
    assert 'Revealed type is "quorate.client.client.Client"' in said
    assert "dict[" in said
    errors = [line for line in said.splitlines() if ": error:" in line]
    assert [line.split(":")[0] for line in errors] == ["wrong.py", "wrong.py"], said
    assert "no_such_method" in said


def test_both_together_run_a_cluster(wheels: tuple[Wheel, Wheel], tmp_path: Path) -> None:
    client, server = wheels
    environment = Environment(tmp_path / "both", client.requirements("server-dependencies"))
    environment.install(client, server)
    http, grpc, admin = free_ports(3)
    up = subprocess.Popen(
        [
            *(environment.bin / "quorate", "up", "--partitions", "1", "--data-dir", "data"),
            *("--http-port", str(http), "--grpc-port", str(grpc), "--admin-port", str(admin)),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert up.stdout is not None
        lines = []
        for line in up.stdout:
            lines.append(line)
            if line.startswith("ready"):
                break
        else:
            pytest.fail("".join(lines))
        done = environment.run("quorate", "status", "--admin-port", str(admin), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=30)
    assert up.returncode == 0
