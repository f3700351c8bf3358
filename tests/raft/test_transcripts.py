"""Replicas say to each other what the transcripts say."""

from pathlib import Path

import pytest

from tests.raft.transcripts import replay, transcripts


@pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
def test_conversation_is_as_written(path: Path) -> None:
    """Run `python -m tests.raft.transcripts` and look at the diff if it should be another one."""
    text = path.read_text(encoding="utf-8")

    assert replay(text) == text
