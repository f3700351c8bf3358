"""`packaging/setup.sh`, with a Python that only says what pip would say."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PIP_SAYS = """\
Obtaining file:///quorate
  Installing build dependencies: started
  Installing build dependencies: finished with status 'done'
Collecting grpcio<2,>=1.85.1 (from quorate==0.1.0)
  Downloading grpcio-1.85.3.whl (6.2 MB)
Requirement already satisfied: rich in site-packages
  Building editable for quorate (pyproject.toml): started
Installing collected packages: grpcio, quorate
"""


def command(tmp_path: Path, pip: str) -> list[Path | str]:
    """Return the command that sets up an environment whose pip is this shell script."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exit 0\n{pip}\n')
    python.chmod(0o755)
    return [ROOT / "packaging" / "setup.sh", tmp_path / "venv", "-e", "."]


def set_up(tmp_path: Path, pip: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path, pip),
        capture_output=True,
        text=True,
        check=False,
    )


def test_set_up_says_what_it_does_and_keeps_all_of_pips_words(tmp_path: Path) -> None:
    (tmp_path / "says").write_text(PIP_SAYS)

    ended = set_up(tmp_path, f"cat '{tmp_path / 'says'}'")

    first, *steps = ended.stdout.splitlines()
    assert "installing" in first
    assert "takes a minute or two" in first
    assert steps == [
        "  getting what the build needs",
        "  getting grpcio",
        "  building",
        "  unpacking",
        "installed",
    ]
    assert (tmp_path / "venv" / "setup.log").read_text() == PIP_SAYS
    assert (ended.returncode, ended.stderr) == (0, "")


def test_each_step_is_said_before_the_next_one_begins(tmp_path: Path) -> None:
    """Else whoever waits sees nothing until all is done."""
    heard = tmp_path / "heard"
    pip = f"echo 'Collecting grpcio'; until [ -e '{heard}' ]; do sleep 0.05; done"
    asked = command(tmp_path, pip)
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "  getting grpcio\n":
                heard.touch()

    assert heard.exists()
    assert process.returncode == 0


def test_an_index_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    ended = set_up(tmp_path, "echo 'ERROR: NewConnectionError: no route' >&2; exit 1")

    assert ended.returncode == 1
    assert ended.stderr.startswith("set-up: the package index could not be reached")
    assert "installed" not in ended.stdout.splitlines()


def test_what_is_installed_has_the_releases_of_the_image(tmp_path: Path) -> None:
    ended = set_up(tmp_path, f"echo \"$@\" > '{tmp_path / 'asked'}'")

    asked = (tmp_path / "asked").read_text().split()
    constraints = Path(asked[asked.index("--constraint") + 1]).read_text().splitlines()
    image = (ROOT / "deploy" / "requirements.txt").read_text().splitlines()
    assert ended.returncode == 0
    assert constraints == [line.split()[0] for line in image if "==" in line]
