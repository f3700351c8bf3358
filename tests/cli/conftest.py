"""What the tests of the command share: a router to talk to, and a way to run the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quorate.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def router_address() -> Iterator[str]:
    """Yield the address of a router that keeps tables in a dict."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.cli.dict_router"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture(autouse=True)
def _environment_as_it_was() -> Iterator[None]:
    """A command says in its process's environment how much gRPC logs, and here others go on in it.

    A node that was started from it had no line of a failed handshake, for which its tests wait.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def quorate(router_address: str) -> Command:
    """Return the command, talking to that router unless told otherwise."""

    def run(*arguments: str, stdin: str | None = None, endpoint: str = router_address) -> Ended:
        environment = {"QUORATE_ENDPOINT": endpoint, "COLUMNS": "200", "NO_COLOR": "1"}
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(code=result.exit_code, out=result.stdout, err=result.stderr)

    return run


@pytest.fixture
def table(quorate: Command, request: pytest.FixtureRequest) -> str:
    """Return the name of a new table with a partition key `pk` and a sort key `sk`."""
    name = request.node.name.replace("[", "_").replace("]", "_")
    ended = quorate("table", "create", name, "--partition-key", "pk:S", "--sort-key", "sk:N")
    assert ended.code == 0
    return str(name)
