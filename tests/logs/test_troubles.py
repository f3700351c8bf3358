"""What goes wrong again and again takes few lines, and they say how often and for how long."""

from __future__ import annotations

from quorate.troubles import LINE_SECONDS, TROUBLES_MAX, Troubles

Line = tuple[str, dict[str, object]]


class Story:
    """Troubles with the reaching of nodes, a clock, and what was said."""

    def __init__(self, *, over: str = "reached") -> None:
        self.now = 100.0
        self.lines: list[Line] = []
        self.troubles = Troubles("not_reached", over, clock=lambda: self.now, say=self._say)

    def _say(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def met_for(self, seconds: float, *, every: float, about: str = "b1") -> None:
        until = self.now + seconds
        while self.now < until:
            self.troubles.met(about, peer=about)
            self.now += every


def test_trouble_has_a_line_when_it_begins_and_one_when_it_is_over() -> None:
    story = Story()
    story.met_for(5.0, every=0.25)
    story.troubles.over("b1", peer="b1")

    assert story.lines == [
        ("not_reached", {"peer": "b1"}),
        ("reached", {"peer": "b1", "times": 20, "seconds": 5.0}),
    ]


def test_trouble_that_lasts_has_a_line_a_minute() -> None:
    story = Story()
    story.met_for(10 * LINE_SECONDS, every=0.25)

    assert len(story.lines) == 10
    assert story.lines[1] == ("not_reached", {"peer": "b1", "times": 241, "seconds": 60.0})


def test_what_was_not_met_for_a_minute_begins_anew() -> None:
    story = Story()
    story.met_for(1.0, every=0.5)
    story.now += LINE_SECONDS
    story.troubles.met("b1", peer="b1")

    assert story.lines == [("not_reached", {"peer": "b1"})] * 2


def test_troubles_with_two_nodes_are_two() -> None:
    story = Story()
    story.met_for(1.0, every=0.5)
    story.met_for(1.0, every=0.5, about="c1")
    story.troubles.over("b1", peer="b1")

    assert [facts["peer"] for _, facts in story.lines] == ["b1", "c1", "b1"]


def test_end_of_what_did_not_begin_is_no_news() -> None:
    story = Story()
    story.troubles.over("b1", peer="b1")

    assert story.lines == []


def test_end_may_be_left_to_another_line() -> None:
    story = Story(over="")
    story.troubles.met("b1")
    story.troubles.over("b1")
    story.troubles.met("b1")

    assert [event for event, _ in story.lines] == ["not_reached"] * 2


def test_strangers_without_number_take_no_more_than_their_room() -> None:
    story = Story()
    for number in range(TROUBLES_MAX + 1):
        story.troubles.met(f"n{number}")
    story.troubles.over("n0")
    story.troubles.over("n1")

    assert [event for event, _ in story.lines[-2:]] == ["not_reached", "reached"]
