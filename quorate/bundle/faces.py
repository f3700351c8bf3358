"""What processes tell at their admin faces: all are asked at once, none is waited for long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quorate.local.admin_http import AdminUnreachable, get

PAGES: Final = (
    ("/health", "health.txt"),
    ("/ready", "ready.txt"),
    ("/status", "status.json"),
    ("/metrics", "metrics.txt"),
)
"""Paths, and how their parts are called. Nodes have no /status."""

ASK_SECONDS: Final = 5.0
"""Longest wait for one answer. Ours: a router's /status waits for its nodes."""

FACES_MAX: Final = 200
"""Most processes that are asked. Ours: each has a thread meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one process told: page by part, and a sentence if it stopped answering."""

    pages: Mapping[str, bytes]
    silent: str = ""


class Asking:
    """Asks processes, by name, while others do something else."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """Begin to ask; `addresses` are host:port by the process's name."""
        self._addresses = dict(sorted(addresses.items())[:FACES_MAX])
        self._left_out = len(addresses) - len(self._addresses)
        self._answers: queue.SimpleQueue[tuple[str, Told]] = queue.SimpleQueue()
        for name, address in self._addresses.items():
            # A daemon: one that hangs does not keep the command from ending.
            threading.Thread(target=self._ask, args=(name, address), daemon=True).start()

    def _ask(self, name: str, address: str) -> None:
        pages: dict[str, bytes] = {}
        silent = ""
        for path, part in PAGES:
            try:
                code, body = get(address, path, timeout_seconds=ASK_SECONDS)
            except AdminUnreachable as error:
                silent = str(error.__cause__ or error)
                break
            if code != 404:
                # What it says is what counts, with the code if that is not 200.
                pages[part] = body if code == 200 else f"HTTP {code}\n".encode() + body
        self._answers.put((name, Told(pages=pages, silent=silent)))

    def gather(self, deadline: float) -> tuple[dict[str, Told], list[str]]:
        """Return what was told by the deadline, in order of names, and who is missing."""
        told: dict[str, Told] = {}
        while len(told) < len(self._addresses):
            try:
                name, answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            told[name] = answer
        missing = [
            f"{name} does not answer at http://{address}: {told[name].silent}"
            for name, address in self._addresses.items()
            if name in told and told[name].silent
        ]
        missing += [
            f"{name} has not answered at http://{address} in time"
            for name, address in self._addresses.items()
            if name not in told
        ]
        if self._left_out:
            missing.append(f"{self._left_out} more processes were not asked: {FACES_MAX} at most")
        return dict(sorted(told.items())), missing
