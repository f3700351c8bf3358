#!/usr/bin/env python3
"""Exit with 0 if the container's process answers PATH (such as /health) with 200, else with 1.

It asks the admin face that the first process was told to listen on, so that nodes and routers
share one image and one check.
"""

from __future__ import annotations

import http.client
import re
import sys
from pathlib import Path
from typing import Final

TIMEOUT_SECONDS: Final = 2.0
"""Less than the time that a container engine gives a check. Ours."""


EVERY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 (not listened on)
"""Who listens on these, of one family or both, answers on 127.0.0.1."""


def admin_address(command_line: str) -> tuple[str, int]:
    """Return where `--admin HOST:PORT` or `--admin=HOST:PORT` answers. Raises ValueError.

    The command line is as the kernel shows it, with NUL after each argument.
    """
    found = re.search(r"\0--admin[=\0]\[?([^\0]*?)\]?:(\d+)\0", command_line)
    if found is None:
        raise ValueError("the process has no --admin HOST:PORT")
    host = found[1]
    return "127.0.0.1" if host in EVERY_ADDRESS else host, int(found[2])


def answer(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and body of GET `path`. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace").strip()
    finally:
        connection.close()


def main() -> int:
    """Check; print what was answered, for the engine's log of checks."""
    command_line = Path("/proc/1/cmdline").read_text(encoding="utf-8")
    try:
        status, body = answer(*admin_address(command_line), sys.argv[1])
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{status} {body}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
