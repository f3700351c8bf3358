"""Where the fixtures are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FORMAT: Final = Path(__file__).with_name("format_1")
CLUSTER: Final = FORMAT / "cluster.tar.xz"
CONTENTS: Final = FORMAT / "contents.json"
MESSAGES: Final = FORMAT / "messages.json"
PROTOS: Final = FORMAT / "protos.binpb"

PACKED_BYTES_MAX: Final = 400_000
"""Most bytes of a packed cluster. Ours: it is in every clone."""
