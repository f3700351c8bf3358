"""How the processes of a cluster talk over gRPC: a node's server, and the channels to it."""

from __future__ import annotations

from typing import Final

import grpc.aio

MESSAGE_BYTES_MAX: Final = 32 << 20
"""Largest message between processes of the cluster. Ours."""

RECEIVER_KEY: Final = "x-quorate-receiver"
"""Metadata of a stream: the id of the node that it is meant for. One that takes another's place may
have its address, too, and must not answer for it."""

SERVER_OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Two processes on one port would both "succeed" and share the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 256),
    # Peers and routers ping; more often than this they would be sent away.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
)

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # The default backoff grows to 120 s: a node that came back would stay cut off for minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # The default is half a minute: a container that starts again has another address at once.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A connection for each use: a large snapshot must not delay a heartbeat.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """Return a channel to a node; the caller closes it."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
