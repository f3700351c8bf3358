"""What the router's tests share as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.router.signed import KEY_FILE_TEXT


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The cluster's key file, as routers want it."""
    path = tmp_path / "users.key"
    path.write_text(KEY_FILE_TEXT)
    path.chmod(0o600)
    return path
