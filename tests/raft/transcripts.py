"""Conversations of a group as text: a line that begins with `>` is a command, what follows is said.

The files in tests/raft/transcripts are living documentation: read them to see what replicas say to
each other. `python -m tests.raft.transcripts` writes what they say now into them; look at the diff.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from raft.configuration import ConfigurationChange
from raft.types import (
    Configuration,
    Entry,
    EntryKind,
    Message,
    MessageType,
    NotLeader,
    ProposalRefused,
)
from tests.raft.cluster import Cluster

FOLDER: Final = Path(__file__).with_name("transcripts")

COMMAND: Final = "> "


def transcripts() -> list[Path]:
    """Return all files."""
    return sorted(FOLDER.glob("*.txt"))


def replay(text: str) -> str:
    """Return a transcript with what is said now."""
    conversation = Conversation()
    lines: list[str] = []
    for line in kept(text):
        lines.append(line)
        if line.startswith(COMMAND):
            lines += conversation.do(line.removeprefix(COMMAND))
    return "\n".join(lines) + "\n"


def kept(text: str) -> Iterator[str]:
    """Yield the lines that people write: comments, commands, and the blank ones before them."""
    for line in text.splitlines():
        if not line or line.startswith((COMMAND, "#")):
            yield line


class Conversation:
    """A cluster that does what it is told, and tells what its nodes say."""

    def __init__(self) -> None:
        self.cluster = Cluster(())
        self.told: dict[int, str] = {}  # the state of each node as it was last shown

    def do(self, line: str) -> list[str]:
        """Carry out one command; return what was said, and which nodes are in another state."""
        word, *arguments = line.split()
        self.cluster.log_of_messages.clear()
        try:
            COMMANDS[word](self, *arguments)
        except (NotLeader, ProposalRefused) as refusal:
            return [f"refused: {refusal}"]
        said = [say(message) for message in self.cluster.log_of_messages]
        states = {node_id: self.state(node_id) for node_id in self.cluster.nodes}
        changed = [text for node_id, text in states.items() if self.told.get(node_id) != text]
        self.told = states
        return said + changed

    def state(self, node_id: int) -> str:
        """Return one node's state in a line."""
        node = self.cluster.nodes[node_id]
        if not node.alive:
            return f"{node_id} is dead"
        core = node.core
        members = describe(core.configuration)
        log = " ".join([show(core.log.entries(i, i + 1, 1)[0]) for i in range_of(node_id, self)])
        reads = "".join([f" read {read} at {index}" for read, index in node.reads.items()])
        return (
            f"{node_id} is {core.role.value} of term {core.term}, commit {core.commit}, "
            f"log [{log}], {members}{reads}"
        )

    # Commands

    def begin(self, *arguments: str) -> None:
        """`begin 1,2,3 learners=4 strangers=5`: start a cluster."""
        voters, *others = arguments
        named = dict([other.split("=") for other in others])
        self.cluster = Cluster(
            ids(voters),
            learners=ids(named.get("learners", "")),
            strangers=ids(named.get("strangers", "")),
            cache_bytes_max=0,
        )

    def campaign(self, node_id: str) -> None:
        """`campaign 1`."""
        self.cluster.core(int(node_id)).campaign()
        self.cluster.settle()

    def propose(self, node_id: str, *words: str) -> None:
        """`propose 1 a b`: an entry a word."""
        self.cluster.propose(int(node_id), *[word.encode() for word in words])

    def tick(self, count: str) -> None:
        """`tick 4`: for everybody."""
        self.cluster.tick(int(count))

    def cut(self, *node_ids: str) -> None:
        """`cut 1 2`: nothing gets to or from them; `cut` mends everything."""
        self.cluster.cut_off = [int(node_id) for node_id in node_ids]

    def crash(self, node_id: str) -> None:
        """`crash 1`."""
        self.cluster.nodes[int(node_id)].crash()

    def restart(self, node_id: str) -> None:
        """`restart 1`: from its disk."""
        self.cluster.nodes[int(node_id)].start()

    def change(self, node_id: str, voters: str, learners: str = "") -> None:
        """`change 1 1,2,4 3`: ask node 1 for these voters and learners."""
        change = ConfigurationChange(ids(voters), ids(learners))
        self.cluster.core(int(node_id)).propose_configuration(change)
        self.cluster.settle()

    def transfer(self, node_id: str, to: str) -> None:
        """`transfer 1 3`."""
        self.cluster.core(int(node_id)).transfer_leader(int(to))
        self.cluster.settle()

    def read(self, node_id: str) -> None:
        """`read 1`: a linearizable one."""
        self.cluster.core(int(node_id)).read_index()
        self.cluster.settle()

    def compact(self, node_id: str) -> None:
        """`compact 1`: checkpoint and cut the log."""
        self.cluster.nodes[int(node_id)].cut()


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "begin": Conversation.begin,
    "campaign": Conversation.campaign,
    "change": Conversation.change,
    "compact": Conversation.compact,
    "crash": Conversation.crash,
    "cut": Conversation.cut,
    "propose": Conversation.propose,
    "read": Conversation.read,
    "restart": Conversation.restart,
    "tick": Conversation.tick,
    "transfer": Conversation.transfer,
}


def ids(text: str) -> tuple[int, ...]:
    """Read `1,2,3`."""
    return tuple([int(part) for part in text.split(",") if part])


def range_of(node_id: int, conversation: Conversation) -> range:
    """Return the indexes that a node's log still has."""
    log = conversation.cluster.core(node_id).log
    return range(log.first_index(), log.last_index + 1)


def show(entry: Entry) -> str:
    """Return index/term and what is in it."""
    if entry.kind == EntryKind.COMMAND:
        content = entry.payload.decode()
    elif entry.kind == EntryKind.NOOP:
        content = "-"
    else:
        content = f"<{describe(Configuration.decode(entry.payload))}>"
    return f"{entry.index}/{entry.term}:{content}"


def describe(configuration: Configuration) -> str:
    """Return who takes part."""
    parts = [f"voters {','.join(map(str, configuration.voters)) or 'unknown'}"]
    if configuration.joint:
        parts.append(f"and {','.join(map(str, configuration.voters_outgoing))}")
    learners = configuration.learners + configuration.learners_next
    if learners:
        parts.append(f"learners {','.join(map(str, learners))}")
    return " ".join(parts)


def say(message: Message) -> str:
    """Return a message in a line."""
    kind = MessageType(message.type)
    words = [f"  {message.sender}->{message.to} {kind.name} term {message.term}"]
    if kind is MessageType.APPEND:
        words.append(f"after {message.index}/{message.log_term}")
        words.append(f"[{' '.join(map(show, message.entries))}] commit {message.commit}")
    elif kind in (MessageType.PRE_VOTE, MessageType.VOTE):
        words.append(f"log ends at {message.index}/{message.log_term}")
    elif kind is MessageType.APPEND_REPLY and message.reject:
        words.append(f"not at {message.index}, perhaps at {message.hint}/{message.hint_term}")
    elif kind is MessageType.APPEND_REPLY:
        words.append(f"has {message.index}")
    elif kind is MessageType.HEARTBEAT:
        words.append(f"commit {message.commit} round {message.sequence}")
    elif kind is MessageType.HEARTBEAT_REPLY:
        words.append(f"round {message.sequence}")
    elif message.snapshot is not None:
        words.append(f"up to {message.snapshot.index}/{message.snapshot.term}")
    elif kind is not MessageType.TIMEOUT_NOW:
        words.append("no" if message.reject else "yes")
    return " ".join(words)


if __name__ == "__main__":
    for path in transcripts():
        path.write_text(replay(path.read_text(encoding="utf-8")), encoding="utf-8")
