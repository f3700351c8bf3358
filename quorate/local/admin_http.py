"""One GET to a router's admin endpoint, for people's commands; no proxies, no redirects."""

from __future__ import annotations

import http.client
from typing import Final

TIMEOUT_SECONDS_DEFAULT: Final = 5.0
"""Longest wait for an answer. Ours: status asks every node and gives up on hung ones before."""

BODY_BYTES_MAX: Final = 64 << 20
"""Largest answer read. Ours."""


class AdminUnreachable(Exception):
    """No router answered at this admin address; the text is one sentence."""


def get(
    address: str, path: str, *, timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT
) -> tuple[int, bytes]:
    """Return (HTTP status, body) of http://address/path; raises AdminUnreachable."""
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(BODY_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise AdminUnreachable(f"no router answers at http://{address}{path}: {reason}") from error
    finally:
        connection.close()
