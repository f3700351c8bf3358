"""deploy/Dockerfile, what goes into it, and the check that runs in it."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate import __version__

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return (keyword, rest) of each instruction, its continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [
        (keyword, rest.strip())
        for keyword, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def values(keyword: str) -> list[str]:
    return [rest for found, rest in instructions() if found == keyword]


def test_both_stages_are_made_from_the_base_that_a_build_chooses() -> None:
    assert values("FROM") == ["${BASE} AS build", "${BASE}"]
    assert instructions()[0] == ("ARG", "BASE=python:3.11-slim")


def test_where_packages_come_from_is_not_written_down() -> None:
    assert "PIP_INDEX_URL" in values("ARG")
    assert "://" not in DOCKERFILE


def test_the_process_is_nobody_and_named_by_number() -> None:
    assert values("USER") == ["10001:10001"]
    assert instructions().index(("USER", "10001:10001")) > max(
        number for number, (keyword, _) in enumerate(instructions()) if keyword in {"RUN", "COPY"}
    )


def test_the_entry_point_is_the_command() -> None:
    assert values("ENTRYPOINT") == ['["quorate"]']
    assert any("healthcheck" in check and "/health" in check for check in values("HEALTHCHECK"))


def test_the_labels_have_the_version_of_the_code() -> None:
    assert f"VERSION={__version__}" in values("ARG")
    label = " ".join(values("LABEL"))
    for name in ("title", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{name}=" in label


def test_old_engines_can_build_it() -> None:
    """No front end to be downloaded, no here-documents, no links: engine 20.10 builds it."""
    assert "# syntax=" not in DOCKERFILE
    assert "<<" not in DOCKERFILE
    assert "--link" not in DOCKERFILE


def test_only_what_the_wheel_is_made_of_is_sent_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = document["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in (
        *wheel["packages"],
        document["project"]["readme"],
        "proto",
        "pyproject.toml",
        "packaging/server",
    ):
        assert name in allowed


def test_every_dependency_of_the_image_is_one_release_that_the_project_allows() -> None:
    text = (ROOT / "deploy/requirements.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+) ", text, re.MULTILINE))
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())

    project = document["project"]
    server = project["optional-dependencies"]["server-dependencies"]
    for requirement in (*project["dependencies"], *server):
        name, low, high = re.fullmatch(r"([\w-]+)>=([\d.]+),<([\d.]+)", requirement).groups()  # type: ignore[union-attr]
        assert numbers(low) <= numbers(pinned[name]) < numbers(high), name


def test_what_is_installed_is_what_was_hashed() -> None:
    text = (ROOT / "deploy/requirements.txt").read_text()
    lines = "".join(line for line in text.splitlines(keepends=True) if line[0] != "#")
    entries = re.sub(r" *\\\n", "", lines).splitlines()

    assert len(entries) > 20
    for entry in entries:
        assert re.fullmatch(r"[\w-]+==[\d.]+( +--hash=sha256:[0-9a-f]{64})+", entry), entry
    (install,) = [rest for rest in values("RUN") if "deploy/requirements.txt" in rest]
    assert "--require-hashes" in install


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.fixture
def admin_address() -> Callable[[str], tuple[str, int]]:
    found: Callable[[str], tuple[str, int]] = runpy.run_path(str(ROOT / "deploy/healthcheck.py"))[
        "admin_address"
    ]
    return found


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        (["quorate", "node", "--admin", "0.0.0.0:7401", "--az", "a"], "127.0.0.1"),
        (["quorate", "router", "--admin=0.0.0.0:7401"], "127.0.0.1"),
        (["quorate", "node", "--admin", "[::]:7401"], "127.0.0.1"),
        (["quorate", "node", "--admin=[fd00::7]:7401"], "fd00::7"),
        (["quorate", "node", "--admin=10.0.0.7:7401"], "10.0.0.7"),
    ],
)
def test_the_health_check_finds_the_admin_face(
    admin_address: Callable[[str], tuple[str, int]], arguments: list[str], host: str
) -> None:
    said = "".join(f"{argument}\0" for argument in arguments)

    assert admin_address(said) == (host, 7401)


def test_the_health_check_says_that_there_is_no_admin_face(
    admin_address: Callable[[str], tuple[str, int]],
) -> None:
    with pytest.raises(ValueError, match="no --admin"):
        admin_address("quorate\0node\0--name=--admin\0")
