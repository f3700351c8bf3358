"""Tells, without parsing it, that what came is one whole request, to be answered as most are.

For refusals only: most of what a request costs is its parsing, and a server with too much to do
must not do that for what it refuses. Whoever is in doubt says no, and the parser decides.
"""

from __future__ import annotations

import re
from typing import Final

REQUEST_LINE: Final = b"POST / HTTP/1.1\r\n"
END_OF_HEADER: Final = b"\r\n\r\n"

TELLING_FIELDS: Final = re.compile(
    rb"\n(?=[cteuo])"  # most fields need no closer look
    rb"(content-length|transfer-encoding|connection|upgrade|expect|origin"
    rb"|content-type(?![ \t]*:[ \t]*application/x-amz-json-1\.0[ \t]*(?:[;\r]|\Z)))"
    rb"[ \t]*:[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
"""The fields that say how long the request is, and how its answer must differ from others': so does
a media type that is not the usual one."""


def is_whole_request(data: bytes, header_bytes_max: int) -> bool:
    """Return whether `data` is a POST to / with all of its body, and nothing else.

    No such request asks for the connection's end, for another protocol or media type, or by a
    page's script.
    """
    if not data.startswith(REQUEST_LINE):
        return False
    header_end = data.find(END_OF_HEADER, 0, header_bytes_max)
    if header_end < 0:
        return False
    fields = TELLING_FIELDS.findall(data, 0, header_end)
    if len(fields) != 1:
        return False
    name: bytes
    length: bytes
    ((name, length),) = fields
    body_bytes = len(data) - header_end - len(END_OF_HEADER)
    return name.lower() == b"content-length" and length.rstrip(b" \t") == b"%d" % body_bytes
