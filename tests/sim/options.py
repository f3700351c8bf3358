"""What one seed draws: its own mix of load, sizes, speeds and faults (swarm testing)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

FAULTS = (
    "crash",
    "power_cut",
    "pause",
    "change_drift",
    "cut_one_way",
    "split",
    "bridge",
    "break_peer_stream",
    "break_router_stream",
    "cut_router",
    "hang_disk",
    "slow_disk",
    "fill_disk",
    "fail_disk",
    "fail_read",
    "empty_disk",
    "replace_node",
    "checkpoint",
    "transfer",
    "restart_router",
    "stop_router",
    "replay",
    "create_table",
    "drop_table",
)

SITUATIONS_DRAWN = (
    *("", "", ""),
    *("fall_behind", "fall_behind"),
    "cut_off_leader",
    "change_is_lost",
    "change_is_split",
    *("router_sleeps", "router_sleeps"),
)
"""Each as often as it is here; see `tests.sim.situations`. Chance alone would mostly miss them."""

NEVER = 1e9
"""Mean seconds between faults when there are none."""

CLUSTERS = (
    *((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    *((2, 2, 1), (2, 2, 2), (3, 3, 3)),
    (1, 1, 1, 1, 1),
)
"""Nodes in each AZ, each as often as it is here: groups of three on three to nine nodes; groups of
five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that was drawn; rates are probabilities per message, times are seconds."""

    cluster: tuple[int, ...]
    partitions: int
    routers: int
    clients: int
    attempt_timeout: float  # 0: clients wait as long as their router does
    twins: float
    reused_ids: float
    retries_end: float
    window: float
    ids_max: int
    answers_bytes_max: int
    keys: int
    collections: int
    think: float
    batch: int
    patience: float
    request_timeout: float
    kinds: tuple[str, ...]
    scans: float
    ticks_at_once: int
    loop: float
    delay: float
    slow_message: float
    breaks: float
    duplication: float
    reordering: float
    wire: float
    disk: float
    disk_tail: float
    kept: float
    checkpoint_every: float
    log_bytes_max: int
    lag_entries_max: int
    raft: dict[str, int]
    clock_drift: float
    fault_every: float
    faults: dict[str, int]
    strikes: float
    starts_within: float
    cut_off_at_start: bool
    rough_start: bool
    situation: str

    def describe(self) -> str:
        """Return one line an option."""
        return "\n".join(f"  {field.name} = {getattr(self, field.name)}" for field in fields(self))


def draw_options(rng: Random) -> Options:
    """Draw one seed's options."""
    choice = rng.choice
    kinds = rng.sample(FAULTS, rng.randrange(3, len(FAULTS) + 1))
    calm = rng.random() < 0.1
    situation = "" if calm else choice(SITUATIONS_DRAWN)
    falls_behind, sleeps = situation == "fall_behind", situation == "router_sleeps"
    starts_roughly = rng.random() < 0.1
    return Options(
        cluster=choice(CLUSTERS),
        partitions=choice((1, 1, 2, 2, 4)),
        routers=2 if sleeps else choice((1, 2)),
        clients=choice((2, 4, 8)),
        attempt_timeout=0.3 if sleeps else choice((0.0, 0.0, 0.4, 1.5)),
        twins=choice((0.0, 0.0, 0.1)),
        reused_ids=choice((0.0, 0.1, 0.5)),
        # Of a window of seconds nobody may come back after more than one.
        retries_end=1.0 if sleeps else 45.0,
        window=5.0 if sleeps else 75.0,
        ids_max=choice((1 << 20, 1 << 20, 300)) if sleeps else 1 << 20,
        answers_bytes_max=choice((0, 200, 1 << 24, 1 << 24)),
        keys=choice((3, 8, 20)),
        collections=choice((1, 2)),
        think=choice((0.05, 0.2, 0.5)),
        batch=choice((48, 96, 160)),
        patience=choice((2.0, 6.0, 10.0)),
        request_timeout=0.8 if sleeps else choice((0.8, 2.0, 4.0)),
        kinds=_draw_kinds(rng),
        scans=choice((0.0, 0.0, 0.1)),
        ticks_at_once=choice((1, 2, 4, 4)),
        loop=choice((0.0005, 0.004, 0.012)),
        delay=choice((0.0003, 0.001, 0.01, 0.03)),
        slow_message=choice((0.0, 0.0, 0.01, 0.05)),
        breaks=choice((0.0, 0.0, 0.001, 0.005)),
        duplication=choice((0.0, 0.0, 0.02, 0.3)),
        reordering=choice((0.0, 0.5, 1.0)),
        wire=choice((0.0, 0.02, 0.1)),
        disk=choice((0.0004, 0.002, 0.01)),
        disk_tail=choice((0.0, 0.0, 0.02)),
        kept=choice((0.1, 0.5, 0.9)),
        checkpoint_every=0.3 if sleeps else choice((0.3, 1.0, 5.0)),
        log_bytes_max=1 << 10 if falls_behind else choice((1 << 10, 1 << 13, 1 << 20)),
        lag_entries_max=choice((2, 64)),
        raft=_draw_raft(rng),
        clock_drift=choice((0.0, 0.0, 0.02) if sleeps else (0.0, 0.0, 0.02, 0.1)),
        fault_every=NEVER if calm else choice((0.12, 0.35, 1.0)),
        faults={kind: choice((1, 1, 3)) for kind in kinds},
        strikes=0.0 if calm else 0.5 if falls_behind else choice((0.1, 0.3)),
        starts_within=0.0 if starts_roughly else choice((0.0, 0.3, 2.0)),
        cut_off_at_start=not (calm or starts_roughly) and rng.random() < 0.4,
        rough_start=starts_roughly,
        situation=situation,
    )


def _draw_raft(rng: Random) -> dict[str, int]:
    """Return what differs from the usual limits of a core."""
    choice = rng.choice
    limits = {
        "append_bytes_max": choice((1, 200, 1 << 20)),
        "in_flight_count_max": choice((1, 4, 256)),
        "committed_bytes_max": choice((1, 1 << 22)),
        "cache_bytes_max": choice((0, 1 << 20)),
    }
    return {"election_ticks_min": choice((10, 10, 20)), **(limits if rng.random() < 0.5 else {})}


def _draw_kinds(rng: Random) -> tuple[str, ...]:
    """Return kinds of operations, each as often as it is to be done."""
    shares = {
        "put": (0, 2, 4),
        "add": (2, 4, 8),
        "put_if_absent": (0, 1, 3),
        "put_if": (0, 1, 3),
        "delete": (0, 1, 2),
        "get": (2, 4),
        "get_eventual": (0, 0, 1),
    }
    return tuple(kind for kind, share in shares.items() for _ in range(rng.choice(share)))
