"""All interleavings of a small group, to a depth: bounded model checking of the real core.

A state is a few nodes, the messages on their way, and how often chance may still strike. From a
start, `Explorer.explore` takes every action that is possible, and every one after that; what is
alike is gone on from once. A message that is never delivered is a lost one, so loss needs no
action. What must hold is checked in every state, and a violation comes with the path to it.

Nodes and messages are numbered as they are met. What a node does depends on its own state and its
input alone, so each such move is made once, by a real core, and looked up from then on.

`python -m tests.raft.exploration` goes on for as long as there are states, or for STATES of each
start: `python -m tests.raft.exploration STATES`.
"""

import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final, NamedTuple

from raft.check import check_core
from raft.configuration import ConfigurationChange
from raft.core import RaftCore
from raft.types import (
    Configuration,
    Entry,
    EntryKind,
    Message,
    MessageType,
    ProposalRefused,
    RaftConfig,
    Role,
)
from tests.raft.cluster import Disk, Node

IGNORED: Final = frozenset(
    {"config", "trace", "rng", "_rng", "_reader", "_core", "_ticket", "_ticket_in_flight"}
    | {"ticket", "role_changes", "role_changed", "_told"}
)
"""Attributes in which nodes may differ and yet be alike: they decide nothing to come."""

ALL_BYTES: Final = 1 << 30

Fact = tuple[int, int, bytes]
"""An entry: term, kind, payload."""


class LowRng:
    """Chance that is none: the explorer itself decides when a timeout is over."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return the lowest."""
        return start


class View(NamedTuple):
    """What invariants look at in a node."""

    node_id: int
    leads: bool
    writes: bool
    term: int
    commit: int
    log: tuple[Fact, ...]
    on_disk: int  # so much of the log
    halves: tuple[tuple[int, ...], ...]  # the voters in effect, both halves if it is joint


class Move(NamedTuple):
    """What came of an input to a node: its new number, letters, (read id, index) confirmed."""

    node: int
    sent: tuple[int, ...]
    confirmed: tuple[tuple[int, int], ...]
    read_id: int


class Action(NamedTuple):
    """One step: what happens, at which place in `State.nodes`, with which letter."""

    what: str
    place: int
    letter: int = 0


class State(NamedTuple):
    """A group at one moment, and its past as far as invariants need it. All numbers and tuples."""

    nodes: tuple[int, ...]
    network: tuple[int, ...]
    left: tuple[tuple[str, int], ...]  # how often each kind of action may still happen
    leaders: tuple[tuple[int, int], ...]  # (term, node)
    grants: tuple[tuple[int, int, int], ...]  # (term, voter, candidate)
    committed: tuple[Fact, ...]
    floors: tuple[tuple[int, int, int], ...]  # (place, read id, commit index when it was asked)


class Found(NamedTuple):
    """What an exploration went through."""

    states: int
    moves: int  # of single nodes, by a real core
    depth: int  # to which it is complete
    committed_max: int
    term_max: int


class Explorer:
    """One start, and all that follows from it."""

    def __init__(
        self, nodes: list[Node], left: Mapping[str, int], change: ConfigurationChange | None
    ) -> None:
        self.change = change  # what leaders ask for
        self.raws: list[bytes] = []
        self.views: list[View] = []
        self.letters: list[Message] = []
        self.numbers: dict[object, int] = {}  # of nodes and of letters, by their picture
        self.moves: dict[tuple[int, str, int], Move] = {}
        self.places = {node.config.node_id: place for place, node in enumerate(nodes)}
        numbered = tuple([self.number_node(node) for node in nodes])
        self.start = State(numbered, (), tuple(sorted(left.items())), (), (), (), ())

    # Numbers

    def number_node(self, node: Node) -> int:
        """Return the number of a node's state."""
        picture = frozen(node)
        number = self.numbers.get(picture)
        if number is None:
            number = self.numbers[picture] = len(self.raws)
            self.raws.append(pickle.dumps(node))
            self.views.append(view_of(node))
        return number

    def number_letter(self, message: Message) -> int:
        """Return the number of a message."""
        picture = frozen(message)
        number = self.numbers.get(picture)
        if number is None:
            number = self.numbers[picture] = len(self.letters)
            self.letters.append(message)
        return number

    # What may happen

    def actions(self, state: State) -> Iterator[Action]:
        """Yield all that may happen next."""
        left = dict(state.left)
        for letter in dict.fromkeys(state.network):
            place = self.places[self.letters[letter].to]
            yield Action("deliver", place, letter)
            if left.get("double"):
                yield Action("double", place, letter)
        for place, number in enumerate(state.nodes):
            view = self.views[number]
            if view.writes:
                yield Action("sync", place)
            if left.get("crash"):
                yield Action("crash", place)
            for what in LEADERS_ACTS if view.leads else ("campaign",):
                if left.get(what):
                    yield Action(what, place, left[what])

    def after(self, state: State, action: Action) -> State:
        """Return the state that an action leads to; raises AssertionError if it must not be."""
        what, place, letter = action
        move = self.move(state.nodes[place], what, letter)
        nodes = (*state.nodes[:place], move.node, *state.nodes[place + 1 :])
        network = list(state.network)
        if what == "deliver":
            network.remove(letter)
        network += move.sent
        left = tuple([(kind, count - (kind == what)) for kind, count in state.left])
        floors = state.floors
        if what == "crash":
            floors = tuple([floor for floor in floors if floor[0] != place])
        elif what == "read":
            floors = (*floors, (place, move.read_id, len(state.committed)))
        for read_id, index in move.confirmed:
            (floor,) = [f for f in floors if f[:2] == (place, read_id)]
            assert index >= floor[2], "a stale read"
        return self.checked(
            state._replace(nodes=nodes, network=tuple(sorted(network)), left=left, floors=floors),
            place,
            move.sent,
        )

    def move(self, number: int, what: str, letter: int) -> Move:
        """Give a node an input, or look up what came of it."""
        known = self.moves.get((number, what, letter))
        if known is not None:
            return known
        node: Node = pickle.loads(self.raws[number])
        sent: list[Message] = []
        read_id = 0
        if what in ("deliver", "double"):
            node.core.step(self.letters[letter])
        elif what == "sync":
            sent += node.sync()
        elif what == "crash":
            node.crash()
            node.start()
        elif what == "read":
            read_id = node.core.read_index()
        else:
            with suppress(ProposalRefused):
                ACTS[what](node.core, self.change, letter)
        while node.core.has_ready():
            writing = node.writing
            sent += node.take()
            if writing is not None:
                break  # the rest waits for the disk
        check_core(node.core)
        confirmed = tuple(node.reads.items())
        node.reads.clear()
        node.dropped_reads.clear()
        letters = tuple([self.number_letter(message) for message in sent])
        move = Move(self.number_node(node), letters, confirmed, read_id)
        self.moves[number, what, letter] = move
        return move

    # What must hold

    def checked(self, state: State, place: int, sent: tuple[int, ...]) -> State:
        """Check the node that has moved against the past and the others; return the new past."""
        view = self.views[state.nodes[place]]
        leaders, grants, committed = dict(state.leaders), state.grants, state.committed
        if view.leads:
            first = leaders.setdefault(view.term, view.node_id)
            assert first == view.node_id, f"two leaders in term {view.term}"
        for letter in sent:
            message = self.letters[letter]
            own = message.type == MessageType.VOTE  # a candidate votes for itself
            if own or (message.type == MessageType.VOTE_REPLY and not message.reject):
                grant = (message.term, message.sender, message.sender if own else message.to)
                for other in grants:
                    assert other[:2] != grant[:2] or other == grant, "two votes in one term"
                grants = tuple(sorted({*grants, grant}))
        known = min(view.commit, len(committed))
        assert view.log[:known] == committed[:known], "another entry was committed there"
        if view.commit > known:
            committed += view.log[known : view.commit]
            self.check_durable(state, view, committed)
        newest = max(leaders, default=0)
        for number in state.nodes:
            other_view = self.views[number]
            if other_view.leads and other_view.term == newest:
                held = other_view.log[: len(committed)]
                assert held == committed, "the newest leader lacks what is committed"
            for index in range(min(len(view.log), len(other_view.log)), 0, -1):
                if view.log[index - 1][0] == other_view.log[index - 1][0]:
                    assert view.log[:index] == other_view.log[:index], "logs do not match"
                    break
        return state._replace(
            leaders=tuple(sorted(leaders.items())), grants=grants, committed=committed
        )

    def check_durable(self, state: State, view: View, committed: tuple[Fact, ...]) -> None:
        """Assert that who commits first does so with a majority of disks in each half.

        The leader may have left a joint configuration in the moment in which it was committed.
        """
        self.check_holders(state, committed, view.halves)
        for index, (_, kind, payload) in enumerate(committed, 1):
            if kind == EntryKind.CONFIGURATION and index > len(state.committed):
                configuration = Configuration.decode(payload)
                self.check_holders(state, committed[:index], halves_of(configuration))

    def check_holders(
        self, state: State, committed: tuple[Fact, ...], halves: tuple[tuple[int, ...], ...]
    ) -> None:
        """Assert that a majority of each half has this on disk."""
        disks = {v.node_id: v.log[: v.on_disk] for v in map(self.views.__getitem__, state.nodes)}
        for voters in halves:
            holders = [n for n in voters if disks[n][: len(committed)] == committed]
            assert len(holders) > len(voters) // 2, f"committed, but on the disks of {holders}"

    # Going through

    def explore(self, *, states_max: int, deep: bool = False) -> Found:
        """Go through the states, nearest or deepest first, until there are `states_max` of them.

        Raises AssertionError with the path to the first state in which something does not hold.
        """
        frontier: deque[tuple[State, tuple[object, ...], int]] = deque([(self.start, (), 0)])
        seen = {hash(self.start)}
        committed_max = term_max = depth = 0
        while frontier and len(seen) < states_max:
            state, path, depth = frontier.pop() if deep else frontier.popleft()
            for action in self.actions(state):
                try:
                    after = self.after(state, action)
                except AssertionError as error:
                    raise AssertionError(f"{error}, after{self.story((path, action))}") from error
                mark = hash(after)
                if mark not in seen:
                    seen.add(mark)
                    committed_max = max(committed_max, len(after.committed))
                    term_max = max(term_max, *(term for term, _ in after.leaders), 0)
                    frontier.append((after, (path, action), depth + 1))
        return Found(len(seen), len(self.moves), depth, committed_max, term_max)

    def story(self, path: tuple[object, ...]) -> str:
        """Return the steps of a path, a line each."""
        steps: list[str] = []
        while path:
            earlier, action = path
            assert isinstance(earlier, tuple)
            assert isinstance(action, Action)
            of = self.letters[action.letter] if action.what in ("deliver", "double") else ""
            steps.append(f"\n  {action.what} at place {action.place} {of}")
            path = earlier
        return "".join(reversed(steps))

    def settle(self, *acts: tuple[str, int], apart_from: int = 0) -> "Explorer":
        """Begin later: after these (act, node) and all that follows, but what one node hears."""
        state = self.start._replace(left=())
        for what, node_id in acts:
            state = self.after(state, Action(what, self.places[node_id], 1))
            while True:
                heard = [n for n in state.network if apart_from != self.letters[n].to]
                state = state._replace(network=tuple(heard))
                due = [a for a in self.actions(state) if a.what in ("deliver", "sync")]
                if not due:
                    break
                state = self.after(state, due[0])
        self.start = state._replace(left=self.start.left)
        return self


def view_of(node: Node) -> View:
    """Return what invariants look at."""
    core = node.core
    last_index = core.last_index
    entries = core.log.entries(1, last_index + 1, ALL_BYTES) if last_index else []
    while 0 < len(entries) < last_index:  # at the border between disk and memory
        entries += core.log.entries(len(entries) + 1, last_index + 1, ALL_BYTES)
    return View(
        node.config.node_id,
        core.role is Role.LEADER,
        node.writing is not None,
        core.term,
        core.commit,
        tuple([(entry.term, entry.kind, entry.payload) for entry in entries]),
        agreeing(entries, node.disk.log.entries_held),
        halves_of(core.configuration),
    )


def halves_of(configuration: Configuration) -> tuple[tuple[int, ...], ...]:
    """Return the voters whose majorities are needed: of both halves if it is joint."""
    return (configuration.voters, configuration.voters_outgoing)[: 1 + configuration.joint]


def agreeing(entries: Sequence[Entry], others: Sequence[Entry]) -> int:
    """Return how many entries two logs have in common."""
    pairs = enumerate(zip(entries, others, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(entries), len(others)))


def frozen(value: object) -> object:
    """Return a hashable picture of a value, the same for values that are alike."""
    if value is None or isinstance(value, int | bytes | str | Enum):
        return value
    if isinstance(value, dict):
        return tuple([(key, frozen(held)) for key, held in sorted(value.items())])
    if isinstance(value, list | tuple | deque):
        return tuple([frozen(held) for held in value])
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names = names or list(vars(value))
    return (
        type(value),
        *[frozen(getattr(value, name)) for name in names if name not in IGNORED],
    )


def _transfer(core: RaftCore, _change: ConfigurationChange | None, _left: int) -> None:
    voters = core.configuration.voters
    core.transfer_leader(next(voter for voter in reversed(voters) if voter != core.node_id))


def _change(core: RaftCore, change: ConfigurationChange | None, _left: int) -> None:
    assert change is not None
    core.propose_configuration(change)


ACTS: Final[dict[str, Callable[[RaftCore, ConfigurationChange | None, int], object]]] = {
    "campaign": lambda core, _change, _left: core.tick(core.config.election_ticks_min),
    "change": _change,
    "heartbeat": lambda core, _change, _left: core.tick(core.config.heartbeat_ticks),
    "leave": lambda core, _change, _left: core.propose_leave_joint(),
    "propose": lambda core, _change, left: core.propose([b"%d" % left]),
    "transfer": _transfer,
}
"""What explorers do to a core, with the change they want and how many such acts are left."""

LEADERS_ACTS: Final = ("change", "heartbeat", "leave", "propose", "read", "transfer")


def group(
    voters: tuple[int, ...] = (1, 2, 3),
    *,
    learners: tuple[int, ...] = (),
    change: ConfigurationChange | None = None,
    **left: int,
) -> Explorer:
    """Return nodes that have just started; `left` bounds each kind of action."""
    configuration = Configuration(voters, learners=learners)
    nodes = [
        Node(
            RaftConfig(node_id=node_id, election_ticks_min=3, heartbeat_ticks=2),
            Disk(configuration),
            LowRng(),
        )
        for node_id in (*voters, *learners)
    ]
    return Explorer(nodes, left | ({"change": 1} if change else {}), change)


def elected(explorer: Explorer, *, apart_from: int = 0) -> Explorer:
    """Begin when node 1 leads and all is said, but for what one node has not heard."""
    return explorer.settle(("campaign", 1), apart_from=apart_from)


def deposed(explorer: Explorer) -> Explorer:
    """Begin when node 1 leads, and has not heard that node 2 leads a newer term."""
    return elected(explorer).settle(("campaign", 3), ("campaign", 2), apart_from=1)


STARTS: Final[dict[str, Callable[[], Explorer]]] = {
    "election": lambda: group(campaign=2, crash=1),
    "election of two": lambda: group((1, 2), campaign=3, crash=2),
    "replication": lambda: elected(group(propose=2, crash=1)),
    "replication under another": lambda: elected(group(propose=1, campaign=2)),
    "doubles": lambda: elected(group((1, 2), campaign=2, propose=1, double=2)),
    "behind": lambda: elected(group(campaign=2, propose=1), apart_from=3),
    "reads": lambda: elected(group(propose=1, read=2, heartbeat=1)),
    "reads of a deposed leader": lambda: deposed(group(read=1, propose=2, heartbeat=1)),
    "deposed leader": lambda: deposed(group(propose=2, campaign=1)),
    "transfer": lambda: elected(group(transfer=1, propose=1, campaign=1, crash=1)),
    "replacement": lambda: elected(
        group(learners=(4,), change=ConfigurationChange((1, 2, 4), (3,)), campaign=1, crash=1)
    ),
    "replacement of the leader": lambda: elected(
        group((1, 2), learners=(3,), change=ConfigurationChange((2, 3)), campaign=2, read=1)
    ),
    "left by hand": lambda: elected(
        group((1, 2), learners=(3,), change=ConfigurationChange((2, 3), auto_leave=False), leave=1)
    ),
    "promotion": lambda: elected(
        group((1, 2), learners=(3,), change=ConfigurationChange((1, 2, 3)), campaign=2, crash=1)
    ),
    "removal of the leader": lambda: elected(
        group(change=ConfigurationChange((2, 3)), campaign=1, propose=1, read=1)
    ),
}
"""Small groups at the moment when it becomes interesting."""


def main(arguments: list[str]) -> None:
    """Explore from every start and show how far it went."""
    states_max = int(arguments[0]) if arguments else sys.maxsize
    for name, start in STARTS.items():
        sys.stdout.write(f"{name}: {start().explore(states_max=states_max)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
