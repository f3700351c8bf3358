"""The server's metadata: it goes with the client of its own version, and with no other."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ServerMetadata(MetadataHookInterface):
    """Makes the one dependency, which brings all others."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Pin the client: both are parts of one program."""
        metadata["dependencies"] = [f"quorate[server-dependencies]=={metadata['version']}"]
