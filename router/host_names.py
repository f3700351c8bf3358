"""Whether a request to a router that asks for no key was meant for this machine.

A page in a browser may call the name that it came from, and whoever has that name may let it mean
127.0.0.1 from then on. Such a page reaches what listens on loopback, and says so in its Host.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from model.errors import AccessDenied

HOST: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]*)?")
"""An IPv6 address, or a name or other address, and a port. Source: RFC 3986, section 3.2.2."""

HOSTS_MAX: Final = 256
"""Most values of the Host header whose answer is remembered. Ours."""


@lru_cache(maxsize=HOSTS_MAX)
def is_of_this_machine(host: bytes) -> bool:
    """Return whether no name server decides where a Host leads: localhost, or an address.

    Browsers look up neither. Without a Host nobody is named, and no browser calls so.
    """
    if not host:
        return True
    match = HOST.fullmatch(host.decode("latin-1").lower())
    if match is None:
        return False
    name = (match[1] or match[2]).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_host(host: bytes) -> None:
    """Raise AccessDenied for a Host that leads here only because a name server says so."""
    if not is_of_this_machine(host):
        raise AccessDenied(
            "This router serves its own machine, and asks for no key: call it as localhost or by "
            f"an address, not as {host[:255].decode('ascii', 'replace')!r}, which any web page can "
            "let lead here; or make a user, with quorate user create."
        )
