"""The Python client of Quorate, over gRPC. Start with `Client`.

What is deliberately absent: a synchronous client (boto3 works, over HTTP) and any knowledge of
partitions: routers know where keys live.
"""

from __future__ import annotations

# ruff: noqa: E402
from quorate.grpc_settings import choose_poller, leave_forks_alone

choose_poller()
leave_forks_alone()

from quorate.client.answers import BatchGot, BatchWritten, Delete, Item, Page, Put, Written
from quorate.client.channels import CertificateAuthorityRefused
from quorate.client.client import Client
from quorate.client.credentials import Credentials
from quorate.client.errors import (
    ConditionalCheckFailed,
    DeadlineExceeded,
    Forked,
    OutcomeUnknown,
    QuorateError,
    RequestRefused,
    ResourceInUse,
    ResourceNotFound,
    Throttled,
    Unreachable,
)
from quorate.values import ValueRefused

__all__ = [
    "BatchGot",
    "BatchWritten",
    "CertificateAuthorityRefused",
    "Client",
    "ConditionalCheckFailed",
    "Credentials",
    "DeadlineExceeded",
    "Delete",
    "Forked",
    "Item",
    "OutcomeUnknown",
    "Page",
    "Put",
    "QuorateError",
    "RequestRefused",
    "ResourceInUse",
    "ResourceNotFound",
    "Throttled",
    "Unreachable",
    "ValueRefused",
    "Written",
]
