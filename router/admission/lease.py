"""One router's share of one table's capacity: tokens leased from the pool, spent here.

The pool (`node.capacity_pool`) holds the table's bucket; routers ask it several times a second
for what they are about to need. What is leased and not spent goes back. Pure: time comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from quorate.cluster.token_bucket import BURST_SECONDS, TokenBucket
from router.admission.budget import Budget
from router.admission.demand import POOLS_WORD, SMOOTHING_SECONDS, Demand, Waiter
from router.exponential_average import ExponentialAverage

ASK_SECONDS: Final = 0.1
"""How often a router asks. Ours: a message each is nothing, and leases stay small."""

AHEAD_SECONDS: Final = 0.3
"""For how long a router asks ahead. Ours: three rounds of questions."""

CREDIT_SECONDS: Final = 1.0
"""How much of the table's rate may be spent before the pool has answered: the first requests at an
idle router do not wait for it. It is paid back from the next leases: so never more is spent than
the pool can have, as far as that is known. Ours."""

WAITING_MAX: Final = 1_000
"""Most requests in a line that one more may join to wait for the pool's answer. Ours."""

REMEMBER_SECONDS: Final = 1.0
"""How often a router asks about a table that it has used and does not use now, until what was saved
up is whole again: so it knows what is left, should the pool be lost. Ours."""

SILENCE_SECONDS: Final = 1.0
"""Without an answer of the pool for so long a router goes on with its last rate. Ours."""


class Supply(Enum):
    """What the pool has said last: it decides what happens where tokens are short.

    | state  | entered when                       | credit | without tokens | the next grant   |
    |--------|------------------------------------|--------|----------------|------------------|
    | AMPLE  | all that was wanted was granted,   | yes    | wait for the   | is spent freely  |
    |        | or nothing was wanted              |        | pool's word    |                  |
    | SHORT  | less was granted than was wanted   | no     | are refused    | is spent evenly, |
    |        |                                    |        |                | if short as well |
    | SILENT | what was wanted was not answered   | no     | are refused    | as in SHORT      |
    |        | for SILENCE_SECONDS                |        |                |                  |

    The first grant that is short is the rest of what was saved up: it is spent freely, for nobody
    need wait for it. In SILENT the router earns by itself, at the rate of the last grants.
    """

    AMPLE = "ample"
    SHORT = "short"
    SILENT = "silent"


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
    """The tokens of one table and kind (reads or writes) at one router.

    Invariants, beside those of its parts: tokens are held back only while they are not AMPLE; and
    only while they are AMPLE does anybody wait for the pool's word.
    """

    __slots__ = (
        "_budget",
        "_demand",
        "_grant_rate",
        "_granted_at",
        "_heard_at",
        "_pool",
        "_supply",
        "_ticked_at",
        "rate",
    )

    def __init__(self, rate: float, now: float) -> None:
        """Begin without tokens; `rate` is the table's, in units a second."""
        self.rate = rate
        self._budget = Budget(now)
        self._demand = Demand()
        self._supply = Supply.AMPLE
        self._pool: TokenBucket | None = None  # as it is at most, by what it said last
        self._grant_rate = ExponentialAverage(SMOOTHING_SECONDS)
        self._granted_at = now
        self._heard_at = now  # or had nothing to ask
        self._ticked_at = now

    # Requests

    def admit(self, units: float, now: float) -> bool:
        """Spend units if there are tokens, or credit."""
        budget = self._budget
        if (budget.held or budget.tokens <= 0) and not self._has_capacity(now):
            return False
        budget.tokens -= units
        self._demand.count(units)
        return True

    def spend(self, units: float) -> None:
        """Take what was admitted, or what that cost beyond its estimate; negative gives back."""
        self._budget.tokens -= units
        self._demand.count(units)

    def refuse(self, units: float) -> None:
        """Count what was refused: it is wanted, too."""
        self._demand.offered += units

    def _has_capacity(self, now: float) -> bool:
        budget = self._budget
        if budget.held:
            budget.release(now)
        if budget.tokens > 0:
            return True
        return self._supply is Supply.AMPLE and budget.tokens > -self._credit(now)

    def _credit(self, now: float) -> float:
        """Return how much may be owed: what the pool may have, but a second of it at most."""
        most, level = self.rate * CREDIT_SECONDS, self._pools_level(now)
        return most if level is None else min(most, max(0.0, level))

    @property
    def is_undecided(self) -> bool:
        """Whether it is yet for the pool to say that what was not admitted is refused."""
        return self._supply is Supply.AMPLE and len(self._demand.line) < WAITING_MAX

    @property
    def on_credit(self) -> bool:
        """Whether more is wanted than the pool has granted, which may well have it."""
        is_more_wanted = self._budget.tokens < 0 or bool(self._demand.line)
        return is_more_wanted and self._supply is Supply.AMPLE

    # Those who wait

    @property
    def waiting_count(self) -> int:
        """How many wait."""
        return len(self._demand.line)

    def wait(
        self, units: float, go_on: Callable[[float], object], until: float = POOLS_WORD
    ) -> None:
        """Let a request wait for capacity; see `Waiter`."""
        self._demand.line.append(Waiter(units, until, go_on))

    def serve(self, now: float) -> None:
        """Let those go on whose turn it is, or whose time is up when it would be."""
        line = self._demand.line
        while line:
            is_late = line[0].until <= now
            if not is_late and not self._has_capacity(now):
                return
            waiter = line.popleft()
            waiter.go_on(0.0 if is_late else waiter.units)

    def _serve_or_refuse(self, now: float) -> None:
        """The same, and refuse those who need wait no longer, wherever they are in the line."""
        self.serve(now)
        has_spoken = self._supply is not Supply.AMPLE
        for waiter in self._demand.take_hopeless(now, pool_has_spoken=has_spoken):
            waiter.go_on(0.0)

    def let_all_go(self, *, have_capacity: bool) -> None:
        """Let all go on who wait: the table has no limit now, or is no more."""
        for waiter in self._demand.take_line():
            waiter.go_on(waiter.units if have_capacity else 0.0)

    def drop_waiting(self) -> None:
        """Forget those who wait."""
        self._demand.take_line()

    # The pool

    def tick(self, now: float) -> Ask | None:
        """Let time pass; return what to ask the pool, None if nothing.

        Called several times a second, whether or not the pool answers.
        """
        elapsed = now - self._ticked_at
        if elapsed <= 0:
            return None
        self._ticked_at = now
        demand, budget = self._demand, self._budget
        beginning = demand.tick(elapsed)
        rate = max(demand.rate, beginning) if self.on_credit else demand.rate
        if not rate and not demand.line and budget.is_even:
            return self._tick_idle(now)
        if now - self._heard_at > SILENCE_SECONDS:
            self._supply = Supply.SILENT
            self._earn(elapsed, now)
        budget.expire(now)
        wanted = rate * AHEAD_SECONDS + demand.units_waiting() - budget.left
        ask = Ask(max(0.0, wanted), budget.returned, self._pools_level(now))
        if demand.line:
            self._serve_or_refuse(now)
        return ask

    def _tick_idle(self, now: float) -> Ask | None:
        """There is nothing to ask, so nothing is missed, nor known of the pool but its level."""
        self._heard_at = now
        self._supply = Supply.AMPLE
        level = self._pools_level(now)
        is_due = now - self._granted_at >= REMEMBER_SECONDS
        return Ask(0.0, 0.0, level) if level is not None and is_due else None

    def _earn(self, elapsed: float, now: float) -> None:
        """Without the pool: earn at the rate of the last leases, saving up a second of it."""
        if self._pool is not None:  # what comes in the routers spend, alone like this
            self._pool.settle(elapsed * self.rate)
        budget, rate = self._budget, min(self._grant_rate.value, self.rate)
        room = rate * SMOOTHING_SECONDS - budget.left
        budget.hold(max(0.0, min(rate * elapsed, room)), ASK_SECONDS, now)
        budget.renew(now)

    def granted(self, ask: Ask, tokens: float, level: float, now: float) -> None:
        """Take the pool's answer to an ask: tokens, and how much it has left."""
        elapsed = max(now - self._granted_at, 1e-3)
        self._grant_rate.add(tokens / elapsed, elapsed)
        self._granted_at = self._heard_at = now
        self._pool = TokenBucket(self.rate, self.rate * BURST_SECONDS, level, now)
        budget = self._budget
        budget.forget_returned(ask.returned)
        if tokens:
            budget.renew(now)
        before = self._supply
        self._supply = Supply.SHORT if tokens < ask.wanted else Supply.AMPLE
        if self._supply is Supply.SHORT and before is not Supply.AMPLE:
            budget.hold(tokens, ASK_SECONDS, now)
        else:
            budget.add(tokens)
        if self._demand.line:
            self._serve_or_refuse(now)

    def change(self, rate: float, now: float) -> None:
        """Let the table have another rate from now on; those who wait are served by it."""
        self.rate = rate
        if self._pool is not None:
            self._pool.change(rate, rate * BURST_SECONDS, now)

    def _pools_level(self, now: float) -> float | None:
        """Return the most that the pool can have now, None if it may be its whole burst."""
        pool = self._pool
        if pool is None:
            return None
        pool.refill(now)
        return pool.level if pool.level < pool.capacity else None

    def check(self) -> None:
        """Assert the invariants. It holds between any two calls."""
        self._budget.check()
        self._demand.check()
        if self._supply is Supply.AMPLE:
            assert not self._budget.held, "held back, though there is enough"
        else:
            waits_for_word = any(each.until == POOLS_WORD for each in self._demand.line)
            assert not waits_for_word, "waits for a word that was said"
        if self._pool is not None:
            assert self._pool.rate == self.rate, "another rate than the pool's"
