"""The build hook: generates the wire stubs before an install or a wheel is made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its config type is hatchling's
    """Runs protoc for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:  # noqa: ARG002 - hatchling's signature
        """Generate the stubs into quorate/v1, where wheels and editable installs find them."""
        if self.target_name != "wheel":
            return
        # Loaded by path: a build does not put the project's folder on sys.path.
        spec = importlib.util.spec_from_file_location(
            "quorate_protos", Path(self.root) / "packaging" / "protos.py"
        )
        assert spec is not None
        assert spec.loader is not None
        protos = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(protos)
        protos.generate(Path(self.root))
