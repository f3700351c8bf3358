"""Where a span belongs: W3C's trace context, as text from clients, as bytes between processes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

CONTEXT_BYTES: Final = 25
"""Trace id (16), span id (8), flags (1)."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""Source: W3C Trace Context, section 3.2."""

SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The span that another one is a child of, perhaps in another process."""

    trace_id: int
    span_id: int
    flags: int

    def encode(self) -> bytes:
        """Return what travels between processes."""
        return (
            self.trace_id.to_bytes(16, "big")
            + self.span_id.to_bytes(8, "big")
            + bytes((self.flags,))
        )

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """Read what `encode` wrote; None if the bytes are not that."""
        if len(data) != CONTEXT_BYTES:
            return None
        return cls._valid(data[:16].hex(), data[16:24].hex(), data[24:].hex())

    @classmethod
    def parse(cls, traceparent: str) -> Self | None:
        """Read a client's header; None if it has none, or one that is not valid."""
        match = _TRACEPARENT.fullmatch(traceparent)
        return None if match is None else cls._valid(match[1], match[2], match[3])

    @classmethod
    def _valid(cls, trace: str, span: str, flags: str) -> Self | None:
        trace_id, span_id = int(trace, 16), int(span, 16)
        return cls(trace_id, span_id, int(flags, 16)) if trace_id and span_id else None
