"""How the subcommands that talk to a cluster do it: one client, errors turned into exit codes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from quorate.cli.exits import Exit, fail
from quorate.cli.settings import GRPC_PORT_DEFAULT

if TYPE_CHECKING:
    from quorate.client import Client

CONNECT_TIMEOUT_SECONDS: Final = 3.0
"""Longest wait for a router to answer at all: a person is waiting. Ours."""

T = TypeVar("T")


def endpoint_or_default(endpoint: str | None) -> str:
    """Return the endpoint given, or the local cluster's."""
    if endpoint:
        return endpoint
    return f"127.0.0.1:{os.environ.get('QUORATE_GRPC_PORT') or GRPC_PORT_DEFAULT}"


def run_with_client(
    endpoint: str | None, work: Callable[[Client], Awaitable[T]], *, raw: bool = False
) -> T:
    """Return what `work` returns; a failed call ends the command with a sentence and its code."""
    # gRPC's own lines about broken connections: our sentence says it once.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from quorate.client import (
        CertificateAuthorityRefused,
        Client,
        OutcomeUnknown,
        QuorateError,
        ResourceNotFound,
        Unreachable,
        ValueRefused,
    )

    async def connected() -> T:
        async with Client(endpoint_or_default(endpoint), raw=raw) as client:
            await client.wait_connected(CONNECT_TIMEOUT_SECONDS)
            return await work(client)

    try:
        return asyncio.run(connected())
    except Unreachable as error:
        fail(str(error), Exit.UNREACHABLE)
    except OutcomeUnknown as error:
        fail(str(error), Exit.UNKNOWN)
    except ResourceNotFound as error:
        fail(f"{error.code}: {error}", Exit.NOT_FOUND)
    except QuorateError as error:
        fail(f"{error.code}: {error}")
    except (CertificateAuthorityRefused, ValueRefused) as error:
        fail(str(error), Exit.REFUSED)


def run_to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Return what an operator's or an admin's call returns; trouble ends the command as above."""
    from quorate.client import (
        CertificateAuthorityRefused,
        OutcomeUnknown,
        QuorateError,
        ResourceNotFound,
        Unreachable,
        ValueRefused,
    )

    try:
        return asyncio.run(work)
    except (CertificateAuthorityRefused, ValueRefused) as error:
        fail(str(error), Exit.REFUSED)
    except Unreachable as error:
        fail(str(error), Exit.UNREACHABLE)
    except OutcomeUnknown as error:
        fail(str(error), Exit.UNKNOWN)
    except ResourceNotFound as error:
        fail(str(error), Exit.NOT_FOUND)
    except QuorateError as error:
        fail(f"{error.code}: {error}")
