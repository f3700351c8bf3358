"""Errands end with their block, and none is begun after that, whoever asks for one."""

from __future__ import annotations

import asyncio

import pytest

from node.errands import Errands


class Diary:
    """What errands did: each waits until it is ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def work(self, name: str) -> None:
        self.begun.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(name)


async def fail() -> None:
    raise ValueError("the first")


def test_errand_that_is_started_when_they_are_over_never_begins() -> None:
    async def story() -> None:
        diary = Diary()
        async with Errands() as errands:
            errands.start(diary.work("early"))
            await asyncio.sleep(0)
            await errands.end()
            assert diary.ended == ["early"]
            errands.start(diary.work("late"))
        errands.start(diary.work("last"))
        await errands.end()

        assert diary.begun == ["early"]

    asyncio.run(story())


def test_errand_may_be_ended_early_and_the_others_go_on() -> None:
    async def story() -> None:
        diary = Diary()
        async with Errands() as errands:
            end = errands.start(diary.work("one"))
            errands.start(diary.work("other"))
            await asyncio.sleep(0)
            end()
            await asyncio.sleep(0)

            assert diary.ended == ["one"]
        assert diary.ended == ["one", "other"]

    asyncio.run(story())


def test_error_in_an_errand_ends_the_block_and_hides_behind_no_other() -> None:
    async def story() -> None:
        async with Errands() as errands:
            errands.start(fail())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(story())

    assert [str(error) for error in caught.value.exceptions] == ["the first"]


def test_errand_that_is_started_when_another_has_failed_never_begins_either() -> None:
    """As by the host, in a turn that comes before the block has heard of the failure."""
    diary = Diary()
    unexpected: list[object] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unexpected.append(context))

        async def fail_before_a_turn() -> None:
            loop.call_soon(loop.call_soon, lambda: errands.start(diary.work("late")))
            await fail()

        async with Errands() as errands:
            errands.start(fail_before_a_turn())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup):
        asyncio.run(story())

    assert diary.begun == []
    assert unexpected == []
