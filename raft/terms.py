"""Messages of another term than ours: who gives way, who is told, who is not believed.

Source: Raft thesis, sections 3.3, 4.2.3 and 9.6.
"""

from typing import TYPE_CHECKING, Final

from raft.election import WANTED_BY_LEADER, lose_leader
from raft.types import NO_NODE, Message, MessageType

if TYPE_CHECKING:
    from raft.state import RaftState

REPLY_TYPES: Final = {
    MessageType.APPEND: MessageType.APPEND_REPLY,
    MessageType.HEARTBEAT: MessageType.HEARTBEAT_REPLY,
    MessageType.SNAPSHOT: MessageType.APPEND_REPLY,
    MessageType.PRE_VOTE: MessageType.PRE_VOTE_REPLY,
    MessageType.VOTE: MessageType.VOTE_REPLY,
}
"""What the sender of an older term is told ours with; the other types are answers, or orders."""

FROM_LEADER: Final = (
    MessageType.APPEND,
    MessageType.HEARTBEAT,
    MessageType.SNAPSHOT,
    MessageType.TIMEOUT_NOW,
)
"""What only the leader of a term sends."""


def settle_term(core: "RaftState", message: Message) -> bool:
    """Give way to a newer term, or refuse an older one; whether to go on with the message."""
    message_type = message.type
    if message.term < core.term:
        _answer_older_term(core, message)
        return False
    if message_type in (MessageType.PRE_VOTE, MessageType.VOTE):
        wanted = message_type == MessageType.VOTE and message.hint == WANTED_BY_LEADER
        if core.leader == message.sender:
            # Who asks for a later term leads no more, and never will again in ours.
            core.note("leader_asks", message.sender)
            lose_leader(core)
        elif not wanted and core.leader_is_near():
            core.note("ignored_leader_is_near", message.sender)
            return False
        if message_type == MessageType.PRE_VOTE:
            return True
    elif message_type == MessageType.PRE_VOTE_REPLY and not message.reject:
        return True  # it bears the term asked about, which nobody has yet
    from_leader = message_type in FROM_LEADER
    core.become_follower(message.term, message.sender if from_leader else NO_NODE)
    return True


def _answer_older_term(core: "RaftState", message: Message) -> None:
    """Tell who lives in an older term of ours; answers to us of that term are just dropped."""
    reply_type = REPLY_TYPES.get(message.type)
    if reply_type is None:
        core.note("ignored_older_term", message.sender)
        return
    reply = Message(reply_type, core.node_id, message.sender, core.term, reject=True)
    core.send_durable(reply)
