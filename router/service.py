"""What all faces serve: one table of operations, run for one call at a time.

A handler answers its call at once or when nodes have answered; it never blocks. The rare ones that
must wait (control plane) run as tasks in the process's group, not without bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Final

from model.errors import (
    LimitExceeded,
    ModelError,
    UnknownOperation,
)
from quorate.logs import bug
from router.admission.tables import TableAdmission
from router.call import Call
from router.call_trace import CallTracing
from router.catalog_view import CatalogView, UnknownTable
from router.catalog_watch import CatalogWatch
from router.control import NodeControl
from router.dispatch import Dispatch
from router.json_text import decode_json
from router.refusals import no_catalog, router_bug, router_full, table_not_found
from router.retries import Retries
from router.table_sizes import TableSizes

BACKGROUND_MAX: Final = 500
"""Most calls that run as tasks. Source: DynamoDB's bound on concurrent control-plane calls."""

Handler = Callable[["Service", object, Call], None]
"""Takes the request's JSON value; raises ModelError or UnknownTable, or answers the call."""


class Service:
    """Serves calls with what the process has: catalog, dispatcher, control plane."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        view: CatalogView,
        watch: CatalogWatch,
        control: NodeControl,
        dispatch: Dispatch,
        admission: TableAdmission,
        sizes: TableSizes,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._handlers = handlers
        self.tracing: CallTracing | None = None  # if the process traces
        self.view = view
        self.watch = watch
        self.control = control
        self.dispatch = dispatch
        self.admission = admission
        self.sizes = sizes
        self._tasks = tasks
        self.retries = Retries(admission.clock)
        self._background_count = 0
        self._life = 0

    @property
    def door_is_closed(self) -> bool:
        """Whether a call is to be refused before anything is done for it."""
        return self.dispatch.is_full

    def count_refusal(self) -> None:
        """Count a call that was refused at the door."""
        self.dispatch.counters.refused_full += 1

    def drop_all(self) -> None:
        """Do nothing more for the calls taken until now: nobody knows how old they are."""
        self._life += 1
        self.admission.drop_waiting()
        self.retries.drop_all()
        self.dispatch.drop_all()

    def tick(self) -> None:
        """Let those go on who wait for capacity or pause. Call it many times a second."""
        self.admission.serve_queues()
        self.retries.tick()
        self.dispatch.tick()

    def execute_json(self, operation: str, raw: bytes | bytearray, call: Call) -> None:
        """Run an operation on a JSON text. A text that is no JSON is refused whatever it is for."""
        try:
            body = decode_json(raw)
        except ModelError as error:
            call.operation = operation if operation in self._handlers else ""
            call.fail(error)
            return
        self.execute(operation, body, call)

    def execute(self, operation: str, body: object, call: Call) -> None:
        """Run an operation on a JSON value; the call is answered now or later, in any case."""
        handler = self._handlers.get(operation)
        if handler is None:
            call.fail(UnknownOperation())
            return
        call.operation = operation
        if self.tracing is not None and call.trace is None:
            call.trace = self.tracing.begin(call)
        if not self.view.epoch:
            call.fail(no_catalog())
            return
        try:
            handler(self, body, call)
        except ModelError as error:
            call.fail(error)
        except UnknownTable as unknown:
            self._after_refresh(body, call, unknown.name)
        except Exception:  # noqa: BLE001 - a bug met by one call must not end the others
            bug("call_failed", operation=operation)
            call.fail(router_bug())

    def _after_refresh(self, body: object, call: Call, table_name: str) -> None:
        """Run a call again when the nodes were asked for a newer catalog; once."""
        if call.refreshed:
            call.fail(table_not_found(call.operation, table_name))
            return
        call.refreshed = True
        operation, life = call.operation, self._life

        def again() -> None:
            if life == self._life:
                self.execute(operation, body, call)
            else:
                call.fail(router_full())

        if not self.watch.refresh(again):
            call.fail(router_full())

    def run_in_background(self, call: Call, work: Coroutine[object, object, bytes]) -> None:
        """Answer a call with what a coroutine returns or raises. Refuses when too many run."""
        if self._background_count >= BACKGROUND_MAX:
            work.close()
            call.fail(LimitExceeded("Too many control plane requests at once."))
            return
        self._background_count += 1
        self._tasks.create_task(self._answer_from(call, work))

    async def _answer_from(self, call: Call, work: Coroutine[object, object, bytes]) -> None:
        try:
            call.succeed(await work)
        except ModelError as error:
            call.fail(error)
        except UnknownTable as unknown:
            call.fail(table_not_found(call.operation, unknown.name))
        except Exception:  # noqa: BLE001 - as in `execute`: this task belongs to one call
            bug("call_failed", operation=call.operation)
            call.fail(router_bug())
        finally:
            self._background_count -= 1
