"""What a replica does with what its leader sends: entries, heartbeats, snapshots, the baton.

`on_leader_message` lets in what is of the current term and from the leader of that term; the
other functions are given nothing else.
"""

from typing import TYPE_CHECKING, Final

from raft.configuration import decode_entry
from raft.election import WANTED_BY_LEADER, become_candidate, promotable, reset_timer
from raft.types import (
    NO_NODE,
    BadConfiguration,
    Configuration,
    EntryKind,
    Message,
    MessageType,
    Role,
    heartbeat_message,
)

if TYPE_CHECKING:
    from raft.state import RaftState

# As in `raft.core`.
APPEND: Final = MessageType.APPEND
HEARTBEAT: Final = MessageType.HEARTBEAT
HEARTBEAT_REPLY: Final = MessageType.HEARTBEAT_REPLY
SNAPSHOT: Final = MessageType.SNAPSHOT


def on_leader_message(core: "RaftState", message: Message) -> None:
    """Take a message that only the leader of our term can have sent.

    A term has one leader at most, also after its stream broke or it stepped down: whoever else
    claims to be it lies, or the one before has lied. Source: Raft thesis, figure 3.2.
    """
    sender = message.sender
    if core.leader_of_term not in (NO_NODE, sender):
        core.second_leader = sender
        core.second_leaders_refused += 1
        core.note("ignored_second_leader", sender)
        return
    if core.role is not Role.FOLLOWER:
        core.become_follower(core.term, sender)
    elif core.leader == NO_NODE:
        core.leader = core.leader_of_term = sender
        core.quick_campaigns_left = 0
        core.dirty = True
        reset_timer(core)
    else:
        core.hear_leader()
    message_type = message.type
    if message_type == APPEND:
        on_append(core, message)
    elif message_type == HEARTBEAT:
        on_heartbeat(core, message)
    elif message_type == SNAPSHOT:
        on_snapshot(core, message)
    else:
        on_timeout_now(core, message)


def on_append(core: "RaftState", message: Message) -> None:
    """Take entries that follow on from this log, or say where the logs may agree.

    Source: Raft thesis, section 3.5. Entries that are already here are never truncated, however
    late or out of order a message comes.
    """
    core.joined = message.sequence
    core.commit_heard = max(core.commit_heard, message.commit)
    if core.installing is not None:
        core.note("ignored_installing", message.sender)
        return
    log = core.log
    if message.index < core.commit:
        core.acknowledge(core.commit, message.sender)
        return
    if not log.matches(message.index, message.log_term):
        _reject(core, message)
        return
    configurations = _check_entries(core, message)
    if configurations is None:
        core.note("ignored_malformed", message.sender)
        return
    last_new = message.index
    for place, entry in enumerate(message.entries):
        if not log.matches(entry.index, entry.term):
            if entry.index <= log.last_index:
                core.truncate(entry.index)
            log.append(message.entries[place:] if place else message.entries)
            for index, configuration in configurations:
                if index >= entry.index:
                    core.configurations.append(index, configuration)
            core.dirty = True
            break
    if message.entries:
        last_new = message.entries[-1].index
    commit = min(message.commit, last_new)
    if commit > core.commit:
        core.commit_to(commit)
    core.acknowledge(last_new, message.sender)


def _check_entries(core: "RaftState", message: Message) -> list[tuple[int, Configuration]] | None:
    """Return the configurations among the entries, or None if a leader cannot have sent them."""
    configurations: list[tuple[int, Configuration]] = []
    index, term = message.index, message.log_term
    for entry in message.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= core.term:
            return None
        term = entry.term
        if entry.kind == EntryKind.CONFIGURATION:
            try:
                configurations.append((index, decode_entry(entry)))
            except BadConfiguration:
                return None
    return configurations


def _reject(core: "RaftState", message: Message) -> None:
    """Tell the leader the last place, of a term it may know, where the logs may still agree."""
    hint, hint_term = core.log.find_conflict(message.index, message.log_term)
    core.send_durable(
        Message(
            MessageType.APPEND_REPLY,
            core.node_id,
            message.sender,
            core.term,
            index=message.index,
            reject=True,
            hint=hint,
            hint_term=hint_term,
            sequence=core.joined,
        )
    )


def on_heartbeat(core: "RaftState", message: Message) -> None:
    """Learn the commit index and answer: the leader is heard, its read round with it.

    The leader never sends a commit index above what this replica has acknowledged to it: if it
    does, this disk has lost what was on it. That is noted, and nothing is committed.
    """
    if core.commit < message.commit and core.installing is None:
        if message.commit <= core.log.last_index:
            core.commit_to(message.commit)
        else:
            core.note("log_is_missing", message.commit)
    if not message.sequence:
        return  # news of a commit: no answer is wanted
    core.send_durable(
        heartbeat_message(
            HEARTBEAT_REPLY, core.node_id, message.sender, core.term, 0, message.sequence
        )
    )


def on_snapshot(core: "RaftState", message: Message) -> None:
    """Install a snapshot that has arrived, unless this log has it all already."""
    core.joined = message.sequence
    meta = message.snapshot
    if meta is None or not 1 <= meta.term <= core.term or not meta.configuration.voters:
        core.note("ignored_malformed", message.sender)
    elif core.installing is not None:
        core.note("ignored_installing", message.sender)
    elif meta.index <= core.commit:
        core.acknowledge(core.commit, message.sender)
    elif core.log.matches(meta.index, meta.term):
        core.commit_to(meta.index)
        core.acknowledge(meta.index, message.sender)
    else:
        core.begin_install(meta)


def on_timeout_now(core: "RaftState", message: Message) -> None:
    """Campaign at once and without a pre-vote: the leader itself asks for it."""
    if promotable(core):
        core.note("campaigns_for_transfer", message.sender)
        become_candidate(core, hint=WANTED_BY_LEADER)
    else:
        core.note("not_promotable", core.node_id)
