"""Owners of routed requests that spend their table's capacity."""

from __future__ import annotations

from typing import ClassVar

from model.errors import ModelError
from model.tables import Table
from router.admission.tables import TableAdmission
from router.call import Call
from router.dispatch import Dispatch, is_unknown
from router.operations.owner import RoutedOwner
from router.routed import Routed


class MeteredOwner(RoutedOwner):
    """Admitted for an estimate, settled for what it cost in the end.

    `admitted` are the units taken and not settled yet, 0 if the table has no limit.
    """

    __slots__ = ("admission", "admitted", "call", "table")

    reads: ClassVar[bool]

    def __init__(self, admission: TableAdmission, table: Table, call: Call) -> None:
        self.admission = admission
        self.table = table
        self.call = call
        self.admitted = 0.0

    def submit(self, dispatch: Dispatch, routed: Routed, units: float) -> None:
        """Have a request admitted and sent. Raises a throttling ModelError, taking nothing."""
        self.admitted = self.admission.admit(self.table, units, reads=self.reads)
        try:
            dispatch.submit(routed)
        except ModelError:
            self.settle(0.0)
            raise

    def settle(self, units: float) -> None:
        """Take note of what the request cost."""
        operation, admitted = self.call.operation, self.admitted
        self.admission.settle(self.table, operation, units, admitted, reads=self.reads)
        self.admitted = 0.0

    def settle_failed(self, routed: Routed) -> None:
        """Take note that the request failed: it cost what its leader says, else nothing.

        What may have been done keeps what it was admitted for.
        """
        if not is_unknown(routed) or routed.refused_units:
            self.settle(routed.refused_units)

    def throttled(self, routed: Routed) -> ModelError:
        """Return the error for a partition that is over its own cap."""
        del routed
        return self.admission.key_range_refusal(self.table, reads=self.reads)
