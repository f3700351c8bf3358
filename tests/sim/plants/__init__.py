"""Planted bugs: each a small change of the real code that the simulation must find."""

from tests.sim.plants import (
    catalog,
    checkpoints,
    consensus,
    durability,
    exactly_once,
    membership,
    reads,
    routing,
    snapshots,
)
from tests.sim.plants.registry import PLANTS, planted

__all__ = [
    "PLANTS",
    "catalog",
    "checkpoints",
    "consensus",
    "durability",
    "exactly_once",
    "membership",
    "planted",
    "reads",
    "routing",
    "snapshots",
]
