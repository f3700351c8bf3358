"""Request targets that are whole URLs, as proxies send them: the host and the path they stand for.

Every server must take this form, and the host from it: RFC 9112, section 3.2.2.
"""

from __future__ import annotations

import re
from typing import Final

ABSOLUTE: Final = re.compile(rb"(https?)://([^/?#@]+)([/?#].*)?", re.IGNORECASE | re.DOTALL)
"""Scheme, authority and the rest. Nobody's name is in the authority: RFC 9110, section 4.2.4."""

DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class BadTarget(Exception):
    """The target is neither a path nor a URL of HTTP's."""


def host_and_path(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Return the host and the path, with its query, of a target that is a whole URL.

    `host` is the Host header's, which stays as it was written where it names the same place. A port
    that is understood is left out, as it is by whoever signs for that host. Raises BadTarget.
    """
    match = ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadTarget
    scheme, authority, rest = match.groups(b"")
    port = DEFAULT_PORTS[scheme.lower()]
    host, authority = host.removesuffix(port), authority.removesuffix(port)
    if host.lower() != authority.lower():
        host = authority
    return host, rest if rest.startswith(b"/") else b"/" + rest
