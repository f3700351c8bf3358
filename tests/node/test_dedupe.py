"""The window of recent request ids: what it remembers, how long, and as which bytes."""

from __future__ import annotations

from random import Random

import pytest

from node.machine import dedupe
from node.machine.dedupe import DedupeWindow, Generation, decode_generation
from quorate.cluster.outcome import Outcome


def request_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def remember(
    window: DedupeWindow, number: int, *, answer: bytes = b"", refusal: Outcome = Outcome.OK
) -> None:
    answers = {request_id(number): answer} if answer else {}
    refusals = {request_id(number): refusal} if refusal is not Outcome.OK else {}
    window.add([request_id(number)], [number % 100], refusals, answers)


def random_generation(seed: int) -> Generation:
    random = Random(seed)
    count = random.choice([0, 1, 2, 50])
    ids = [random.randbytes(16) for _ in range(count)]
    refusals = {each: random.randrange(20) for each in ids if random.random() < 0.3}
    answers = {
        each: random.randbytes(random.randrange(40)) for each in ids if random.random() < 0.4
    }
    units = [random.randrange(1 << 32) for _ in ids]
    return Generation(random.randrange(1, 1 << 32), None, ids, units, refusals, answers)


@pytest.mark.parametrize("seed", range(20))
def test_generation_is_read_as_it_was_written(seed: int) -> None:
    generation = random_generation(seed)

    assert decode_generation(generation.number, generation.encode()) == generation


@pytest.mark.parametrize("seed", range(8))
def test_generation_cut_short_anywhere_is_refused(seed: int) -> None:
    encoded = random_generation(seed).encode()

    for length in range(len(encoded)):
        with pytest.raises(ValueError, match="dedupe generation 7"):
            decode_generation(7, encoded[:length])


def test_generation_with_bytes_after_its_end_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        decode_generation(1, random_generation(1).encode() + b"\0")


@pytest.mark.timeout(5)
def test_generation_that_claims_billions_of_ids_is_refused_at_once() -> None:
    """A damaged count must not make the node build as many ids first."""
    encoded = bytearray(random_generation(1).encode())
    encoded[0:4] = b"\xff\xff\xff\xff"

    with pytest.raises(ValueError, match="dedupe generation 1"):
        decode_generation(1, bytes(encoded))


def test_answer_of_an_id_that_is_not_there_is_refused() -> None:
    generation = Generation(1, 5, [request_id(1)], [1], {}, {request_id(1): b"x"})
    encoded = bytearray(generation.encode())
    encoded[-9:-5] = (9).to_bytes(4, "big")

    with pytest.raises(ValueError, match="damaged"):
        decode_generation(1, bytes(encoded))


def test_window_gives_units_and_answer_of_a_remembered_id() -> None:
    window = DedupeWindow()
    remember(window, 1)
    remember(window, 2, answer=b"old")

    remember(window, 3, answer=b"item", refusal=Outcome.CONDITION_FAILED)

    assert window.find(request_id(1)) == (Outcome.OK, 1, b"")
    assert window.find(request_id(2)) == (Outcome.OK, 2, b"old")
    assert window.find(request_id(3)) == (Outcome.CONDITION_FAILED, 3, b"item")
    assert window.find(request_id(4)) is None
    assert len(window) == 3


def test_window_recovered_from_its_generations_knows_the_same() -> None:
    window = DedupeWindow()
    stored = []
    for number in range(1, 40):
        refusal = Outcome.INVALID if number % 5 == 0 else Outcome.OK
        remember(window, number, answer=b"a" * (number % 3), refusal=refusal)
        if number % 7 == 0:
            closed, _ = window.rotate(now=0.0)
            assert closed is not None
            stored.append((closed.number, closed.encode()))

    recovered = DedupeWindow([decode_generation(number, raw) for number, raw in stored])

    assert len(recovered) == 35
    for number in range(1, 36):
        assert recovered.find(request_id(number)) == window.find(request_id(number))
    assert recovered.find(request_id(36)) is None


def test_generation_numbers_rise_after_recovery() -> None:
    """A number is a key in the items store: used twice it would overwrite."""
    recovered = DedupeWindow([Generation(8, None, [request_id(1)], [1])])
    remember(recovered, 2)

    closed, _ = recovered.rotate(now=0.0)

    assert closed is not None
    assert closed.number == 9


def test_empty_generation_is_not_stored() -> None:
    window = DedupeWindow()

    assert window.rotate(now=0.0) == (None, [])
    remember(window, 1)
    closed, _ = window.rotate(now=0.0)
    assert closed is not None
    assert window.rotate(now=0.0) == (None, [])


def test_generation_older_than_the_window_is_forgotten_whole() -> None:
    window = DedupeWindow()
    remember(window, 1)
    remember(window, 2)
    window.rotate(now=0.0)
    remember(window, 3)
    assert window.rotate(now=30.0)[1] == []
    remember(window, 4)

    _, forgotten = window.rotate(now=dedupe.WINDOW_SECONDS + 0.1)

    assert forgotten == [1]
    assert [window.find(request_id(number)) is None for number in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        False,
    ]


def test_id_is_remembered_for_the_whole_window() -> None:
    """At least so long: the time at which its generation was closed decides."""
    window = DedupeWindow()
    remember(window, 1)
    window.rotate(now=50.0)
    remember(window, 2)
    window.rotate(now=55.0)
    remember(window, 3)
    window.rotate(now=50.0 + dedupe.WINDOW_SECONDS)

    assert window.find(request_id(1)) is not None


def test_recovered_generation_counts_from_when_it_is_first_looked_at() -> None:
    """A process's clock says nothing about another's: too long is safe, too short is not."""
    recovered = DedupeWindow([Generation(1, None, [request_id(1)], [1])])
    remember(recovered, 2)
    recovered.rotate(now=1_000_000.0)
    remember(recovered, 3)

    assert recovered.rotate(now=1_000_000.0 + dedupe.WINDOW_SECONDS)[1] == []
    remember(recovered, 4)
    assert recovered.rotate(now=1_000_000.1 + dedupe.WINDOW_SECONDS)[1] == [1, 2]


def test_window_that_is_full_says_so_and_forgets_no_id_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dedupe, "IDS_MAX", 10)
    window = DedupeWindow()
    for number in range(10):
        assert not window.is_full
        remember(window, number)
        window.rotate(now=0.0)

    window.forget_old(now=dedupe.WINDOW_SECONDS)
    assert window.is_full
    assert window.find(request_id(0)) is not None

    window.forget_old(now=dedupe.WINDOW_SECONDS + 0.1)
    assert not window.is_full
    assert window.rotate(now=dedupe.WINDOW_SECONDS + 0.1)[1] == list(range(1, 11))


def test_answers_are_forgotten_before_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is told how the write ended, and never done again."""
    monkeypatch.setattr(dedupe, "ANSWERS_BYTES_MAX", 1_000)
    window = DedupeWindow()
    remember(window, 0, answer=b"x" * 200)
    remember(window, 1, answer=b"item", refusal=Outcome.CONDITION_FAILED)
    for number in range(2, 20):
        remember(window, number, answer=b"x" * 200)
        window.rotate(now=0.0)

    assert window.find(request_id(0)) == (Outcome.OK, 0, b"")
    assert window.find(request_id(1)) == (Outcome.CONDITION_FAILED, 1, b"")
    assert window.find(request_id(14)) == (Outcome.OK, 14, b"")
    assert window.find(request_id(15)) == (Outcome.OK, 15, b"x" * 200)
    assert len(window) == 20


def test_one_answer_above_the_bound_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedupe, "ANSWERS_BYTES_MAX", 100)
    window = DedupeWindow()
    remember(window, 1, answer=b"x" * 200)

    assert window.find(request_id(1)) == (Outcome.OK, 1, b"")


def test_id_that_its_leader_had_forgotten_earlier_counts_anew() -> None:
    """Each replica forgets by its own clock; what is used again must not go with its first use."""
    window = DedupeWindow()
    remember(window, 1, answer=b"first", refusal=Outcome.CONDITION_FAILED)
    remember(window, 2)
    first, _ = window.rotate(now=0.0)
    window.add([request_id(1)], [7], {}, {request_id(1): b"second"})
    second, _ = window.rotate(now=50.0)

    assert window.find(request_id(1)) == (Outcome.OK, 7, b"second")
    window.rotate(now=dedupe.WINDOW_SECONDS + 1)
    assert window.find(request_id(1)) == (Outcome.OK, 7, b"second")
    assert window.find(request_id(2)) is None

    assert first is not None
    assert second is not None
    stored = [decode_generation(each.number, each.encode()) for each in (first, second)]
    recovered = DedupeWindow(stored)
    assert recovered.find(request_id(1)) == (Outcome.OK, 7, b"second")
    assert len(recovered) == 2
