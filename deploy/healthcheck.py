#!/usr/bin/env python3
"""Exit with 0 if the container's process answers PATH (/health or /ready) with 200, else with 1.

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


def admin_port(command_line: str) -> int:
    """Return the port of `--admin HOST:PORT` or `--admin=HOST:PORT`. Raises ValueError.

    The command line is as the kernel shows it, with NUL after each argument.
    """
    found = re.search(r"\0--admin[=\0][^\0]*:(\d+)\0", command_line)
    if found is None:
        raise ValueError("the process has no --admin HOST:PORT")
    return int(found[1])


def answer(port: int, path: str) -> tuple[int, str]:
    """Return status and body of GET `path` from this host. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
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
        status, body = answer(admin_port(command_line), sys.argv[1])
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{status} {body}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
