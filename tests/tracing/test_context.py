"""W3C trace context, section 3.2, and the form between processes."""

from __future__ import annotations

import pytest

from quorate.tracing.context import CONTEXT_BYTES, TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_header_is_parsed_and_travels() -> None:
    context = TraceContext.parse(f"00-{TRACE}-{SPAN}-01")

    assert context == TraceContext(int(TRACE, 16), int(SPAN, 16), 1)
    assert len(context.encode()) == CONTEXT_BYTES
    assert TraceContext.decode(context.encode()) == context


def test_header_of_a_later_version_may_have_more() -> None:
    assert TraceContext.parse(f"01-{TRACE}-{SPAN}-00-more") is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\r\nX: y",
    ],
)
def test_what_is_no_header_is_no_parent(text: str) -> None:
    assert TraceContext.parse(text) is None


@pytest.mark.parametrize("data", [b"", b"x" * 24, bytes(25), b"x" * 26])
def test_what_is_no_context_is_none(data: bytes) -> None:
    assert TraceContext.decode(data) is None
