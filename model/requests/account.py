"""DescribeLimits, DescribeEndpoints: what is not about any table."""

from __future__ import annotations

from typing import Final

import orjson

from model.limits import ENDPOINT_CACHE_MINUTES, THROUGHPUT_UNITS_MAX
from model.members import Members, check_members

NO_MEMBERS: Final = Members({})

_LIMITS: Final = (
    "AccountMaxReadCapacityUnits",
    "AccountMaxWriteCapacityUnits",
    "TableMaxReadCapacityUnits",
    "TableMaxWriteCapacityUnits",
)


def parse_nothing(body: object) -> None:
    """Check the body of an operation without members; raises SerializationFailed."""
    check_members(body, NO_MEMBERS)


def limits_response() -> bytes:
    """Return the JSON response of DescribeLimits: what a table may have is all there is."""
    return orjson.dumps(dict.fromkeys(_LIMITS, THROUGHPUT_UNITS_MAX))


def endpoints_response(address: str) -> bytes:
    """Return the JSON response of DescribeEndpoints; `address` is how this router was reached."""
    endpoint = {"Address": address, "CachePeriodInMinutes": ENDPOINT_CACHE_MINUTES}
    return orjson.dumps({"Endpoints": [endpoint]})
