"""A node dies just before or just after its n-th sync; nothing that was acknowledged is lost.

Killed, or cut off from power together with its disk. `make test` tells the story for a spread of
n, `make sweep` for every n from 1 to 50. Source: reliability.md, P2, P7, D5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.processes.faults.clusters import faulty_cluster
from tests.processes.faults.disk_shim import Act, Target
from tests.processes.faults.stories import Deaths, Fault, die_of

WHOLE = range(1, 51)
SPREAD = (1, 2, 5, 16, 50)
KILLS = (Act.KILL_BEFORE, Act.KILL_AFTER)
CUTS = (Act.CUT_BEFORE, Act.CUT_AFTER)


def crash_points(acts: tuple[Act, Act]) -> pytest.MarkDecorator:
    """Before and after every n; in the spread, by turns."""
    if os.environ.get("QUORATE_SWEEP") == "whole":
        found = [(act, n) for n in WHOLE for act in acts]
    else:
        found = list(zip(cycle(acts), SPREAD, strict=False))
    names = [f"{act.name.lower().replace('_', '-')}-sync-{n}" for act, n in found]
    return pytest.mark.parametrize(("act", "n"), found, ids=names)


@pytest.fixture(scope="module")
def kills(shim_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    with faulty_cluster(tmp_path_factory.mktemp("kills"), shim_library) as faulty:
        yield Deaths(faulty)


@pytest.fixture(scope="module")
def power_cuts(
    shim_library: Path, loop_disks: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deaths]:
    folder = tmp_path_factory.mktemp("power-cuts")
    with faulty_cluster(folder, shim_library, on_disks=True) as faulty:
        yield Deaths(faulty)


@crash_points(KILLS)
def test_node_killed_at_its_nth_sync_kept_what_it_acknowledged(
    kills: Deaths, act: Act, n: int
) -> None:
    death = die_of(kills, Fault(act=act, at=n))

    assert death.ended == "was killed by SIGKILL"
    assert death.lost == []
    assert death.unexplained == []


@pytest.mark.parametrize(("n", "bytes_kept"), [(1, 1000), (4, 5000)])
def test_node_killed_within_a_write_kept_what_it_acknowledged(
    kills: Deaths, n: int, bytes_kept: int
) -> None:
    """Half of a page is on the disk, of a commit that nobody has counted on."""
    death = die_of(kills, Fault(act=Act.TEAR, target=Target.WRITES, at=n, value=bytes_kept))

    assert death.ended == "was killed by SIGKILL"
    assert death.lost == []
    assert death.unexplained == []


def test_enough_was_done_around_the_kills(kills: Deaths) -> None:
    kills.assert_thick()


@crash_points(CUTS)
def test_node_cut_off_from_power_at_its_nth_sync_kept_what_it_acknowledged(
    power_cuts: Deaths, act: Act, n: int
) -> None:
    death = die_of(power_cuts, Fault(act=act, at=n))

    assert death.ended == "was killed by SIGKILL"
    assert death.lost == []
    assert death.unexplained == []


def test_enough_was_done_around_the_power_cuts(power_cuts: Deaths) -> None:
    power_cuts.assert_thick()
