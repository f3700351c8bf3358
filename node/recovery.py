"""What a replica starts from: its log, its core, its machine, as the stores have them."""

from __future__ import annotations

from node.machine.dedupe import decode_generation
from node.machine.partition import PartitionMachine
from node.storage.agreement import is_older_log
from node.storage.errors import StoresDisagree
from node.storage.items import ItemStore, ReplicaState
from node.storage.log import GroupWrite, LogStore
from raft.core import RaftCore
from raft.types import Configuration, HardState, RaftConfig, RecoveryRefused, Rng, Ticks


class Recovery:
    """Reads both stores for the host, on its thread."""

    def __init__(
        self, config: RaftConfig, log: LogStore, items: ItemStore, rng: Rng, ticks: Ticks
    ) -> None:
        """Take stores that are open."""
        self._config = config
        self._log = log
        self._items = items
        self._rng = rng
        self._ticks = ticks

    def reset_older_log(self, group: int, applied: int, applied_term: int) -> None:
        """Drop a log that is older than its items.

        A snapshot was installed, and the node stopped before the log was reset after it.
        """
        if is_older_log(self._log.reader(group), applied, applied_term):
            record = self._log.prepare([GroupWrite(group, reset=(applied, applied_term))])
            self._log.commit(record)
            self._log.publish(record)

    def make_core(self, group: int, state: ReplicaState) -> RaftCore:
        """Return the group's core: it starts where the state is. Raises StoresDisagree."""
        recovered = self._log.recovered().get(group)
        try:
            return RaftCore(
                self._config,
                hard_state=recovered.hard_state if recovered else HardState(),
                configuration=Configuration.decode(state.configuration),
                log=self._log.reader(group),
                applied=state.applied_index,
                applied_term=state.applied_term,
                rng=self._rng,
                ticks=self._ticks,
            )
        except RecoveryRefused as error:
            raise StoresDisagree(group, str(error)) from error

    def make_machine(self, group: int, state: ReplicaState) -> PartitionMachine:
        """Return a partition's machine, which remembers the request ids that the store has."""
        generations = [
            decode_generation(number, data) for number, data in self._items.generations(group)
        ]
        return PartitionMachine(self._items, state.table_sizes, generations)
