"""How a replica comes to lead: pre-vote, vote, and the answers it gives to others who try.

Source: Raft thesis, sections 3.4, 3.6.1 and 9.6 (pre-vote).
"""

from typing import TYPE_CHECKING, Final

from raft.quorum import Tally, tally
from raft.types import NO_NODE, Message, MessageType, Role

if TYPE_CHECKING:
    from raft.state import RaftState

WANTED_BY_LEADER: Final = 1
"""`hint` of a VOTE that a TIMEOUT_NOW has caused: voters need not protect their leader. Ours."""


def promotable(core: "RaftState") -> bool:
    """Whether a replica may campaign.

    Not while it knows of committed entries that it lacks. A node that was removed and is back
    with an empty disk takes in old configurations on its way, in which it may be a majority.
    """
    return (
        core.installing is None
        and core.commit_heard <= core.log.last_index
        and core.configurations.may_lead(core.node_id)
    )


def on_silence(core: "RaftState") -> None:
    """Campaign if that makes sense: no leader was heard, and no campaign was decided."""
    core.note("leader_silent", core.leader)
    if core.leader != NO_NODE:
        lose_leader(core)
    else:
        core.quick_campaigns_left = max(0, core.quick_campaigns_left - 1)
    if promotable(core):
        campaign(core)
    else:
        reset_timer(core)


def lose_leader(core: "RaftState") -> None:
    """Follow nobody, and campaign soon: something tells that the leader is gone.

    More than once if need be: the first campaign may meet a replica that has not found out yet.
    """
    core.leader = NO_NODE
    core.dirty = True
    core.quick_campaigns_left = core.config.quick_campaign_count
    reset_timer(core)


def on_peer_reachable(core: "RaftState", node_id: int) -> None:
    """Campaign soon, as a voter can be reached; a leader that lives has time for a heartbeat."""
    core.note("peer_reachable", node_id)
    core.quick_campaigns_left = core.config.quick_campaign_count
    heartbeat = core.config.heartbeat_ticks
    if core.alarm > core.ticks.now + heartbeat + core.config.quick_campaign_ticks:
        reset_timer(core, after=heartbeat)


def reset_timer(core: "RaftState", *, after: int = 0) -> None:
    """Wait anew, for a time drawn anew; a short one while something explains the hurry.

    `after` are ticks on top of it. Source: Raft thesis, section 3.4.
    """
    if core.quick_campaigns_left:
        low, high = 1, 1 + core.config.quick_campaign_ticks
        if core.role is not Role.FOLLOWER:  # a campaign needs time for answers
            low, high = low + 1, high + 1
    else:
        low = core.config.election_ticks_min
        high = 2 * low
    core.timeout = after + core.rng.randrange(low, high)
    core.since = core.ticks.now
    core.alarm = core.since + core.timeout


def campaign(core: "RaftState") -> None:
    """Ask whether this replica could win, before it disturbs anybody with a new term."""
    if not promotable(core):
        core.note("not_promotable", core.node_id)
        return
    core.become(Role.PRE_CANDIDATE, core.term, NO_NODE)
    core.votes = {core.node_id: True}
    if tally(core.configurations.current, core.votes) is Tally.WON:
        become_candidate(core, hint=0)
        return
    _ask(core, MessageType.PRE_VOTE, core.term + 1, hint=0)


def become_candidate(core: "RaftState", *, hint: int) -> None:
    """Take the next term and this replica's own vote, and ask for the others'.

    The own vote counts, and the requests leave, only once term and vote are durable.
    """
    assert promotable(core)
    core.become(Role.CANDIDATE, core.term + 1, NO_NODE)
    core.vote = core.node_id
    core.votes = {}
    _ask(core, MessageType.VOTE, core.term, hint=hint)


def _ask(core: "RaftState", message_type: MessageType, term: int, *, hint: int) -> None:
    """Send a request for votes to every other voter of both halves."""
    configuration = core.configurations.current
    log = core.log
    for node_id in dict.fromkeys(configuration.voters + configuration.voters_outgoing):
        if node_id != core.node_id:
            core.send_durable(
                Message(
                    message_type,
                    core.node_id,
                    node_id,
                    term,
                    index=log.last_index,
                    log_term=log.last_term,
                    hint=hint,
                )
            )


def own_vote_persisted(core: "RaftState") -> None:
    """Count the candidate's own vote, now that it is on disk."""
    assert core.role is Role.CANDIDATE
    assert core.vote == core.node_id
    core.votes[core.node_id] = True
    _count(core)


def on_vote_request(core: "RaftState", message: Message) -> None:
    """Answer a VOTE or PRE_VOTE that is not of an older term.

    A vote is given once a term, to a candidate whose log is at least as complete, and has all
    that is known to be committed. A pre-vote promises nothing, so any number may be given.
    Whether this replica is a voter by its own knowledge does not matter: it may not have heard of
    its promotion yet.
    """
    pre_vote = message.type == MessageType.PRE_VOTE
    may_vote = (
        core.vote == message.sender
        or (core.vote == NO_NODE and core.leader == NO_NODE)
        or (pre_vote and message.term > core.term)
    )
    covers = core.log.is_covered_by(message.index, message.log_term)
    granted = may_vote and covers and message.index >= core.commit_heard
    reply_type = MessageType.PRE_VOTE_REPLY if pre_vote else MessageType.VOTE_REPLY
    reply = Message(reply_type, core.node_id, message.sender, core.term, reject=not granted)
    if granted:
        reply.term = message.term
        if not pre_vote:
            core.vote = message.sender
            core.quick_campaigns_left = 0
            reset_timer(core)
    core.send_durable(reply)


def on_vote_reply(core: "RaftState", message: Message) -> None:
    """Count one answer to the campaign that is running, if it belongs to it."""
    if message.type == MessageType.PRE_VOTE_REPLY:
        term = core.term if message.reject else core.term + 1
        expected = core.role is Role.PRE_CANDIDATE and message.term == term
    else:
        expected = core.role is Role.CANDIDATE and message.term == core.term
    if not expected:
        core.note("ignored_stale_vote", message.sender)
        return
    core.votes.setdefault(message.sender, not message.reject)
    _count(core)


def _count(core: "RaftState") -> None:
    """Go on if the campaign is decided. A candidate needs its own vote on disk to win."""
    result = tally(core.configurations.current, core.votes)
    if result is Tally.LOST:
        core.become_follower(core.term, NO_NODE)
    elif result is Tally.WON:
        if core.role is Role.PRE_CANDIDATE:
            become_candidate(core, hint=0)
        elif core.node_id in core.votes:
            core.become_leader()
