"""The gRPC face: typed unary calls over the same handlers as HTTP's, and the Pipeline stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
import orjson
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from model.errors import InvalidSignature, ModelError, ServiceUnavailable
from quorate.http.addresses import check_free
from quorate.security.grpc_credentials import renewed_credentials
from quorate.security.server_certificate import CertificateFiles
from quorate.security.signing import REQUEST_ID_KEY
from quorate.shares import Shares, network_of_peer
from quorate.v1 import api_pb2
from router.arrivals import REQUEST_BYTES_MAX
from router.authentication import Authentication, SignedCall, StreamPass
from router.call import CallObserver
from router.grpc_call import MESSAGE_BYTES_MAX, GrpcCall, message_bytes_max, room_of
from router.grpc_errors import abort
from router.grpc_gate import CALLS_MAX, GrpcGate
from router.grpc_requests import Registered, message_of
from router.large_requests import LARGE_BYTES
from router.message_json import to_document, to_message
from router.operator_service import OperatorService
from router.options import RouterOptions
from router.pipeline import Pipeline
from router.refusals import router_full
from router.request_id import request_id_of
from router.service import Service

log = logging.getLogger(__name__)

SERVICE: Final = api_pb2.DESCRIPTOR.services_by_name["QuorateService"]

REQUEST_SECONDS_MAX: Final = 30.0
"""Longest deadline a client can have. Ours."""

ANSWER_MARGIN_SECONDS: Final = 0.02
"""A call ends so long before its client's deadline, for the reason to get there. Ours."""

CONNECTIONS_MAX: Final = 4_096
"""Most connections, of all clients. Ours: one carries any number of calls."""

CONNECTIONS_PER_NETWORK_MAX: Final = 1_024
"""Most of them from one network. Ours: behind a proxy there may be many clients."""

SERVER_OPTIONS: Final = (
    # gRPC's default would let two processes listen on one port, each with half the connections.
    ("grpc.so_reuseport", 0),
    # At 100 a client that starts with 256 calls on one connection had some of them reset.
    ("grpc.max_concurrent_streams", 1_024),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    # What nobody reads fills a window: one of 64 KiB, and not one as large as the line is fast.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_connection_idle_ms", 300_000),
    # In their TLS handshake, or before HTTP/2's first frame, connections count, too.
    ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
    ("grpc.server_handshake_timeout_ms", 2_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # Without this a client that has no call open, and pings as ours does, is sent away.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

UNREAD_BYTES_PER_NETWORK_MAX: Final = 256 << 20
UNREAD_BYTES_ALL_MAX: Final = 512 << 20
"""Most bytes of answers that clients leave unread: the largest streams end. Ours, as on HTTP."""

DROPPED: Final = "This router has slept, and does nothing that was sent before it woke. Call again."

STREAM_AGE: Final = 0.85
"""Part of a connection's greatest age at which its Pipeline ends, everything answered: before gRPC
says that the connection goes, and breaks what is still on it a little later. Ours."""

Metadata = Sequence[tuple[str, str | bytes]]
Context = Any  # grpc.aio.ServicerContext, generic only in the type stubs


class UnaryCall(GrpcCall):
    """A call that came as a unary RPC."""

    __slots__ = ("_network", "answer", "metadata", "signed")

    def __init__(
        self,
        observer: CallObserver,
        request_id: bytes,
        started: float,
        deadline: float,
        answer: asyncio.Future[bytes],
        metadata: Metadata,
        network: str,
    ) -> None:
        GrpcCall.__init__(self, observer, request_id, started, deadline)
        self.room_bytes = room_of(message_bytes_max(metadata))
        self.answer = answer
        self.metadata = metadata
        self._network = network
        self.signed: SignedCall | None = None  # None: nobody had to

    @property
    def network(self) -> str:
        """What the client's address is counted under."""
        return self._network

    @property
    def traceparent(self) -> str:
        """The metadata's, if there is one."""
        return next((str(value) for key, value in self.metadata if key == "traceparent"), "")

    def send_answer(self, body: bytes) -> None:
        """Give the JSON response to the waiting RPC, unless its client has gone."""
        if not self.answer.done():
            self.answer.set_result(body)

    def send_error(self, error: ModelError) -> None:
        """Give the error to the waiting RPC, unless its client has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)


class GrpcFace:
    """The public gRPC server."""

    def __init__(
        self,
        service: Service,
        observer: CallObserver,
        clock: Callable[[], float],
        *,
        authentication: Authentication,
        operator_services: Sequence[OperatorService],
        options: RouterOptions,
        certificates: CertificateFiles | None = None,
    ) -> None:
        """With `certificates`, nothing is spoken but TLS.

        Of the options those count that are about requests, connections and reflection.
        """
        self._service = service
        self._observer = observer
        self._clock = clock
        self._authentication = authentication
        self._timeout_seconds = options.request_timeout_ms / 1000
        self._certificates = certificates
        self.port = 0  # known when listening
        self._pipelines: set[Pipeline] = set()
        self._dropped = False
        self._health = health.aio.HealthServicer()
        self._stream_seconds_max = options.connection_age_seconds * STREAM_AGE
        self._gate = GrpcGate()
        # The gate's bounds come first: gRPC's own refusal does not say whose share is used up.
        self._server = grpc.aio.server(
            options=(*SERVER_OPTIONS, *_age_options(options.connection_age_seconds)),
            maximum_concurrent_rpcs=2 * CALLS_MAX,
        )
        others = Registered()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, others)
        if options.reflection:
            names = [service.service.full_name for service in operator_services]
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection.aio.ReflectionServicer(
                    (SERVICE.full_name, *names, health.SERVICE_NAME, reflection.SERVICE_NAME)
                ),
                others,
            )
        services = (
            grpc.method_handlers_generic_handler(SERVICE.full_name, self._handlers()),
            *(service.handlers() for service in operator_services),
            *others.services,
        )
        self._server.add_generic_rpc_handlers([self._gate.handlers(each) for each in services])

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError if the address cannot be had."""
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        check_free(host, port)  # grpc's own reason is long
        try:
            if self._certificates is None:
                self.port = self._server.add_insecure_port(name)
            else:
                self.port = self._server.add_secure_port(name, _credentials(self._certificates))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if self.port == 0:
            raise OSError(f"cannot listen on {name}")
        await self.set_serving(serving=False)
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether this router can serve."""
        status = health_pb2.HealthCheckResponse
        for name in ("", SERVICE.full_name):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls and let those in flight end."""
        await self._health.enter_graceful_shutdown()
        for pipeline in list(self._pipelines):
            pipeline.finish()
        await self._server.stop(grace_seconds)

    def drop(self) -> None:
        """Serve nothing more that comes, though it was read already; `stop` is to follow."""
        self._dropped = True
        for pipeline in list(self._pipelines):
            pipeline.finish()

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in SERVICE.methods:
            response_type = getattr(api_pb2, method.output_type.name)
            if method.name == "Pipeline":
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(
                    self._pipeline,
                    response_serializer=response_type.SerializeToString,
                )
            else:
                handlers[method.name] = grpc.stream_unary_rpc_method_handler(
                    self._unary(
                        method.name, getattr(api_pb2, method.input_type.name), response_type
                    ),
                    response_serializer=response_type.SerializeToString,
                )
        return handlers

    def _unary(
        self,
        operation: str,
        request_type: Any,  # noqa: ANN401  (protoc's)
        response_type: Callable[[], Any],
    ) -> Callable[[AsyncIterator[bytes], Context], Any]:
        method = f"/{SERVICE.full_name}/{operation}"

        async def serve(messages: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401
            if self._dropped:
                self._observer.answered(ServiceUnavailable)
                await context.abort(grpc.StatusCode.UNAVAILABLE, DROPPED)
            call = self._call(context)
            if self._service.door_is_closed:
                self._service.count_refusal()
                call.fail(router_full())
            elif not self._authentication.is_required or self._admit(method, context, call):
                await self._receive(operation, request_type, messages, context, call)
            try:
                return await _response(await call.answer, response_type)
            except ModelError as error:
                await abort(context, error)

        return serve

    async def _receive(
        self,
        operation: str,
        request_type: Any,  # noqa: ANN401  (protoc's)
        messages: AsyncIterator[bytes],
        context: Context,
        call: UnaryCall,
    ) -> None:
        """Read the message of a call that was admitted, and run it."""
        try:
            raw = await self._gate.message(messages, context)
            if call.signed is not None:
                call.signed.check_message(raw)
            if len(raw) > LARGE_BYTES:
                decode = partial(_document, request_type, raw)
                self._service.execute_large(operation, len(raw), decode, call)
                return
            body = _document(request_type, raw)
        except ModelError as error:
            if isinstance(error, InvalidSignature):
                self._log_refusal(operation, context, call, error)
            call.operation = operation
            call.fail(error)
            return
        self._service.execute(operation, body, call)

    def _admit(self, method: str, context: Context, call: UnaryCall) -> bool:
        """Return whether the call's message is wanted; if not, the call is answered."""
        try:
            metadata = context.invocation_metadata() or ()
            call.signed = self._authentication.check_grpc(method, metadata)
            call.user = self._authentication.user_of(call.signed.key_id)
        except ModelError as error:
            self._log_refusal(method, context, call, error)
            call.fail(error)
            return False
        return True

    def _log_refusal(self, what: str, context: Context, call: UnaryCall, error: ModelError) -> None:
        self._authentication.refusal_log.write(what, context.peer(), call.request_id, error)

    def _call(self, context: Context) -> UnaryCall:
        given = ""
        metadata = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == REQUEST_ID_KEY:
                given = value
        return UnaryCall(
            self._observer,
            request_id_of(given.strip().encode()),
            self._clock(),
            self._deadline(context.time_remaining()),
            asyncio.get_running_loop().create_future(),
            metadata,
            network_of_peer(context.peer()),
        )

    def _deadline(self, seconds: float | None) -> float:
        """Return the deadline of a call whose client waits so long; None = it did not say."""
        if seconds is None:
            return self._clock() + self._timeout_seconds
        return self._clock() + min(seconds - ANSWER_MARGIN_SECONDS, REQUEST_SECONDS_MAX)

    async def _pipeline(self, requests: AsyncIterator[bytes], context: Context) -> None:
        method, metadata = f"/{SERVICE.full_name}/Pipeline", context.invocation_metadata() or ()
        opened = StreamPass(self._authentication, method, metadata, context.peer())
        refusal = opened.refusal()
        if refusal is not None:
            await abort(context, refusal)
        pipeline = Pipeline(
            self._service,
            self._observer,
            self._clock,
            self._deadline,
            opened,
            message_bytes_max=message_bytes_max(metadata),
            network=network_of_peer(context.peer()),
        )
        self._pipelines.add(pipeline)
        old = None
        if self._stream_seconds_max:
            loop = asyncio.get_running_loop()
            old = loop.call_later(self._stream_seconds_max, pipeline.finish)
        try:
            await pipeline.run(requests, context)
        finally:
            if old is not None:
                old.cancel()
            self._pipelines.discard(pipeline)

    def sweep(self) -> None:
        """End the streams that nobody uses, reads, or may use any more. Call it twice a second."""
        unread = Shares(UNREAD_BYTES_PER_NETWORK_MAX, UNREAD_BYTES_ALL_MAX)
        for pipeline in sorted(self._pipelines, key=lambda each: each.unread_bytes):
            pipeline.finish_if_useless()
            if pipeline.unread_bytes and not unread.take(pipeline.network, pipeline.unread_bytes):
                pipeline.give_up()


def _document(request_type: Any, raw: bytes) -> object:  # noqa: ANN401  (protoc's)
    return to_document(message_of(request_type, raw))


async def _response(body: bytes, response_type: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return an answer as its message; a large one is made beside the loop."""
    if len(body) <= LARGE_BYTES:
        return _message(body, response_type)
    return await asyncio.to_thread(_message, body, response_type)


def _message(body: bytes, response_type: Callable[[], Any]) -> Any:  # noqa: ANN401
    response = response_type()
    to_message(orjson.loads(body), response)
    return response


def _age_options(seconds: int) -> tuple[tuple[str, int], ...]:
    """Let a connection so old, give or take a tenth, take no more calls; 0 is never."""
    if not seconds:
        return ()
    return (
        ("grpc.max_connection_age_ms", seconds * 1_000),  # gRPC spreads it by a tenth
        ("grpc.max_connection_age_grace_ms", int(REQUEST_SECONDS_MAX * 1_000)),
    )


def _credentials(certificates: CertificateFiles) -> grpc.ServerCredentials:
    return renewed_credentials(
        certificates,
        lambda shown: grpc.ssl_server_certificate_configuration([(shown.key, shown.chain)]),
        clients_show_certificates=False,
    )
