"""A bundle is bounded, sorted, complete or says so, and its owner's alone."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from quorate.bundle.parts import FOLDER, PART_BYTES_MAX, TOTAL_BYTES_MAX, Bundle, plain

NOW = 1_700_000_000.5


def contents(path: Path) -> dict[str, bytes]:
    """Return the parts, in the file's order."""
    with tarfile.open(path) as archive:
        return {
            entry.name.removeprefix(f"{FOLDER}/"): archive.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in archive
        }


def test_the_same_parts_in_any_order_are_the_same_file(tmp_path: Path) -> None:
    files = []
    for number, names in enumerate((("b", "a/c", "a"), ("a", "b", "a/c"))):
        bundle = Bundle(NOW)
        for name in names:
            bundle.add(name, name.encode())
            bundle.miss(f"not {name}")
        files.append(tmp_path / str(number))
        bundle.write(files[-1])

    assert files[0].read_bytes() == files[1].read_bytes()
    parts = list(contents(files[0]))
    assert parts == sorted(parts)


def test_what_is_missing_is_in_the_file(tmp_path: Path) -> None:
    bundle = Bundle(NOW)
    bundle.add_json("some.json", {"a": 1})
    bundle.miss("b1 does not answer")
    bundle.miss("a1 does not answer")
    bundle.miss("b1 does not answer")
    bundle.write(tmp_path / "out")

    parts = contents(tmp_path / "out")
    assert parts["missing.txt"] == b"a1 does not answer\nb1 does not answer\n"
    manifest = json.loads(parts["manifest.json"])
    assert manifest["made_at"] == "2023-11-14T22:13:20Z"
    assert manifest["missing"] == bundle.missing
    assert manifest["parts"] == {"some.json": len(parts["some.json"])}


def test_nothing_missing_is_said_too(tmp_path: Path) -> None:
    Bundle(NOW).write(tmp_path / "out")

    assert contents(tmp_path / "out")["missing.txt"] == b"nothing\n"


@pytest.mark.parametrize(("tail", "kept"), [(False, b"begin"), (True, b"x-end")])
def test_a_part_that_is_too_large_is_cut(
    tmp_path: Path,
    tail: bool,  # noqa: FBT001 - a parameter of the test
    kept: bytes,
) -> None:
    bundle = Bundle(NOW)
    bundle.add("large", b"begin" + bytes(PART_BYTES_MAX) + b"x-end", tail=tail)
    bundle.write(tmp_path / "out")

    part = contents(tmp_path / "out")["large"]
    assert len(part) == PART_BYTES_MAX
    assert kept in part
    assert bundle.missing[0].startswith("large: ")


def test_all_parts_together_are_bounded(tmp_path: Path) -> None:
    bundle = Bundle(NOW)
    count = TOTAL_BYTES_MAX // PART_BYTES_MAX
    for number in range(count + 1):
        bundle.add(f"part-{number}", bytes(PART_BYTES_MAX))
    bundle.add("empty", b"")
    bundle.write(tmp_path / "out")

    parts = contents(tmp_path / "out")
    assert f"part-{count}" not in parts
    assert {f"part-{count - 1}", "empty"} <= set(parts)
    assert bundle.missing == [f"part-{count}: left out, for the bundle is full (64 MiB)"]


def test_the_file_is_its_owners_and_nothing_is_overwritten(tmp_path: Path) -> None:
    Bundle(NOW).write(tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600

    with pytest.raises(FileExistsError):
        Bundle(NOW).write(tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["a1", "127.0.0.1:7300", "[::1]:7300", "../../etc/passwd", "..", ".", "", "/x", "a\nb"]
)
def test_a_name_stays_in_its_folder(name: str) -> None:
    """Names and addresses are somebody else's."""
    assert "/" not in plain(name)
    assert "\n" not in plain(name)
    assert plain(name) not in ("", ".", "..")
