"""Planted bugs: checkpoints, and what is cut off the log after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node import checkpoints
from tests.sim.disk import MemoryItemStore
from tests.sim.plants.registry import Change, plant


@plant
def checkpoint_loses_an_image() -> Sequence[Change]:
    """A checkpoint does not write the last item of its batch."""
    checkpoint = MemoryItemStore.checkpoint

    def forgetful(self: MemoryItemStore, batch: Any) -> None:
        for part in batch:
            part.items = list(part.items)[:-1]
        checkpoint(self, batch)

    return [(MemoryItemStore, "checkpoint", forgetful)]


@plant
def checkpoint_without_applied_index() -> Sequence[Change]:
    """A checkpoint moves images and sizes but not the applied index: the log is replayed twice."""
    checkpoint = MemoryItemStore.checkpoint

    def forgetful(self: MemoryItemStore, batch: Any) -> None:
        before = self.replicas()
        for part in batch:
            known = before.get(part.group)
            if known is not None and part.group:
                part.state.applied_index = known.applied_index
                part.state.applied_term = known.applied_term
        checkpoint(self, batch)

    return [(MemoryItemStore, "checkpoint", forgetful)]


@plant
def log_cut_above_durable_applied() -> Sequence[Change]:
    """The log is cut at what is applied instead of what is applied in the tree."""

    def cut(self: checkpoints.Checkpointer) -> None:
        if self._log.size_bytes() > checkpoints.LOG_BYTES_MAX:
            for group, each in self._replicas.items():
                if not each.installing:
                    index = min(each.core.applied, self._log.reader(group).last_index())
                    if index >= self._log.reader(group).first_index():
                        self._log.cut(group, index)

    return [(checkpoints.Checkpointer, "_cut_log", cut)]
