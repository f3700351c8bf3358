"""How a body is framed, where the parser has to be told: it knows two things less than HTTP."""

from __future__ import annotations

import re
from typing import Final

from quorate.http.whole_request import END_OF_HEADER

LENGTH_DIGITS_MAX: Final = 20
"""Longest Content-Length that is looked at. Source: the parser takes numbers of 64 bits. It takes
any number of zeros before them, too, which Python does not."""

TAB_BEHIND_CODING: Final = re.compile(
    rb"(\ntransfer-encoding:[^\r\n]*?)[ \t]*\t[ \t]*(?=\r|\Z)", re.IGNORECASE
)


def framing_header(length: bytes | None, coding: bytes | None) -> bytes:
    """Return a header that says of a body how it is framed, and nothing else; empty: no body.

    For what follows an offered upgrade: the parser takes it for the other protocol.
    """
    if coding is not None:
        return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    if length is not None and int(length):
        return b"POST / HTTP/1.1\r\nContent-Length: %b\r\n\r\n" % length
    return b""


def without_tab_behind_coding(data: bytes) -> bytes | None:
    """Return a request that begins with `data`, without a tab behind its transfer coding.

    To HTTP that is a blank, to the parser a part of the coding's name. None: there is none.
    """
    header, end, rest = data.partition(END_OF_HEADER)
    plain, count = TAB_BEHIND_CODING.subn(rb"\1", header)
    return plain + end + rest if count and end else None
