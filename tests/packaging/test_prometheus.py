"""`packaging/prometheus.sh`: what it does on machines that have little."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "packaging" / "prometheus.sh"

NEEDED = ("bash", "env", "mkdir", "touch", "rm")


def get(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run it where there are only these programs, each a shell script, and what it needs itself."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(f"/usr/bin/{name}")
    for name, script in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)
    return subprocess.run(
        [SCRIPT, tmp_path / "to"],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def is_done(tmp_path: Path) -> bool:
    return (tmp_path / "to" / ".stamp").exists()


def test_nothing_is_fetched_where_the_programs_are_installed(tmp_path: Path) -> None:
    ended = get(tmp_path, promtool="", prometheus="", apt_get="exit 1", dpkg="exit 1")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert is_done(tmp_path)


def test_package_is_fetched_and_unpacked(tmp_path: Path) -> None:
    ended = get(
        tmp_path, apt_get="touch prometheus_1.deb", dpkg='[ "$*" = "-x prometheus_1.deb ." ]'
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert is_done(tmp_path)
    assert not list((tmp_path / "to").glob("*.deb"))


def test_lists_of_its_own_are_fetched_where_the_machine_has_none(tmp_path: Path) -> None:
    """As in a container image; the machine's may be renewed by root only."""
    apt_get = '[[ "$*" == *"Dir::State::Lists=$PWD/"* ]] && touch prometheus_1.deb'

    ended = get(tmp_path, apt_get=apt_get, dpkg="")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert is_done(tmp_path)


def test_machine_without_apt_is_told_what_to_have_and_asked_again(tmp_path: Path) -> None:
    """No trouble yet: it is the tests' to say that they miss something."""
    ended = get(tmp_path)

    assert ended.returncode == 0
    assert "have promtool and prometheus in the PATH" in ended.stderr
    assert not is_done(tmp_path)


def test_machine_without_a_network_is_told_where_apt_s_words_are(tmp_path: Path) -> None:
    ended = get(tmp_path, apt_get="echo 'E: no route'; exit 100", dpkg="")

    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 0
    assert str(tmp_path / "to" / "apt.log") in line
    assert "E: no route" in (tmp_path / "to" / "apt.log").read_text()
    assert not is_done(tmp_path)
