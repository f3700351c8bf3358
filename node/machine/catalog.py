"""The catalog's state machine: pure, the same on every replica of group 0."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from node.machine.catalog_changes import Refused, change
from quorate.cluster.catalog import Catalog
from quorate.cluster.codec import decode_catalog, encode_catalog
from quorate.cluster.commands import decode_catalog_command
from quorate.v1 import catalog_pb2, log_pb2

RESULTS_MAX: Final = 1_000
"""Most recent commands whose results are remembered for retries. Ours."""


OPERATOR_CALLS_MAX: Final = 10_000
"""Most recent calls of operators that are remembered, so that none is made twice. Ours: routers
take a call for two minutes, and so many changes are not made in that time. Users' own commands
forget none of them."""

REPEATED: Final = "repeated"
"""The reason to refuse a second command for one call of an operator."""


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """What a command did: the epoch of the catalog that has it, or why it was refused."""

    epoch: int
    refusal: str = ""


class CatalogMachine:
    """Applies committed commands; `catalog` is the newest one."""

    __slots__ = ("_operator_calls", "_results", "catalog")

    def __init__(self, state: bytes = b"") -> None:
        """Start empty, or from what `encode` returned."""
        self.catalog = Catalog()
        self._results: OrderedDict[bytes, CatalogResult] = OrderedDict()
        self._operator_calls: dict[bytes, None] = {}  # oldest first
        if state:
            wire = log_pb2.CatalogState.FromString(state)
            self.catalog = decode_catalog(wire.catalog)
            for result in wire.results:
                self._remember(result.request_id, CatalogResult(result.epoch, result.refusal))
            self._operator_calls = dict.fromkeys(wire.operator_calls)

    def encode(self) -> bytes:
        """Return the whole state as bytes, for checkpoints and snapshots."""
        return log_pb2.CatalogState(
            catalog=encode_catalog(self.catalog),
            results=[
                log_pb2.CatalogState.Result(
                    request_id=request_id, epoch=result.epoch, refusal=result.refusal
                )
                for request_id, result in self._results.items()
            ],
            operator_calls=self._operator_calls,
        ).SerializeToString()

    def find(self, request_id: bytes) -> CatalogResult | None:
        """Return the result of a command applied before, if it is remembered."""
        return self._results.get(request_id)

    def apply(self, payload: bytes) -> CatalogResult:
        """Apply one committed command; a repeated request id changes nothing.

        Nor does another command for the same call of an operator, which is refused.
        """
        wire = catalog_pb2.CatalogCommand.FromString(payload)
        known = self._results.get(wire.request_id)
        if known is not None:
            return known
        command = decode_catalog_command(wire)
        if command is None:
            # A newer version's command: applying only some commands would let replicas differ.
            raise UnknownCommand("the log holds a catalog command of a newer version")
        refusal = ""
        try:
            self._take_call(wire.operator_call)
            self.catalog = change(self.catalog, command)
        except Refused as refused:
            refusal = refused.reason
        result = CatalogResult(self.catalog.epoch, refusal)
        self._remember(wire.request_id, result)
        return result

    def _take_call(self, call: bytes) -> None:
        """Note the operator's call that a command is for. Raises Refused if it had one before."""
        if not call:
            return
        if call in self._operator_calls:
            raise Refused(REPEATED)
        self._operator_calls[call] = None
        while len(self._operator_calls) > OPERATOR_CALLS_MAX:
            del self._operator_calls[next(iter(self._operator_calls))]

    def _remember(self, request_id: bytes, result: CatalogResult) -> None:
        self._results[request_id] = result
        while len(self._results) > RESULTS_MAX:
            self._results.popitem(last=False)


class UnknownCommand(Exception):
    """This node is too old for what the cluster has committed: upgrade it."""
