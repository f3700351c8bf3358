"""One router's share of one table's capacity: tokens leased from the pool, spent here.

The pool (`node.capacity_pool`) holds the table's bucket; routers ask it several times a second
for what they are about to need. What is leased and not spent goes back. Pure: time comes in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from quorate.cluster.token_bucket import BURST_SECONDS

LEASE_SECONDS: Final = 2.0
"""How long leased tokens are good for; then they go back to the pool. Ours."""

ASK_SECONDS: Final = 0.1
"""How often a router asks. Ours: a message each is nothing, and leases stay small."""

AHEAD_SECONDS: Final = 0.3
"""For how long a router asks ahead. Ours: three rounds of questions."""

CREDIT_SECONDS: Final = 1.0
"""How much of the table's rate may be spent before the pool has answered: the first requests at an
idle router do not wait for it. It is paid back from the next leases: so never more is spent than
the pool can have, as far as that is known. Ours."""

WAITING_MAX: Final = 1_000
"""Most requests that wait for the pool's answer. Ours."""

REMEMBER_SECONDS: Final = 1.0
"""How often a router asks about a table that it has used and does not use now, until what was saved
up is whole again: so it knows what is left, should the pool be lost. Ours."""

MOMENT_SECONDS: Final = 0.02
"""Shortest time from which a beginning load's rate is told. Ours."""

SILENCE_SECONDS: Final = 1.0
"""Without an answer of the pool for so long a router goes on with its last rate. Ours."""

SMOOTHING_SECONDS: Final = 1.0
"""Over how long rates are averaged. Ours."""

RATE_MIN: Final = 1e-3
"""Units a second: an average below is of a load that has ended. Ours."""


Queued = tuple[float, float, Callable[[float], object]]
"""Who waits for capacity: its units, until when, and how it goes on: with these units admitted, or
with none when its time is up."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a router tells the pool: all in capacity units.

    `level` is the most that the pool can have, from when this router last heard of it; None if it
    never did, or that may be its whole burst: a pool that has just been made knows no better.
    """

    wanted: float
    returned: float
    level: float | None


class Lease:
    """The tokens of one table and kind (reads or writes) at one router."""

    __slots__ = (
        "_grant_rate",
        "_granted_at",
        "_held",
        "_largest",
        "_level",
        "_offered",
        "_offered_rate",
        "_release_rate",
        "_released_at",
        "_returned",
        "_starved",
        "_ticked_at",
        "expires_at",
        "heard_at",
        "queue",
        "rate",
        "tokens",
        "waiting",
    )

    def __init__(self, rate: float, now: float) -> None:
        """Begin without tokens; `rate` is the table's, in units a second."""
        self.rate = rate
        self.tokens = 0.0  # may be spent now; negative is owed
        self.expires_at = now
        self.heard_at = now
        self._level: float | None = None
        self._starved = False
        self._offered = 0.0
        self._offered_rate = 0.0
        self._largest = 0.0  # what was taken at once, since the last tick
        self._grant_rate = 0.0
        self._returned = 0.0
        self._held = 0.0  # leased, and to be spent later
        self._release_rate = 0.0
        self._released_at = now
        self._granted_at = now
        self._ticked_at = now
        self.waiting: list[tuple[float, Callable[[], object]]] = []  # units, how to go on
        self.queue: deque[Queued] = deque()  # who can wait for capacity to come

    def admit(self, units: float, now: float) -> bool:
        """Spend units if there are tokens, or credit."""
        if self._held:
            self._release(now)
        if self.tokens <= 0 and (self._starved or self.tokens <= -self._credit(now)):
            return False
        self._offered += units
        self._largest = max(self._largest, units)
        self.tokens -= units
        return True

    @property
    def is_undecided(self) -> bool:
        """Whether it is yet for the pool to say that what was not admitted is refused."""
        return not self._starved and len(self.waiting) < WAITING_MAX

    def wait(self, units: float, go_on: Callable[[], object]) -> None:
        """Let the units of a request be asked for; it goes on when the pool has answered."""
        self.waiting.append((units, go_on))

    def take_waiting(self) -> list[Callable[[], object]]:
        """Return how those go on who have waited until now."""
        waiting, self.waiting = self.waiting, []
        return [go_on for _, go_on in waiting]

    def serve_queue(self, now: float) -> None:
        """Let those go on who are in the queue and whose turn it is, or whose time is up."""
        queue = self.queue
        while queue:
            units, until, go_on = queue[0]
            if until <= now:
                units = 0.0
            elif not self.admit(units, now):
                return
            queue.popleft()
            go_on(units)

    def refuse(self, units: float) -> None:
        """Count what was refused: it is wanted, too."""
        self._offered += units

    def settle(self, units: float) -> None:
        """Spend what an admitted operation cost beyond its estimate; negative gives back."""
        self.tokens -= units
        self._offered += units
        self._largest = max(self._largest, units)

    @property
    def on_credit(self) -> bool:
        """Whether more is wanted than the pool has granted, which may well have it."""
        return not self._starved and (self.tokens < 0 or bool(self.waiting))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to ask, to give back or to pay back."""
        return (
            not self._offered
            and not self.waiting
            and not self.queue
            and not self._returned
            and self.tokens == self._held == self._offered_rate == 0
        )

    def tick(self, now: float) -> Ask | None:
        """Let time pass; return what to ask the pool, None if nothing.

        Called several times a second, whether or not the pool answers.
        """
        elapsed = now - self._ticked_at
        if elapsed <= 0:
            return None
        self._ticked_at = now
        weight = min(1.0, elapsed / SMOOTHING_SECONDS)
        self._offered_rate += (self._offered / elapsed - self._offered_rate) * weight
        if self._offered_rate < RATE_MIN:
            self._offered_rate = 0.0
        rate = self._offered_rate
        if self.on_credit:  # a load that begins: the average will know only later
            more = self._offered - self._largest  # one request is not yet a load
            rate = max(rate, more / max(elapsed, MOMENT_SECONDS))
        self._offered = self._largest = 0.0
        if self.idle:
            self.heard_at = now  # nothing is asked, so nothing is missed
            self._starved = False  # nor known
            level = self._level_at(now)
            is_due = now - self._granted_at >= REMEMBER_SECONDS
            return Ask(0.0, 0.0, level) if level is not None and is_due else None
        if now - self.heard_at > SILENCE_SECONDS:
            self._go_on_alone(elapsed)
        left = self.tokens + self._held
        if now >= self.expires_at and left > 0:
            self._returned += left
            left = self.tokens = self._held = 0.0
        waiting = sum(units for units, _ in self.waiting) + sum(units for units, *_ in self.queue)
        wanted = max(0.0, rate * AHEAD_SECONDS + waiting - left)
        return Ask(wanted, self._returned, self._level_at(now))

    def granted(self, ask: Ask, tokens: float, level: float, now: float) -> None:
        """Take the pool's answer to an ask: tokens, and how much it has left."""
        elapsed = max(now - self._granted_at, 1e-3)
        weight = min(1.0, elapsed / SMOOTHING_SECONDS)
        self._grant_rate += (tokens / elapsed - self._grant_rate) * weight
        self._granted_at = now
        self.heard_at = now
        if tokens:
            self.expires_at = now + LEASE_SECONDS
        self._returned -= ask.returned
        self._level = level
        was_starved, self._starved = self._starved, tokens < ask.wanted
        if was_starved and self._starved:
            self._hold(tokens, now)
        else:  # the first short answer is the rest of what was saved up: nobody need wait for it
            self.tokens += self._held + tokens
            self._held = 0.0

    def change(self, rate: float) -> None:
        """Let the table have another rate from now on."""
        self.rate = rate

    def _level_at(self, now: float) -> float | None:
        """Return the most that the pool can have now, None if it may be its whole burst."""
        if self._level is None:
            return None
        level = self._level + (now - self._granted_at) * self.rate
        return level if level < self.rate * BURST_SECONDS else None

    def _credit(self, now: float) -> float:
        """Return how much may be owed: what the pool may have, but a second of it at most."""
        most, level = self.rate * CREDIT_SECONDS, self._level_at(now)
        return most if level is None else min(most, max(0.0, level))

    def _hold(self, tokens: float, now: float) -> None:
        """Pay what is owed; let the rest, and what is still held, be spent evenly over a round.

        Of a table that wants more than it has, each round's tokens would else be spent as soon as
        they come, and whoever else is at the nodes would wait behind so many at once.
        """
        self._release(now)
        owed = min(tokens, max(0.0, -self.tokens))
        self.tokens += owed
        self._held += tokens - owed
        self._release_rate = self._held / ASK_SECONDS

    def _release(self, now: float) -> None:
        released = min(self._held, (now - self._released_at) * self._release_rate)
        self._held -= released
        self.tokens += released
        self._released_at = now

    def _go_on_alone(self, elapsed: float) -> None:
        """Without the pool: earn at the rate of the last leases, saving up a second of it."""
        rate = min(self._grant_rate, self.rate)
        self._starved = True
        if self._level is not None:  # what comes in meanwhile the routers spend, alone like this
            self._level -= elapsed * self.rate
        room = rate * SMOOTHING_SECONDS - (self.tokens + self._held)
        self._hold(max(0.0, min(rate * elapsed, room)), self._ticked_at)
        self.expires_at = self._ticked_at + LEASE_SECONDS
