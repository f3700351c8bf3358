"""What processes of a local cluster have logged, on the clock that benches measure with."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from quorate.local.background import BackgroundCluster

LINE = re.compile(r"(?P<at>\S+Z) (?P<node>\S+) info (?P<name>\w+)(?P<facts>( \w+=\S*)*)")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a process's log; `at` is on the monotonic clock, seconds."""

    at: float
    node: str
    name: str
    facts: Mapping[str, str]


def read_events(cluster: BackgroundCluster, since: float) -> list[Event]:
    """Return what processes have logged since a monotonic time, in order."""
    to_monotonic = time.monotonic() - time.time()
    events = []
    for log in (cluster.data_dir / "run").glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            found = LINE.match(line)
            if found is not None:
                facts = dict(fact.split("=", 1) for fact in found["facts"].split())
                at = datetime.fromisoformat(found["at"]).timestamp() + to_monotonic
                if at >= since:
                    events.append(Event(at, found["node"], found["name"], facts))
    return sorted(events, key=lambda event: event.at)
