"""DescribeLimits, DescribeEndpoints: answered at once, from nothing."""

from __future__ import annotations

from typing import Final

from model.requests.account import endpoints_response, limits_response, parse_nothing
from router.call import Call
from router.service import Service

ADDRESS_UNKNOWN: Final = "localhost"
"""The address of a router that was reached in a way that does not tell. Ours."""


def describe_limits(service: Service, body: object, call: Call) -> None:  # noqa: ARG001
    """Serve DescribeLimits."""
    parse_nothing(body)
    call.succeed(limits_response())


def describe_endpoints(service: Service, body: object, call: Call) -> None:  # noqa: ARG001
    """Serve DescribeEndpoints."""
    parse_nothing(body)
    call.succeed(endpoints_response(call.authority or ADDRESS_UNKNOWN))
