"""Does one operation: attempts, deadlines, and what to raise in the end."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import orjson

from quorate.client.answers import Item
from quorate.client.calls import BODY_BYTES_MAX, Call
from quorate.client.channels import Channels
from quorate.client.credentials import Credentials, credentials_from
from quorate.client.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    QuorateError,
    RequestRefused,
    Throttled,
    Unreachable,
    code_of,
    error_of,
)
from quorate.client.pipeline import Pipeline
from quorate.client.requests import (
    check_iterable,
    check_map,
    check_request_id,
    check_seconds,
    check_text,
    encode_items,
    encode_one,
    encode_request,
)
from quorate.client.retry import Verdict, backoff_seconds, judge
from quorate.values import ValueRefused, decode_item

DEADLINE_SECONDS_DEFAULT: Final = 10.0
"""Time a call may take, all attempts together. Ours: longer than any failover."""

OPEN_CALLS_MAX_DEFAULT: Final = 8192
"""Most calls in flight; more wait their turn. Ours."""

ATTEMPT_SECONDS_MIN: Final = 0.1
"""Time an attempt must have left to be worth making. Ours: one that is not answered in time turns
"surely not done" into "unknown"."""

READS: Final = frozenset(
    {"BatchGetItem", "DescribeTable", "GetItem", "ListTables", "Query", "Scan"}
)
"""Operations that change nothing: for them an unanswered call is not an unknown outcome."""


NOT_ADMITTED_CODES: Final = frozenset(
    {
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
"""Errors of an attempt that was not even looked at: who made it may not call, or not any more."""


class Caller:
    """A connection, and the one way to do an operation over it; see `Client`."""

    def __init__(
        self,
        endpoint: str | Sequence[str] = "127.0.0.1:8001",
        *,
        raw: bool = False,
        deadline_seconds: float = DEADLINE_SECONDS_DEFAULT,
        open_calls_max: int = OPEN_CALLS_MAX_DEFAULT,
        credentials: Credentials | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Take host:port of a router's gRPC face, or several (a sequence, or with commas).

        Without `credentials`, those of the environment sign the calls, if it has any:
        AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

        With `tls_ca`, else the environment's QUORATE_TLS_CA, the connection is TLS: a PEM file of
        the authorities that a router's certificate must be from. Raises
        CertificateAuthorityRefused if the file cannot be used, ValueRefused for other arguments.
        """
        self._endpoints = _endpoints(endpoint)
        self.rng = rng or random.Random(os.urandom(16))  # noqa: S311 - jitter is no secret
        self._pipeline = Pipeline(
            self._endpoints,
            open_max=_open_calls(open_calls_max),
            credentials=credentials or credentials_from(),
            channels=Channels(tls_ca),
            rng=self.rng,
        )
        self.deadline_seconds = check_seconds(deadline_seconds, "deadline_seconds")
        self._raw = raw
        self._request_prefix = b""
        self._request_count = 0

    async def __aenter__(self) -> Self:
        """Start connecting; calls made meanwhile wait. Raises Forked."""
        self._pipeline.open()
        # With a counter, 16 bytes nobody else makes: a child opens what its parent made, too.
        self._request_prefix = os.urandom(8)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the stream."""
        await self.close()

    async def close(self) -> None:
        """End the stream. Calls still open raise, as if their deadline had passed.

        In a forked process this leaves alone what is the parent's.
        """
        await self._pipeline.close()

    async def wait_connected(self, timeout_seconds: float = 3.0) -> None:
        """Return once a router has accepted the connection; raises Unreachable.

        There is no need to call this: it is for programs that would rather know at once.
        """
        check_seconds(timeout_seconds, "timeout_seconds")
        self._pipeline.check_is_ours()
        if not await self._pipeline.wait_connected(timeout_seconds):
            raise Unreachable(
                self._pipeline.last_trouble or f"no router answers at {', '.join(self._endpoints)}"
            )

    async def execute(
        self,
        operation: str,
        body: Mapping[str, Any],
        *,
        deadline_seconds: float | None = None,
        request_id: bytes | None = None,
    ) -> dict[str, Any]:
        """Do one operation of the DynamoDB API: JSON request in, JSON response out.

        `request_id`, 16 bytes, is for going on with a call that raised OutcomeUnknown.
        """
        name = check_text(operation, "operation")
        response = await self.call(name, body, deadline_seconds, request_id)
        document: dict[str, Any] = orjson.loads(response)
        return document

    def _next_request_id(self) -> bytes:
        self._request_count += 1
        return self._request_prefix + self._request_count.to_bytes(8, "big")

    def allowed_seconds(self, deadline_seconds: float | None) -> float:
        """Return the time that a call has."""
        if deadline_seconds is None:
            return self.deadline_seconds
        return check_seconds(deadline_seconds, "deadline_seconds")

    async def call(
        self,
        operation: str,
        body: Mapping[str, Any],
        deadline_seconds: float | None,
        request_id: bytes | None = None,
    ) -> bytes:
        """Attempt until there is an answer that would not change, or the deadline passes."""
        pipeline = self._pipeline
        pipeline.check_is_ours()
        allowed = self.allowed_seconds(deadline_seconds)
        encoded = encode_request(body)
        if len(encoded) > BODY_BYTES_MAX:
            raise RequestRefused(
                f"{operation}: the request has {len(encoded)} bytes, at most {BODY_BYTES_MAX} fit"
            )
        call = Call(
            operation,
            encoded,
            self._next_request_id() if request_id is None else check_request_id(request_id),
            pipeline.loop.time() + allowed,
        )
        failures = 0
        trouble: QuorateError | None = None
        while (answer := await pipeline.attempt(call)) is not None:
            status, response = answer
            if status == 200:
                return response
            failures += 1
            trouble = self._trouble(call, status, response)
            pause = backoff_seconds(failures, self.rng)
            if pipeline.loop.time() + pause + ATTEMPT_SECONDS_MIN > call.deadline:
                break
            await asyncio.sleep(pause)
        raise self._gave_up(call, allowed, trouble)

    def _trouble(self, call: Call, status: int, response: bytes) -> QuorateError:
        """Return why the call is to be tried again; raises if that would be no use."""
        try:
            document = orjson.loads(response)
        except orjson.JSONDecodeError:
            document = {}
        verdict = judge(status, code_of(document))
        item = document.get("Item")
        if item is not None and not self._raw:
            item = decode_item(item)
        error = error_of(status, document, item=item)
        if verdict is Verdict.REFUSED:
            if call.doubtful and error.code in NOT_ADMITTED_CODES and call.operation not in READS:
                # The key was deleted meanwhile: that says nothing about the earlier attempt.
                raise OutcomeUnknown(
                    f"{call.operation} may or may not have been done, and may not be tried again: "
                    f"{error.message}",
                    request_id=call.request_id,
                )
            raise error
        call.sent = False
        call.doubtful = call.doubtful or verdict is Verdict.UNKNOWN
        return error

    def _gave_up(self, call: Call, allowed: float, trouble: QuorateError | None) -> QuorateError:
        """Return what to raise at the deadline: above all, whether the write may be done."""
        said = f": {trouble.message}" if trouble is not None else ""
        if call.sent or call.doubtful:
            said = said or ": no answer"
            if call.operation not in READS:
                return OutcomeUnknown(
                    f"{call.operation} was sent and its outcome is unknown after {allowed:g} s"
                    f"{said}; it may or may not have been done",
                    request_id=call.request_id,
                )
        elif trouble is None and not self._pipeline.is_connected:
            where = self._pipeline.last_trouble or f"no router at {', '.join(self._endpoints)}"
            return Unreachable(f"{call.operation} was not sent within {allowed:g} s: {where}")
        if isinstance(trouble, Throttled):
            return trouble
        return DeadlineExceeded(f"{call.operation} was not done within {allowed:g} s{said}")

    # --- Between Python and JSON --------------------------------------------------------------

    def encode(self, item: Mapping[str, object], place: str) -> Mapping[str, Any]:
        """Return an item as the request has it; `place` is the argument that it is."""
        return encode_one(item, place, raw=self._raw)

    def encode_all(self, items: Iterable[Mapping[str, object]], place: str) -> list[dict[str, Any]]:
        """Return several items as the request has them."""
        return encode_items(items, place, raw=self._raw)

    def decode(self, item: dict[str, Any]) -> Item:
        """Return an item as the caller wants it."""
        return item if self._raw else decode_item(item)

    def add_names_and_values(
        self,
        body: dict[str, Any],
        names: Mapping[str, str] | None,
        values: Mapping[str, object] | None,
    ) -> None:
        """Put the expressions' names and values into a request."""
        if names is not None:
            body["ExpressionAttributeNames"] = check_map(names, "expression_attribute_names")
        if values is not None:
            place = "expression_attribute_values"
            body["ExpressionAttributeValues"] = self.encode(values, place)


def _endpoints(given: str | Sequence[str]) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else check_iterable(given, "endpoint")
    endpoints = [check_text(part, "endpoint").strip() for part in parts]
    endpoints = [endpoint for endpoint in endpoints if endpoint]
    if not endpoints:
        raise ValueRefused("a client needs at least one, host:port", "endpoint")
    return endpoints


def _open_calls(given: object) -> int:
    if not isinstance(given, int) or given < 1:
        raise ValueRefused("a client has at least one open call", "open_calls_max")
    return given
