"""A router tells its own sleep: by its clock, and where that stood still, by the nodes'."""

from __future__ import annotations

from router.wakefulness import SLEEP_SECONDS, Wakefulness


class Story:
    """A router with a clock of its own, and two nodes whose clocks go as the world's."""

    def __init__(self) -> None:
        self.world = 1_000.0
        self.behind = 0.0  # how much the router's clock has stood still
        self.sleeps: list[float] = []
        self.wakefulness = Wakefulness(lambda: self.world - self.behind, self.sleeps.append)

    def run(self, seconds: float) -> None:
        """Let the loop run for a while, with its ticks."""
        until = self.world + seconds
        while self.world < until:
            self.world += 0.025
            self.wakefulness.look()

    def hear(self, node_id: int = 1, *, late: float = 0.0, offset: float = 0.0) -> None:
        """Take a reply that was so long on its way, from a node whose clock is so much ahead."""
        self.wakefulness.heard(node_id, int((self.world - late + offset) * 1000))

    def suspend(self, seconds: float) -> None:
        self.world += seconds
        self.behind += seconds


def test_loop_that_stood_still_has_slept_once() -> None:
    story = Story()
    story.run(1)
    story.world += 70

    story.run(1)

    assert [round(seconds) for seconds in story.sleeps] == [70]


def test_reply_that_comes_before_the_first_tick_tells_of_the_sleep() -> None:
    story = Story()
    story.hear()
    story.run(1)
    story.world += 70

    story.hear(late=70)

    assert [round(seconds) for seconds in story.sleeps] == [70]


def test_busy_loop_has_not_slept() -> None:
    story = Story()
    for _ in range(20):
        story.world += SLEEP_SECONDS - 0.1
        story.hear()

    assert not story.sleeps


def test_suspended_machine_learns_of_it_from_the_first_fresh_reply() -> None:
    """One that was sent before the sleep says nothing of it."""
    story = Story()
    for _ in range(5):
        story.run(0.5)
        story.hear(1)
        story.hear(2, offset=-400)
    story.suspend(70)

    story.hear(1, late=70)
    assert not story.sleeps
    story.run(0.1)
    story.hear(1)
    story.hear(2, offset=-400)

    assert [round(seconds) for seconds in story.sleeps] == [70]


def test_late_replies_are_no_sleep() -> None:
    """A reply that was held up shows a clock behind, and the next one is ahead of that only."""
    story = Story()
    story.hear()
    for late in (0.0, 8.0, 0.0, 30.0, 0.1):
        story.run(1)
        story.hear(late=late)

    assert not story.sleeps


def test_node_that_comes_back_goes_on_telling() -> None:
    """Its clock begins at the wall's, whatever its machine's counted from."""
    story = Story()
    story.hear()
    story.suspend(70)

    story.hear(offset=0.4)

    assert [round(seconds) for seconds in story.sleeps] == [70]


def test_clocks_that_drift_apart_are_no_sleep() -> None:
    story = Story()
    for number in range(3_000):
        story.world += 2.0
        story.hear(1, offset=number * 2.0 * 0.0002)
        story.hear(2, offset=number * -2.0 * 0.0002)

    assert not story.sleeps
