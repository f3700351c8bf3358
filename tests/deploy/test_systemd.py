"""deploy/systemd: units that systemd takes, that allow little, and that fit the processes.

The processes themselves run with these options in tests/processes/test_machines.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from node.options import NodeOptions
from quorate.cli.processes import parse_member
from router.options import REQUEST_TIMEOUT_MS_DEFAULT
from router.process import OPEN_FILES_WANTED, STOP_MARGIN_SECONDS
from tests.deploy.commands import certificate_of, check_options

ROOT: Final = Path(__file__).resolve().parents[2]
SYSTEMD: Final = ROOT / "deploy/systemd"
KINDS: Final = ("node", "router")
EXPOSURE_MAX: Final = 20
"""Tenths, of systemd's own measure of what a unit may do; 96 without any limits. Ours."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings(kind: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / f"quorate-{kind}.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def options(kind: str) -> dict[str, list[str]]:
    """Return what systemd makes of a file of options: words, of one variable."""
    text = (SYSTEMD / f"{kind}.env").read_text().replace("\\\n", "")
    (assignment,) = shlex.split(text, comments=True)
    return check_options(kind, assignment.partition("=")[2].split())


@needs_systemd
@pytest.mark.parametrize("kind", KINDS)
def test_systemd_takes_the_unit(kind: str, tmp_path: Path) -> None:
    text = (SYSTEMD / f"quorate-{kind}.service").read_text()
    unit = tmp_path / f"quorate-{kind}.service"
    unit.write_text(text.replace("/usr/local/lib/quorate/bin/quorate", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr
    assert f"quorate-{kind}" not in ended.stderr, "what systemd does not know it passes over"


@needs_systemd
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_may_do_little(kind: str) -> None:
    unit = SYSTEMD / f"quorate-{kind}.service"
    limits = ["--offline=true", f"--threshold={EXPOSURE_MAX}"]

    ended = subprocess.run(
        ["systemd-analyze", "security", *limits, str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-200:]


@pytest.mark.parametrize("kind", KINDS)
def test_unit_gives_the_options_of_its_file(kind: str) -> None:
    said = settings(kind)
    (start,) = said["ExecStart"]

    assert start.endswith(f"/bin/quorate {kind} ${kind.upper()}_OPTIONS")
    assert said["EnvironmentFile"] == [f"/etc/quorate/{kind}.env"]
    assert (SYSTEMD / f"{kind}.env").read_text().count(f"\n{kind.upper()}_OPTIONS=") == 1


def test_nodes_options_are_those_of_a_member_that_others_reach() -> None:
    said = options("node")
    node = NodeOptions(
        name=said["--name"][0],
        az=said["--az"][0],
        listen=said["--listen"][0],
        data_dir=Path(said["--data-dir"][0]),
        cluster_id=said["--cluster-id"][0],
        members=tuple(parse_member(text) for text in said["--member"]),
        cluster_paths=certificate_of(said),
    )

    assert node.problem() is None
    assert node.address() == node.listen
    assert len({member.az for member in node.members}) == 3
    (state,) = settings("node")["StateDirectory"]
    assert node.data_dir.is_relative_to(Path("/var/lib") / state)
    assert settings("node")["RequiresMountsFor"] == [f"/var/lib/{state}"]


def test_routers_options_name_the_nodes_and_say_who_may_call() -> None:
    said = options("router")

    members = [parse_member(text).address for text in options("node")["--member"]]
    assert said["--node"] == members
    assert said["--cluster-id"] == options("node")["--cluster-id"]
    assert "--require-auth" in said
    assert "--key-file" in said
    assert certificate_of(said).key == Path("/etc/quorate/router/tls.key")


@pytest.mark.parametrize("kind", KINDS)
def test_unit_has_the_limits_that_the_process_needs(kind: str) -> None:
    said = settings(kind)

    assert int(said["LimitNOFILE"][0]) >= OPEN_FILES_WANTED
    assert said["LimitCORE"] == ["0"]
    assert said["MemorySwapMax"] == ["0"]


def test_a_stop_has_more_time_than_it_may_take() -> None:
    told = (ROOT / "docs/OPERATIONS.md").read_text()
    node = re.search(r"a stop took (\d+) s", told)
    assert node is not None

    assert int(settings("node")["TimeoutStopSec"][0]) > int(node[1])
    router = REQUEST_TIMEOUT_MS_DEFAULT / 1000 + STOP_MARGIN_SECONDS
    assert int(settings("router")["TimeoutStopSec"][0]) > 2 * router


def test_what_a_restart_does_not_mend_is_not_restarted() -> None:
    """By the table of exit codes: what says "correct", "Do not restart" or "another process"."""
    table = (ROOT / "docs/OPERATIONS.md").read_text()
    codes = re.findall(r"^\| (\d+) \| (?:correct|this directory|another process)", table, re.M)

    assert settings("node")["RestartPreventExitStatus"] == [" ".join(codes)]
    assert settings("router")["RestartPreventExitStatus"] == ["2"]
    for kind in KINDS:
        assert settings(kind)["Restart"] == ["on-failure"]
