"""Quorate: DynamoDB's write path, self-hosted, fsynced by a quorum of three availability zones.

What users import. `Client` and the exceptions are loaded on first use, so that the `quorate`
command does not pay for gRPC when it only parses options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quorate.client import (
        Client,
        ConditionalCheckFailed,
        Credentials,
        DeadlineExceeded,
        Forked,
        OutcomeUnknown,
        Page,
        QuorateError,
        RequestRefused,
        ResourceInUse,
        ResourceNotFound,
        Throttled,
        Unreachable,
        Written,
    )

__all__ = [
    "Client",
    "ConditionalCheckFailed",
    "Credentials",
    "DeadlineExceeded",
    "Forked",
    "OutcomeUnknown",
    "Page",
    "QuorateError",
    "RequestRefused",
    "ResourceInUse",
    "ResourceNotFound",
    "Throttled",
    "Unreachable",
    "Written",
    "__version__",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the client when one of its names is first asked for."""
    if name in __all__:
        import quorate.client  # noqa: PLC0415 - on first use; see the module's docstring

        return getattr(quorate.client, name)
    raise AttributeError(f"module 'quorate' has no attribute {name!r}")
