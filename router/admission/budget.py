"""What one router may spend of a table's capacity: tokens that it has leased, and its debts."""

from __future__ import annotations

from typing import Final

LEASE_SECONDS: Final = 2.0
"""How long leased tokens are good for; then they go back to the pool. Ours."""


class Budget:
    """Leased tokens: some may be spent now, some are held for the rest of a round.

    Invariants: `held` >= 0, and what is held has a rate at which it is released; `returned` >= 0.
    """

    __slots__ = (
        "_release_rate",
        "_released_at",
        "expires_at",
        "held",
        "returned",
        "tokens",
    )

    def __init__(self, now: float) -> None:
        self.tokens = 0.0  # may be spent now; negative is owed
        self.held = 0.0  # to be spent later
        self.returned = 0.0  # was not spent in time, and the pool has not heard so
        self.expires_at = now
        self._release_rate = 0.0
        self._released_at = now

    @property
    def left(self) -> float:
        """What may be spent now and later; negative is owed."""
        return self.tokens + self.held

    @property
    def is_even(self) -> bool:
        """Whether nothing is left, owed or to be given back."""
        return self.tokens == self.held == self.returned == 0

    def add(self, tokens: float) -> None:
        """Let tokens be spent now, and with them all that was held."""
        self.tokens += self.held + tokens
        self.held = 0.0

    def hold(self, tokens: float, seconds: float, now: float) -> None:
        """Pay what is owed; let the rest, and what is still held, be spent evenly over a time.

        Of a table that wants more than it has, each round's tokens would else be spent as soon as
        they come, and whoever else is at the nodes would wait behind so many at once.
        """
        self.release(now)
        owed = min(tokens, max(0.0, -self.tokens))
        self.tokens += owed
        self.held += tokens - owed
        self._release_rate = self.held / seconds

    def release(self, now: float) -> None:
        """Let be spent what was held until now."""
        released = min(self.held, (now - self._released_at) * self._release_rate)
        self.held -= released
        self.tokens += released
        self._released_at = now

    def renew(self, now: float) -> None:
        """Let what is left be good for another while."""
        self.expires_at = now + LEASE_SECONDS

    def expire(self, now: float) -> None:
        """Give back what is left when its time is up."""
        if now >= self.expires_at and self.left > 0:
            self.returned += self.left
            self.tokens = self.held = 0.0

    def forget_returned(self, tokens: float) -> None:
        """The pool has tokens back.

        Those of a lease before this one it may have, too: the table had no limit in between.
        """
        self.returned = max(0.0, self.returned - tokens)

    def check(self) -> None:
        """Assert the invariants."""
        assert self.held >= 0, self.held
        assert not self.held or self._release_rate > 0, "what is held would never be spent"
        assert self.returned >= 0, self.returned
