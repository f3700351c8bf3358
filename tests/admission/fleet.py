"""A fleet of routers and one table's pool, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

from node.capacity_pool import Pool
from node.machine.throughput import DEFAULT_LIMITS
from quorate.cluster.token_bucket import BURST_SECONDS, TokenBucket
from router.admission.lease import ASK_SECONDS, Lease

STEP_SECONDS = 0.01
DELAY_SECONDS = 0.02
CAP = DEFAULT_LIMITS.write_units
"""Of one partition."""


class Fleet:
    """Routers ask every ASK_SECONDS, each at its own moment, and when they spend on credit.

    Answers take DELAY_SECONDS; meanwhile nothing else is asked.
    """

    def __init__(
        self,
        routers: int,
        rate: float,
        *,
        seed: int = 1,
        level: float = 0.0,
        partitions: Sequence[float] = (),
    ) -> None:
        """`partitions` are the shares of the requests that each partition gets; none: no caps."""
        self.rng = Random(seed)
        self.now = 1000.0
        self.rate = rate
        self.pool: Pool | None = Pool(rate, level, self.now)
        self.pool_is_due = False
        self.leases = {f"r{place}": Lease(rate, self.now) for place in range(routers)}
        self.ask_at = {name: self.now + self.rng.uniform(0, ASK_SECONDS) for name in self.leases}
        self.asking: set[str] = set()
        self.answers: list[tuple[float, Callable[[], None]]] = []
        self.admitted = dict.fromkeys(self.leases, 0.0)
        self.refused = dict.fromkeys(self.leases, 0.0)
        self.throttled_at_partitions = 0.0
        self.shares = list(accumulate(partitions))
        self.buckets = [TokenBucket(CAP, CAP * BURST_SECONDS, 0.0, self.now) for _ in partitions]
        self.admitted_at = [0.0] * len(partitions)
        self.owed = dict.fromkeys(self.leases, 0.0)

    def run(
        self, seconds: float, offered: Callable[[str, float], float], units: float = 1
    ) -> float:
        """Offer each router so many units a second, in operations of `units`.

        Returns the units admitted.
        """
        before = sum(self.admitted.values())
        until = self.now + seconds
        while self.now < until - STEP_SECONDS / 2:
            self.now += STEP_SECONDS
            due = [act for at, act in self.answers if at <= self.now]
            self.answers = [(at, act) for at, act in self.answers if at > self.now]
            for act in due:
                act()
            for name, lease in self.leases.items():
                self.owed[name] += offered(name, self.now) * STEP_SECONDS
                while self.owed[name] >= units:
                    self.owed[name] -= units
                    self._offer(name, lease, units)
                if self.now >= self.ask_at[name]:
                    self.ask_at[name] += ASK_SECONDS
                    self._ask(name, lease)
                elif lease.on_credit and name not in self.asking:
                    self._ask(name, lease)
                lease.check()
        return sum(self.admitted.values()) - before

    def _offer(self, name: str, lease: Lease, units: float) -> None:
        if not lease.admit(units, self.now):
            if lease.is_undecided:
                lease.wait(units, lambda _: self._offer(name, lease, units))
            else:
                lease.refuse(units)
                self.refused[name] += units
        elif self._is_served(units):
            self.admitted[name] += units
        else:
            lease.spend(-units)
            self.throttled_at_partitions += units

    def _is_served(self, units: float) -> bool:
        """Whether the partition that a request goes to serves it, too."""
        if not self.buckets:
            return True
        (place,) = self.rng.choices(range(len(self.buckets)), cum_weights=self.shares)
        bucket = self.buckets[place]
        bucket.refill(self.now)
        if bucket.level <= 0:
            return False
        bucket.settle(units)
        self.admitted_at[place] += units
        return True

    def lose_pool(self) -> None:
        """The catalog's leader dies: questions go unanswered."""
        self.pool = None

    def elect_pool(self) -> None:
        """Another leader: its pool begins full, less what the routers remember."""
        self.pool_is_due = True

    def change_rate(self, rate: float) -> None:
        """Everybody hears of another rate at once."""
        self.rate = rate
        for lease in self.leases.values():
            lease.change(rate, self.now)

    def kill(self, name: str) -> None:
        del self.leases[name]

    def _ask(self, name: str, lease: Lease) -> None:
        ask = lease.tick(self.now)
        if ask is None or name in self.asking:
            return
        if self.pool_is_due:
            self.pool_is_due = False
            self.pool = Pool(self.rate, self.rate * BURST_SECONDS, self.now)
        pool = self.pool
        if pool is None:
            return
        pool.change(self.rate, self.now)
        tokens = pool.grant(
            name, wanted=ask.wanted, returned=ask.returned, level=ask.level, now=self.now
        )
        level = pool.level
        answer_at = self.now + DELAY_SECONDS
        self.asking.add(name)

        def answer() -> None:
            self.asking.remove(name)
            if name in self.leases:
                lease.granted(ask, tokens, level, self.now)
                lease.check()

        self.answers.append((answer_at, answer))
