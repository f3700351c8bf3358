"""The parts of a bundle, bounded in size, what is missing from it, and how it becomes a file."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import time
from pathlib import Path
from typing import Final

from quorate import __version__

FORMAT: Final = 1
"""Version of the layout. Ours."""

FOLDER: Final = "quorate-debug"
"""The folder that all parts are in."""

PART_BYTES_MAX: Final = 8 << 20
"""Largest part. Ours: the metrics of a router with very many tables fit."""

TOTAL_BYTES_MAX: Final = 64 << 20
"""Most of all parts together, before compression. Ours: it can still be sent by mail."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def plain(name: str) -> str:
    """Return a name that is safe as one component of a path."""
    return _NOT_PLAIN.sub("_", name).lstrip(".") or "_"


class Bundle:
    """Collects parts in any order; the file has them sorted, so that two can be compared."""

    def __init__(self, made_at: float) -> None:
        self._made_at = int(made_at)
        self._parts: dict[str, bytes] = {}
        self._size_bytes = 0
        self._missing: list[str] = []

    @property
    def missing(self) -> list[str]:
        """What could not be had, a sentence each."""
        return sorted(set(self._missing))

    def miss(self, sentence: str) -> None:
        """Note that something is not in it, and why."""
        self._missing.append(sentence)

    def add(self, name: str, content: bytes, *, tail: bool = False) -> None:
        """Add a part; of one that is too large the beginning is kept, or with `tail` the end."""
        if len(content) > PART_BYTES_MAX:
            kept = "end" if tail else "beginning"
            self.miss(f"{name}: {len(content):,} bytes, of which only the {kept} is here")
            content = content[-PART_BYTES_MAX:] if tail else content[:PART_BYTES_MAX]
        if self._size_bytes + len(content) > TOTAL_BYTES_MAX:
            self.miss(f"{name}: left out, for the bundle is full ({TOTAL_BYTES_MAX >> 20} MiB)")
            return
        self._size_bytes += len(content)
        self._parts[name] = content

    def add_json(self, name: str, document: object) -> None:
        """Add a part as JSON for people and programs."""
        self.add(name, json.dumps(document, indent=2, sort_keys=True).encode() + b"\n")

    def write(self, path: Path) -> int:
        """Write the file, its owner's alone, and return its size. Raises OSError."""
        missing = "".join(f"{sentence}\n" for sentence in self.missing)
        manifest = {
            "format": FORMAT,
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._made_at)),
            "quorate": __version__,
            "parts": {name: len(content) for name, content in self._parts.items()},
            "missing": self.missing,
        }
        parts = {
            **self._parts,
            "missing.txt": missing.encode() or b"nothing\n",
            "manifest.json": json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n",
        }
        packed = self._pack(parts)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(packed)
        return len(packed)

    def _pack(self, parts: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=self._made_at) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in sorted(parts):
                entry = tarfile.TarInfo(f"{FOLDER}/{name}")
                entry.size, entry.mtime, entry.mode = len(parts[name]), self._made_at, 0o600
                archive.addfile(entry, io.BytesIO(parts[name]))
        return out.getvalue()
