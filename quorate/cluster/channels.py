"""How the processes of a cluster talk over gRPC: a node's server, and the channels to it.

With certificates every connection is TLS 1.3 in which both sides show who they are; see
`quorate.security.cluster_roles`. They are read anew for each connection; open ones go on.
"""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from quorate.security.cluster_certificate import ClusterCertificate, ClusterFiles
from quorate.security.cluster_roles import Role, name_of, name_of_node
from quorate.security.grpc_credentials import renewed_credentials

MESSAGE_BYTES_MAX: Final = 32 << 20
"""Largest message between processes of the cluster. Ours."""

CONNECTIONS_MAX: Final = 2_048
"""Most connections to a node, those in their handshake included. Ours."""

CONNECTIONS_PER_NETWORK_MAX: Final = 512
"""Most of them from one network. Ours: a process has a few, and a local cluster one address."""

STREAMS_MAX: Final = 256
"""Most calls of one connection at a time. Ours: a process needs a few."""

RECEIVER_KEY: Final = "x-quorate-receiver"
"""Metadata of a stream: the id of the node that it is meant for. One that takes another's place may
have its address, too, and must not answer for it."""

SERVER_OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Two processes on one port would both "succeed" and share the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
    # In their TLS handshake, or before HTTP/2's first frame, connections count, too.
    ("grpc.server_handshake_timeout_ms", 2_000),
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
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    # In spite of its name, how long one attempt may take, TLS handshake included.
    ("grpc.min_reconnect_backoff_ms", 500),
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


class Dialer:
    """Opens channels to nodes, all in the same way."""

    def __init__(self, files: ClusterFiles | None = None) -> None:
        """Without `files` nothing is encrypted, and nobody shows who he is."""
        self._files = files
        self._made_from: ClusterCertificate | None = None
        self._credentials: grpc.ChannelCredentials | None = None

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """What the next channel gets: another object once the certificates have changed."""
        if self._files is not None and self._files.current is not self._made_from:
            newest = self._made_from = self._files.current
            self._credentials = grpc.ssl_channel_credentials(
                newest.authorities, newest.key, newest.chain
            )
        return self._credentials

    def open(self, address: str, node_name: str = "") -> grpc.aio.Channel:
        """Return a channel to a node, any if no name is given; the caller closes it.

        A channel keeps its certificates when it connects anew: keep none for ever.
        """
        credentials = self.credentials
        if credentials is None or self._made_from is None:
            return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        cluster_id = self._made_from.owner.cluster_id
        if node_name:
            expected = name_of_node(node_name, cluster_id)
        else:
            expected = name_of(Role.NODE, cluster_id)
        options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", expected))
        return grpc.aio.secure_channel(address, credentials, options=options)


def server_credentials(files: ClusterFiles) -> grpc.ServerCredentials:
    """Return a node's: clients must show a certificate of the authorities that count now."""
    return renewed_credentials(
        files,
        lambda shown: grpc.ssl_server_certificate_configuration(
            [(shown.key, shown.chain)], root_certificates=shown.authorities
        ),
        clients_show_certificates=True,
    )
