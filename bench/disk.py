"""How much disk the items take: records of several sizes under random keys, loaded twice.

    python -m bench.disk [--mb 200] [--partitions 12]

No cluster: the items store alone, filled by checkpoints as large as a busy node makes them. `live`
is what the tree's pages hold, `file` what the file has become; both for each byte of the records.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from bench import results
from node.checkpoints import MEMTABLES_BYTES_MAX
from node.storage.items import ItemStore, ReplicaCheckpoint
from node.storage.layout import ReplicaState

RECORD_BYTES = (100, 250, 500, 1_000, 1_100, 1_500, 2_000, 4_000, 20_000)
LOADS = 2


def load(items: ItemStore, keys: list[bytes], image: bytes, partitions: int) -> None:
    """Put an image under each key, in checkpoints of as many bytes as memtables may have."""
    in_one = MEMTABLES_BYTES_MAX // len(image)
    for low in range(0, len(keys), in_one):
        parts: dict[int, list[tuple[bytes, bytes]]] = {}
        for key in sorted(keys[low : low + in_one]):
            group = int.from_bytes(key[4:8], "big") * partitions >> 32
            parts.setdefault(group, []).append((key, image))
        state = ReplicaState(low, 1, b"", {})
        items.checkpoint([ReplicaCheckpoint(group, state, part) for group, part in parts.items()])
        items.refresh()


def measure(folder: Path, record_bytes: int, total_bytes: int, partitions: int) -> dict[str, Any]:
    """Return what records of this size, key included, take."""
    rng = Random(record_bytes)
    count = total_bytes // record_bytes
    keys = [b"\0\0\0\1" + rng.randbytes(16) for _ in range(count)]
    image = rng.randbytes(record_bytes - len(keys[0]))
    items = ItemStore.open(folder / str(record_bytes))
    started, used = time.monotonic(), time.process_time()
    for _ in range(LOADS):
        rng.shuffle(keys)
        load(items, keys, image, partitions)
    seconds, processor = time.monotonic() - started, time.process_time() - used
    size_bytes, live_bytes = items.size_bytes(), items.live_bytes()
    items.close()
    return {
        "record_bytes": record_bytes,
        "records": count,
        "live": round(live_bytes / (count * record_bytes), 2),
        "file": round(size_bytes / (count * record_bytes), 2),
        "records_per_second": round(LOADS * count / seconds),
        "processor_us_per_record": round(processor / (LOADS * count) * 1e6, 1),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=200, help="megabytes of records")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    rows = []
    for record_bytes in RECORD_BYTES:
        folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
        try:
            row = measure(folder, record_bytes, options.mb * 1_000_000, options.partitions)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        rows.append(row)
        print(row, flush=True)
    kept = results.append(
        "disk", {"mb": options.mb, "partitions": options.partitions, "rows": rows}
    )
    print(f"kept in {kept}")


if __name__ == "__main__":
    main()
