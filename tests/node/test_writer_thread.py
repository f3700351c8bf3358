"""The writer thread: its jobs are done in order, and one that hangs is noticed."""

from __future__ import annotations

import asyncio
import threading

from node.writer_thread import WriterThread


class HungJob:
    """A job that waits for a disk that does not answer yet."""

    def __init__(self, thread: WriterThread) -> None:
        self._begun = threading.Event()
        self._disk_answers = threading.Event()
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        thread.submit(self._run, self._ended.set_result)

    def _run(self) -> None:
        self._begun.set()
        assert self._disk_answers.wait(10)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 10)

    async def end(self) -> None:
        self._disk_answers.set()
        assert await self._ended


def test_job_that_hangs_is_seen_at_every_look_until_it_ends() -> None:
    async def story() -> None:
        thread = WriterThread("test", asyncio.get_running_loop())
        looks = [thread.looks_at_one_job()]
        job = HungJob(thread)
        await job.begun()
        looks += [thread.looks_at_one_job() for _ in range(3)]
        await job.end()
        looks.append(thread.looks_at_one_job())
        await thread.stop()

        assert looks == [0, 1, 2, 3, 0]

    asyncio.run(story())


def test_another_job_each_time_is_no_hang() -> None:
    async def story() -> None:
        thread = WriterThread("test", asyncio.get_running_loop())
        looks = []
        for _ in range(3):
            job = HungJob(thread)
            await job.begun()
            looks.append(thread.looks_at_one_job())
            await job.end()
        await thread.stop()

        assert looks == [1, 1, 1]

    asyncio.run(story())


def test_stop_ends_after_the_last_word_of_what_was_submitted_and_runs_nothing_later() -> None:
    async def story() -> None:
        thread = WriterThread("test", asyncio.get_running_loop())
        told: list[str] = []

        def go_on(stored: bool) -> None:  # noqa: FBT001 - a callback of WriterThread
            assert stored
            told.append("done")
            thread.submit(lambda: told.append("run"), lambda _: told.append("told"))

        thread.submit(lambda: None, go_on)
        await thread.stop()
        for _ in range(3):
            await asyncio.sleep(0)

        assert told == ["done"]

    asyncio.run(story())
