"""A dedicated thread for the writes of one LMDB environment.

LMDB wants a write transaction to begin and end on one thread, and an unexpected error from a
commit must end the process: LMDB does not latch it, the next commit would "succeed".
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from node.exits import BUG_EXIT, STORAGE_ERROR_EXIT
from node.logs import die
from node.storage.errors import StorageError, StorageFull

Job = Callable[[], None]
Done = Callable[[bool], None]


class WriterThread:
    """Runs jobs in order; the queue is bounded by its callers, who have one job each in flight."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread."""
        self._loop = loop
        self.name = name
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._begun = 0  # jobs, counted by the thread
        self._ended = 0
        self._looked_at = 0
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run `job` on the thread, then `done(True)` on the loop; `done(False)` on StorageFull."""
        self._jobs.put((job, done))

    def looks_at_one_job(self) -> int:
        """Return how many calls of this, up to now, have found the same job under way; 0 if none.

        Looks rather than seconds: a process that was paused has not looked.
        """
        begun = self._begun
        if begun == self._ended:
            self._looks = 0
        elif begun == self._looked_at:
            self._looks += 1
        else:
            self._looks = 1
        self._looked_at = begun
        return self._looks

    def all_done(self) -> asyncio.Future[bool]:
        """Return what is awaited until all jobs submitted so far are done and their `done` called.

        Its result is True.
        """
        done: asyncio.Future[bool] = self._loop.create_future()
        self.submit(lambda: None, done.set_result)
        return done

    async def stop(self) -> None:
        """End the thread when all jobs submitted so far are done: it runs no later ones."""
        done = self.all_done()
        self._jobs.put(None)
        await done
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            self._begun += 1
            try:
                job()
            except StorageFull:
                stored = False
            except StorageError as error:
                die(STORAGE_ERROR_EXIT, "storage_failed", error=error)
            except BaseException as error:  # noqa: BLE001 - a bug; nothing may go on after it
                die(BUG_EXIT, "bug", error=repr(error))
            else:
                stored = True
            self._ended += 1
            self._loop.call_soon_threadsafe(done, stored)
