"""The scrub of a running node: it goes through all items, and a damaged one ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from model.image import encode_image
from node.exits import STORAGE_ERROR_EXIT
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState

REPOSITORY = Path(__file__).parents[2]

NEEDLE = "the last item of all"

SCRUB = """
import asyncio, sys
from pathlib import Path
from node.scrubber import scrub_for_ever
from node.storage.items import ItemStore
from node.writer_thread import WriterThread

async def main() -> None:
    items = ItemStore.open(Path(sys.argv[1]), map_size_bytes=1 << 26)
    print("open", flush=True)
    sys.stdin.readline()
    thread = WriterThread("items-writer", asyncio.get_running_loop())
    await scrub_for_ever(items, thread)

asyncio.run(main())
"""


def test_scrub_of_a_running_node_finds_the_damaged_item_and_says_what_to_do(tmp_path: Path) -> None:
    """It is the last one of several slices, and sound when the store is opened."""
    items = ItemStore.open(tmp_path / "items", map_size_bytes=1 << 26)
    pairs = [
        ((1).to_bytes(4, "big") + n.to_bytes(16, "big"), encode_image({"v": {"S": text}}, 1))
        for n, text in enumerate(["any"] * 2500 + [NEEDLE])
    ]
    items.checkpoint([ReplicaCheckpoint(1, ReplicaState(1, 1, b"configuration"), pairs)])
    items.close()
    command = [sys.executable, "-c", SCRUB, str(tmp_path / "items")]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        flip(tmp_path / "items" / "data.mdb", NEEDLE.encode())
        _, words = process.communicate("\n", timeout=60)

    assert process.returncode == STORAGE_ERROR_EXIT
    assert "storage_failed" in words
    assert "Keep the directory for analysis" in words


def flip(path: Path, needle: bytes) -> None:
    """Flip a bit behind the back of whoever has the file mapped."""
    at = path.read_bytes().index(needle)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([needle[0] ^ 1]))
