"""The spans of sampled writes at a node: a write's own at its leader, an entry's at each replica.

A turn puts many writes into one entry. Each sampled one has a `write` span at the leader, with
`queue` and `quorum` in it. What happens to the entry, `log commit` and `apply` at each replica,
happens once: that span is a child of the entry's first sampled write, and linked to the others. The
entry carries their contexts, so that followers know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from node.codec import trace_contexts
from quorate.tracing.context import TraceContext
from raft.types import Entry, EntryKind

if TYPE_CHECKING:
    from node.codec import RoutedWrites
    from node.machine.leadership import Proposal
    from node.storage.log import GroupWrite
    from quorate.tracing.tracer import OpenSpan, Tracer

ARRIVED_MAX: Final = 1_024
"""Most sampled writes that wait for their turn; the oldest is forgotten first. Ours."""

LINKS_MAX: Final = 16
"""Most sampled writes of one entry that are told apart. Ours."""

TracedEntry = tuple[int, Entry, list[TraceContext]]
"""(group, entry, its sampled writes)."""


class NodeTracing:
    """What a host with tracing tells of its turns. Times are the monotonic clock's."""

    def __init__(self, tracer: Tracer, name: str) -> None:
        """`name` is the node's."""
        self._tracer = tracer
        self._name = name
        self._arrived: dict[bytes, tuple[TraceContext, float]] = {}
        self._answering: list[Proposal] = []  # committed, in the turn that goes on

    def close(self) -> None:
        """Let the last spans leave, if that is quick."""
        self._tracer.close()

    def arrived(self, writes: RoutedWrites, now: float) -> None:
        """A router's batch with sampled writes was taken in."""
        for position, data in zip(writes.traced, writes.trace_contexts, strict=False):
            context = TraceContext.decode(data)
            if context is not None and position < len(writes.request_ids):
                if len(self._arrived) >= ARRIVED_MAX:
                    del self._arrived[next(iter(self._arrived))]
                self._arrived[writes.request_ids[position]] = (context, now)

    def evaluated(self, group: int, proposal: Proposal, now: float) -> None:
        """A turn has taken writes: begin the spans of sampled ones; the entry will carry them."""
        if not self._arrived:
            return
        spans: list[OpenSpan] = []
        for request_id in proposal.columns.request_ids:
            sampled = self._arrived.pop(request_id, None)
            if sampled is None or len(spans) >= LINKS_MAX:
                continue
            parent, arrived_at = sampled
            span = self._tracer.open(
                "write",
                arrived_at,
                parent=parent,
                kind="SERVER",
                attributes={
                    "quorate.node": self._name,
                    "quorate.group": group,
                    "quorate.write_id": request_id.hex(),
                },
            )
            if span is not None:
                self._tracer.record("queue", arrived_at, now, parent=span.context)
                spans.append(span)
        if spans:
            proposal.spans = spans
            proposal.columns.traces = [span.context.encode() for span in spans]

    def committed(self, proposal: Proposal, now: float) -> None:
        """A quorum has an entry that was proposed here."""
        for span in proposal.spans:
            self._tracer.record("quorum", proposal.proposed_at, now, parent=span.context)
        self._answering.append(proposal)

    def writing(self, writes: Iterable[GroupWrite]) -> list[TracedEntry]:
        """Return the entries of a log commit that have sampled writes."""
        return [found for write in writes for found in _traced(write.group, write.entries)]

    def durable(self, entries: Sequence[TracedEntry], began_at: float, ended_at: float) -> None:
        """A log commit is durable here."""
        self._record("log commit", entries, began_at, ended_at)

    def applied(
        self, group: int, entries: Sequence[Entry], began_at: float, ended_at: float
    ) -> None:
        """Entries were applied here; the writes of those that were proposed here are answered."""
        for proposal in self._answering:
            for span in proposal.spans:
                span.end(ended_at, **{"quorate.index": proposal.index})
        self._answering.clear()
        self._record("apply", list(_traced(group, entries)), began_at, ended_at)

    def _record(
        self, name: str, entries: Sequence[TracedEntry], began_at: float, ended_at: float
    ) -> None:
        for group, entry, contexts in entries:
            self._tracer.record(
                name,
                began_at,
                ended_at,
                parent=contexts[0],
                links=contexts[1:],
                attributes={
                    "quorate.node": self._name,
                    "quorate.group": group,
                    "quorate.index": entry.index,
                    "quorate.term": entry.term,
                },
            )


def _traced(group: int, entries: Iterable[Entry]) -> Iterable[TracedEntry]:
    for entry in entries:
        if group and entry.kind == EntryKind.COMMAND:
            found = map(TraceContext.decode, trace_contexts(entry.payload))
            contexts = [context for context in found if context is not None]
            if contexts:
                yield group, entry, contexts
