"""The scrub: all stored items are read and verified again and again, so that rot is found in time.

An image that nobody reads may rot on one replica after the other. See reliability.md, 5.1: an
unscrubbed flip removes a copy unseen.
"""

from __future__ import annotations

import asyncio
from typing import Final

from node.storage.items import SCRUB_ITEMS_MAX, ItemStore
from node.writer_thread import WriterThread

PASS_SECONDS: Final = 12 * 3600.0
"""Time for one pass over all items. Ours: half of the day in which each should have been read."""

PAUSE_SECONDS_MIN: Final = 0.2
"""Shortest pause between two slices. Ours: a slice takes some 3 ms of the items' thread."""

PAUSE_SECONDS_MAX: Final = 60.0
"""Longest pause between two slices. Ours."""


async def scrub_for_ever(items: ItemStore, thread: WriterThread) -> None:
    """Verify a slice after the other on the items' thread, between its checkpoints.

    A damaged image ends the process there. The first pass has short pauses: what rotted while the
    node was down is found soon after its start.
    """
    pause_seconds = PAUSE_SECONDS_MIN
    while True:
        position: bytes | None = b""
        while position is not None:
            await asyncio.sleep(pause_seconds)
            position = await _scrub_slice(items, thread, position)
        slices = items.item_count() // SCRUB_ITEMS_MAX + 1
        pause_seconds = min(max(PASS_SECONDS / slices, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)


async def _scrub_slice(items: ItemStore, thread: WriterThread, position: bytes) -> bytes | None:
    """Return where the next slice begins, None at the end."""
    reached: list[bytes | None] = []
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    thread.submit(
        lambda: reached.append(items.scrub(position)),
        lambda stored: None if done.cancelled() else done.set_result(stored),
    )
    await done
    return reached[0]
