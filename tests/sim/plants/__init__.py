"""Planted bugs: each a small change of the real code that the simulation must find."""

from tests.sim.plants import (
    catalog,
    catalog_search,
    checkpoints,
    consensus,
    durability,
    exactly_once,
    membership,
    reads,
    routing,
    sleep,
    snapshots,
)
from tests.sim.plants.registry import PLANTS, planted

__all__ = [
    "PLANTS",
    "catalog",
    "catalog_search",
    "checkpoints",
    "consensus",
    "durability",
    "exactly_once",
    "membership",
    "planted",
    "reads",
    "routing",
    "sleep",
    "snapshots",
]
