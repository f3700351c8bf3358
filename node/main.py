"""The entry point of `quorate node`: what must happen before anything heavy is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.grpc_settings import allow_only_tls_1_3, choose_poller

if TYPE_CHECKING:
    from node.options import NodeOptions


def run(options: NodeOptions) -> int:
    """Run a node until SIGTERM or SIGINT; return the process's exit code (see `node.process`)."""
    choose_poller()
    allow_only_tls_1_3()
    from node.process import run_process  # noqa: PLC0415 - imports grpc; see above

    return run_process(options)
