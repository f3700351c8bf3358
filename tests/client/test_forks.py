"""A client in a forked process works, or says at once why it cannot; the parent's goes on.

With gRPC in use at a fork, a child that uses it waits for ever. Source: gRPC's issue 13464.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAY_OUT = (
    "this process was forked while its parent used gRPC, which cannot be used here any more: let"
    " the parent close its clients a moment before, open the first client after the fork, or start"
    " processes by spawn"
)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.client.forking", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with start("serve") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def told_by(story: str, address: str) -> list[str]:
    with start(story, address) as process:
        out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return out.splitlines()


def test_a_child_of_a_parent_whose_clients_are_closed_has_a_client_that_works(
    address: str,
) -> None:
    assert told_by("closed", address) == ["parent works", "child works", "grandchild works"] * 5


def test_a_closed_client_that_is_still_referred_to_keeps_nothing_of_grpc(address: str) -> None:
    """In a running loop, too: gRPC ends its part of a call in one of the loop's next turns."""
    assert told_by("kept", address) == ["parent works", "child works", "parent works"]


def test_with_a_client_open_the_child_is_told_at_once_and_the_parent_goes_on(address: str) -> None:
    assert told_by("still_open", address) == [
        "parent works",
        "inherited: this client was opened by the parent of this process: open one here",
        "inherited does not connect",
        f"new: {WAY_OUT}",
        "parent works",
        "child works",  # forked after the client was closed
    ]


def test_a_client_made_before_the_fork_has_request_ids_of_its_own_in_each_process(
    address: str,
) -> None:
    child, id_of_child, parent, id_of_parent = told_by("made", address)

    assert (child, parent) == ("child works", "parent works")
    assert id_of_child != id_of_parent  # else one's write would be taken for the other's


def test_where_another_library_uses_grpc_at_the_fork_the_child_is_told_at_once(
    address: str,
) -> None:
    assert told_by("foreign", address) == [f"child: {WAY_OUT}"]
