"""The table of scenarios: what each is, and which tests show it.

A test cites a scenario by its id, and a bug of another implementation as `project #number`, in its
docstring. `python -m tests.raft.scenarios` writes docs/SCENARIOS.md anew from that.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "SCENARIOS.md"

SCENARIOS: Final = {
    "S01": "a single voter elects itself and commits alone, but only after its own fsync",
    "S02": "one vote a term; the same candidate is granted it again",
    "S03": "no vote for a candidate with an older log",
    "S04": "candidates and leaders give way to a higher term; terms never go down",
    "S05": "messages of older terms are refused, and the sender is told the newer term",
    "S06": "election timeouts are random, and drawn anew each time",
    "S07": "split votes resolve; a quorum of refusals ends a candidacy",
    "S08": "a new leader begins with an empty entry and counts no older term's entries",
    "S10": "pre-vote: an isolated node raises no term and disturbs nobody on its return",
    "S12": "a leader that hears no quorum steps down and falls silent",
    "S18": "a removed server that keeps campaigning disturbs nobody",
    "S21": "followers of every kind of divergence are brought to the leader's log, quickly",
    "S22": "late and reordered appends truncate nothing that was acknowledged",
    "S23": "a conflict truncates from its first index, never below the commit index",
    "S24": "an append from below the commit index is answered with it",
    "S25": "a follower commits no further than what this message matches",
    "S26": "commitment counts matches of voters, for entries of the leader's own term",
    "S29": "the window in flight is bounded by count and bytes, and recovers when lost",
    "S30": "an unreachable follower is probed, and replicates again without new proposals",
    "S32": "a backlog is paged by bytes; an oversize entry goes alone",
    "S33": "too many uncommitted bytes: proposals are refused, repairs pass",
    "S35": "a hung follower stops nobody else",
    "S38": "replication runs beside the leader's fsync, and may commit before it",
    "S40": "term and vote are durable before anything that promises them leaves",
    "S41": "an append is acknowledged only once its entries are durable",
    "S43": "all nodes restart at once and nothing acknowledged is lost",
    "S46": "a commit index alone is never fsynced, and an old one does no harm",
    "S47": "a restart replays from the applied index, each entry with effect once",
    "S50": "an error of the log's fsync ends the process; it catches up after its restart",
    "S56": "a second process on a data directory is refused",
    "S57": "slow disks make larger batches and no elections; a hanging one loses the lead",
    "S58": "a follower behind the log gets a snapshot, then entries",
    "S59": "a snapshot older than the commit index is answered with it",
    "S61": "an installation replaces everything or nothing, whenever it crashes",
    "S65": "an interrupted snapshot is sent anew; damage is noticed before it is installed",
    "S66": "a snapshot on its way delays nobody else",
    "S68": "the log is cut below what is durably applied, and keeps a tail",
    "S71": "a learner is added, catches up and is promoted; before that it never counts",
    "S72": "a voter that does not know that it is one grants votes",
    "S73": "one change of members at a time; a second one is refused with its reason",
    "S75": "joint consensus: majorities of both halves, for everything",
    "S78": "a removed leader commits its removal without itself, then steps down",
    "S83": "a read waits for a commit of the leader's own term",
    "S84": "a read is confirmed by a quorum after it was asked for, and served once applied",
    "S89": "leadership is handed to followers that can take it, or not at all",
    "S91": "hundreds of groups: a node's death, its return, and rest, without a storm",
    "S94": "one fsync a turn for all groups",
    "S96": "random schedules and faults, checked after every step; a seed replays",
}
"""By id, in the order of a Raft implementer's check list; ids that are not there are not ours."""

_SCENARIO: Final = re.compile(r"\bS\d\d\b")
_BUG: Final = re.compile(
    r"\b(?:async-raft|ccf|cockroach|dragonboat|etcd|hashicorp|openraft|redpanda|tikv) #\d+"
)

HEAD: Final = """\
# Scenarios

What a consensus core has to survive, and which tests show that ours does. A test cites a scenario
by its id in its docstring. `python -m tests.raft.scenarios` writes this file; a test compares it
with the tests that there are.

Beside them, `tests/raft/exploration.py` goes through all interleavings of small groups,
`tests/raft/simulation.py` through random ones of larger groups, and `tests/sim` runs whole clusters
with routers and clients. `tests/raft/transcripts` shows what replicas say to each other.

"""


class Citation(NamedTuple):
    """A test that cites something: its file below tests/ and its name; no name: the whole file."""

    path: str
    name: str
    docstring: str

    def __str__(self) -> str:
        """Return it as the document shows it."""
        return f"`{self.path}` {self.name.removeprefix('test_')}".rstrip()


def citations() -> Iterator[Citation]:
    """Yield every test of the repository that has a docstring, then its file, by path."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = str(path.relative_to(ROOT / "tests"))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield Citation(place, node.name, ast.get_docstring(node) or "")
        yield Citation(place, "", ast.get_docstring(tree) or "")


def cited(pattern: re.Pattern[str]) -> dict[str, list[Citation]]:
    """Return the tests by what matches in their docstrings, in order of what matches.

    A file as a whole counts where none of its tests cites the same.
    """
    found: dict[str, list[Citation]] = {}
    for citation in citations():
        for match in dict.fromkeys(pattern.findall(citation.docstring)):
            known = found.setdefault(match, [])
            if citation.name or all(citation.path != other.path for other in known):
                known.append(citation)
    return {key: found[key] for key in sorted(found)}


def scenarios_cited() -> dict[str, list[Citation]]:
    """Return the tests by scenario."""
    return cited(_SCENARIO)


def document() -> str:
    """Return the text of docs/SCENARIOS.md."""
    tests = scenarios_cited()
    lines = ["| id | what | tests |", "|---|---|---|"]
    for scenario, what in SCENARIOS.items():
        lines.append(f"| {scenario} | {what} | {'<br>'.join(map(str, tests[scenario]))} |")
    lines += ["", "## Bugs of others", "", "| where | test |", "|---|---|"]
    for bug, found in cited(_BUG).items():
        lines.append(f"| {bug} | {'<br>'.join(map(str, found))} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
