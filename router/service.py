"""What all faces serve: one table of operations, run for one call at a time.

An operation answers its call at once or when nodes have answered; it never blocks. The rare ones
that must wait (control plane) run as tasks in the process's group, not without bound. Large
requests are prepared beside the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from model.errors import AccessDenied, LimitExceeded, ModelError, UnknownOperation
from quorate.logs import bug
from router.admission.tables import TableAdmission
from router.authorization import AuthorizedOperations
from router.call import Call
from router.call_trace import CallTracing
from router.catalog_view import CatalogView, UnknownTable
from router.catalog_watch import CatalogWatch
from router.content_coding import decode_body
from router.control import NodeControl
from router.dispatch import Dispatch
from router.json_text import decode_json, decode_large_json
from router.large_requests import LARGE_BYTES, LargeRequests, Outcome, take_apart
from router.operation import BATCH_BYTES_MAX
from router.refusals import no_catalog, router_bug, router_full, table_not_found
from router.retries import Retries
from router.table_sizes import TableSizes

BACKGROUND_MAX: Final = 500
"""Most calls that run as tasks. Source: DynamoDB's bound on concurrent control-plane calls."""


class Service:
    """Serves calls with what the process has: catalog, dispatcher, control plane."""

    def __init__(
        self,
        operations: AuthorizedOperations,
        *,
        view: CatalogView,
        watch: CatalogWatch,
        control: NodeControl,
        dispatch: Dispatch,
        admission: TableAdmission,
        large_requests: LargeRequests,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._operations = operations
        self._large_requests = large_requests
        self.tracing: CallTracing | None = None  # if the process traces
        self.view = view
        self.watch = watch
        self.control = control
        self.dispatch = dispatch
        self.admission = admission
        self.sizes = TableSizes(control, admission.clock)
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
        self._large_requests.drop_all()
        self.dispatch.drop_all()

    def tick(self) -> None:
        """Let those go on who wait for capacity or pause. Call it many times a second."""
        self.admission.serve_queues()
        self.retries.tick()
        self.dispatch.tick()

    def body_bytes_max(self, operation: str) -> int:
        """Return how long a request of an operation may be, 0 for one that does not exist."""
        found = self._operations.get(operation)
        return 0 if found is None else found.body_bytes_max

    def execute_json(
        self, operation: str, raw: bytes | bytearray, call: Call, coding: bytes = b""
    ) -> None:
        """Run an operation on a JSON text, which has the codings of a Content-Encoding.

        A text that is no JSON is refused whatever it is for.
        """
        if coding or len(raw) > LARGE_BYTES:
            bytes_max = self.body_bytes_max(operation) or BATCH_BYTES_MAX
            decode = partial(_decode_large, raw, coding, bytes_max)
            self.execute_large(operation, len(raw), decode, call)
            return
        try:
            body = decode_json(raw)
        except ModelError as error:
            call.operation = operation if self._operations.get(operation) else ""
            call.fail(error)
            return
        self.execute(operation, body, call)

    def execute(self, name: str, body: object, call: Call) -> None:
        """Run an operation on a JSON value; the call is answered now or later, in any case."""
        operation = self._operations.get(name)
        if operation is None:
            call.fail(UnknownOperation())
        elif self._begin(name, call):
            try:
                operation.serve(
                    self, self._operations.prepare(operation, self.view, body, call), call
                )
            except Exception as error:  # noqa: BLE001 - see `_fail`
                self._fail(call, error, partial(self.execute, name, body, call))

    def execute_large(
        self, name: str, size_bytes: int, decode: Callable[[], object], call: Call
    ) -> None:
        """Run an operation on the JSON value that `decode` returns, in another thread."""
        operation = self._operations.get(name)
        if operation is not None and not self._begin(name, call):
            return
        life = self._life

        def work() -> Any:  # noqa: ANN401  (whatever the operation makes of it)
            body = decode()
            try:
                if operation is None:
                    raise UnknownOperation
                prepared = self._operations.prepare(operation, self.view, body, call)
                operation.complete(prepared)
            except (ModelError, UnknownTable):
                take_apart(body)
                raise
            return prepared

        def done(outcome: Outcome) -> None:
            if life != self._life or self.admission.clock() >= call.deadline:
                call.fail(router_full())  # nothing of it was sent
                return
            again = partial(self.execute_large, name, size_bytes, decode, call)
            if outcome.error is not None:
                self._fail(call, outcome.error, again)
                return
            assert operation is not None
            try:
                operation.serve(self, outcome.result, call)
            except Exception as error:  # noqa: BLE001 - see `_fail`
                self._fail(call, error, again)

        if not self._large_requests.put(call.network, size_bytes, work, done):
            self.count_refusal()
            call.fail(router_full())

    def _begin(self, name: str, call: Call) -> bool:
        """Return whether a call of a known operation can go on; if not, it is answered."""
        call.operation = name
        if self.tracing is not None and call.trace is None:
            call.trace = self.tracing.begin(call)
        if not self.view.epoch:
            call.fail(no_catalog())
            return False
        return True

    def _fail(self, call: Call, error: Exception, again: Callable[[], None]) -> None:
        """Fail a call with what it has met, or let `again` begin it anew.

        A bug met by one call must not end the others.
        """
        if isinstance(error, UnknownTable):
            self._after_refresh(call, error.name, again)
        elif isinstance(error, ModelError):
            if isinstance(error, AccessDenied):
                self._operations.log(error, call)
            call.fail(error)
        else:
            bug("call_failed", error, operation=call.operation)
            call.fail(router_bug())

    def _after_refresh(self, call: Call, table_name: str, again: Callable[[], None]) -> None:
        """Begin a call anew when the nodes were asked for a newer catalog; once."""
        if call.refreshed:
            call.fail(table_not_found(call.operation, table_name))
            return
        call.refreshed = True
        life = self._life

        def go_on() -> None:
            if life == self._life:
                again()
            else:
                call.fail(router_full())

        if not self.watch.refresh(go_on):
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


def _decode_large(raw: bytes | bytearray, coding: bytes, bytes_max: int) -> object:
    return decode_large_json(decode_body(coding, raw, bytes_max) if coding else raw)
