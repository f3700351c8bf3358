"""A cluster on plain machines, as docs/MACHINES.md begins it, with the files of deploy/systemd.

Each process runs as its unit lets it, as far as that needs no systemd: no memory that is both
written and executed, no core file. What systemd says of the units: tests/deploy/test_systemd.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.config import Config

from quorate.local.background import free_ports

SYSTEMD: Final = Path(__file__).resolve().parents[2] / "deploy/systemd"
QUORATE: Final = (sys.executable, "-m", "quorate")

AS_THE_UNIT_LETS_IT: Final = (
    "import ctypes, os, resource, sys;"
    "ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"  # PR_SET_MDWE; Linux before 6.3 says no
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
    "os.umask(0o077);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def run(*arguments: str, **environment: str) -> str:
    """Run a command of ours; return what it prints."""
    ended = subprocess.run(
        [*QUORATE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


class Machines:
    """Three machines with a node each, one with a router: folders and free ports of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        texts = [(SYSTEMD / f"{kind}.env").read_text() for kind in ("node", "router")]
        addresses = set(re.findall(r"10\.0\.\d\.\d+:\d+", "".join(texts)))
        addresses |= {f"10.0.{zone}.10:7401" for zone in (2, 3)}
        ports = free_ports(len(addresses))
        self._here = {
            address: f"localhost:{port}"
            for address, port in zip(sorted(addresses), ports, strict=True)
        }

    def here(self, text: str) -> str:
        """Return where something of the files is on this machine."""
        found = re.sub(r"10\.0\.\d\.\d+:\d+", lambda match: self._here[match[0]], text)
        return re.sub(r"=/(etc|var)/", lambda match: f"={self.folder}/{match[1]}/", found)

    def options(self, kind: str, machine: str) -> list[str]:
        """Return what systemd makes of the file of a kind on a machine: words."""
        text = (SYSTEMD / f"{kind}.env").read_text().replace("\\\n", "")
        if kind == "node":
            zone = "abc".index(machine[0]) + 1
            text = text.replace("--name=a1", f"--name={machine}")
            text = text.replace("--az=az-a", f"--az=az-{machine[0]}")
            for option in ("listen", "admin"):
                text = text.replace(f"--{option}=10.0.1.10", f"--{option}=10.0.{zone}.10")
        (assignment,) = [each for each in shlex.split(text, comments=True) if "_OPTIONS=" in each]
        words = assignment.partition("=")[2].split()
        return [self.here(word.replace("/quorate/node", f"/quorate/{machine}")) for word in words]

    def start(self, kind: str, machine: str) -> None:
        with (self.folder / f"{machine}.log").open("ab") as said:
            self.processes[machine] = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    AS_THE_UNIT_LETS_IT,
                    *QUORATE,
                    kind,
                    *self.options(kind, machine),
                ],
                stderr=said,
            )

    def start_all(self) -> None:
        for node in ("a1", "b1", "c1"):
            self.start("node", node)
        self.start("router", "router")
        admin = self.here("10.0.1.20:7300")
        run("status", "--admin", admin, "--exit-when-healthy", "--timeout", "30")

    def stop_all(self) -> dict[str, int]:
        """Send SIGTERM to all; return their exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(30) for name, process in self.processes.items()}

    def said(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def give_certificates(machines: Machines) -> None:
    """What is made on the operator's machine, and copied to the others."""
    made = machines.folder / "made"
    run("cert", "create-all", str(made), "main", "a1", "b1", "c1")
    run("cert", "make-dev", str(made / "clients"), "localhost")
    for machine in ("a1", "b1", "c1", "router"):
        name = machine if machine == "router" else f"node-{machine}"
        etc = machines.folder / "etc/quorate" / machine
        etc.mkdir(parents=True)
        for source, target in (
            ("ca.crt", "ca.crt"),
            (f"{name}.crt", "tls.crt"),
            (f"{name}.key", "tls.key"),
        ):
            shutil.copy(made / source, etc / target)
        (machines.folder / "var/lib/quorate").mkdir(parents=True, exist_ok=True)
    etc = machines.folder / "etc/quorate/router"
    for end in ("crt", "key"):
        shutil.copy(made / f"clients/server.{end}", etc / f"clients.{end}")
    key_file = etc / "users.key"
    with open(key_file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(os.urandom(32).hex())


def client(machines: Machines, user: dict[str, str]) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=f"https://{machines.here('10.0.1.20:8000')}",
        verify=str(machines.folder / "made/clients/ca.crt"),
        region_name="local",
        aws_access_key_id=user["access_key_id"],
        aws_secret_access_key=user["secret_access_key"],
        config=Config(connect_timeout=5, read_timeout=10),
    )


def test_cluster_begins_keeps_what_it_is_told_and_begins_again(machines: Machines) -> None:
    give_certificates(machines)
    machines.start_all()
    user = json.loads(
        run(
            *("user", "create", "ada", "--json"),
            QUORATE_ENDPOINT=machines.here("10.0.1.20:8001"),
            QUORATE_KEY_FILE=str(machines.folder / "etc/quorate/router/users.key"),
            QUORATE_TLS_CA=str(machines.folder / "made/clients/ca.crt"),
        )
    )
    dynamodb = client(machines, user)
    dynamodb.create_table(
        TableName="songs",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(
        TableName="songs", WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    item = {"id": {"S": "kept"}, "value": {"N": "42"}}
    dynamodb.put_item(TableName="songs", Item=item)

    assert machines.stop_all() == dict.fromkeys(("a1", "b1", "c1", "router"), 0), machines.said()
    machines.start_all()

    found = dynamodb.get_item(TableName="songs", Key={"id": item["id"]}, ConsistentRead=True)
    assert found["Item"] == item
    dynamodb.close()
    assert set(machines.stop_all().values()) == {0}
