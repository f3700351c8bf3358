"""How the router's gRPC channels to nodes are set up."""

from __future__ import annotations

from typing import Final

import grpc.aio

MESSAGE_BYTES_MAX: Final = 32 << 20
"""Largest message between processes of the cluster. Ours; the node's server has the same."""

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # The default backoff grows to 120 s: a node that came back would stay unknown for minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A machine that vanished sends no reset; this notices within the sum of the two.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Channels of their own connections: a large batch must not delay a small question.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """Return a channel to a node; the caller closes it."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
