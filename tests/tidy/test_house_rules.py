"""House rules that no linter knows. Each failure names the place and what to write instead."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]

PACKAGES: Final = ("raft", "model", "node", "router", "quorate")
OUR_FOLDERS: Final = (*PACKAGES, "bench", "packaging", "tests", "proto", "docs", "deploy", ".ci")
TEXT_SUFFIXES: Final = (".py", ".proto", ".md", ".toml", ".yml", ".yaml", ".sh", ".json", "")

FILE_LINES_MAX: Final = 600
FUNCTION_LINES_MAX: Final = 70

# A ratchet: these were longer when the rule came, may shrink, and may not grow.
LONGER_FILES: Final[dict[str, int]] = {}
LONGER_FUNCTIONS: Final = {"node/machine/leadership.py:evaluate": 74}

REFUSED_STEMS: Final = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

# Hosts that a document or a message may name. Anything else is somebody's machine, or a registry.
HOSTS_ALLOWED: Final = (
    "127.0.0.1",
    "localhost",
    "0.0.0.0",
    "www.apache.org",
    "www.debian.org",
    "docs.aws.amazon.com",
    "json-schema.org",
    "keepachangelog.com",
    "semver.org",
    "raft.github.io",
)


def is_generated(path: Path) -> bool:
    return "_pb2" in path.name or "__pycache__" in path.parts


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Return (path in the repository, text) of every file that people write."""
    files = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    for folder in OUR_FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return tuple(
        (str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted(files)
        if path.suffix in TEXT_SUFFIXES and not is_generated(path)
    )


def python_texts(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of Python files, of these folders only if any are given."""
    for path, text in texts():
        if path.endswith(".py") and (
            not folders or path.startswith(tuple(f"{f}/" for f in folders))
        ):
            yield path, text


def lines_matching(pattern: str, found: Iterator[tuple[str, str]]) -> list[str]:
    """Return `path:line: text` of each line that matches."""
    compiled = re.compile(pattern)
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in found
        for number, line in enumerate(text.splitlines(), start=1)
        if compiled.search(line)
    ]


def without_this_file() -> Iterator[tuple[str, str]]:
    own = str(Path(__file__).resolve().relative_to(ROOT))
    return ((path, text) for path, text in texts() if path not in {own, "LICENSE"})


def test_files_stay_small() -> None:
    """Split a file by duty before it grows past the budget."""
    over = []
    for path, text in python_texts(*PACKAGES):
        count, budget = text.count("\n"), LONGER_FILES.get(path, FILE_LINES_MAX)
        if count > budget:
            over.append(f"{path} has {count} lines, its budget is {budget}")

    assert over == []


def test_functions_fit_on_a_screen() -> None:
    """Push ifs up and fors down; give a part of it a name."""
    over = []
    for path, text in python_texts(*PACKAGES):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                count = node.end_lineno - node.lineno + 1
                budget = LONGER_FUNCTIONS.get(f"{path}:{node.name}", FUNCTION_LINES_MAX)
                if count > budget:
                    over.append(f"{path}:{node.lineno} {node.name} has {count} lines")

    assert over == []


def test_the_ratchet_has_no_slack_left_behind() -> None:
    """A file that has become small again leaves the list of exceptions."""
    lines = {path: text.count("\n") for path, text in python_texts(*PACKAGES)}

    assert [path for path in LONGER_FILES if lines.get(path, 0) <= FILE_LINES_MAX] == []


def test_files_are_named_after_a_thing() -> None:
    """Name the file after what is in it."""
    refused = [path for path, _ in python_texts() if Path(path).stem in REFUSED_STEMS]

    assert refused == []


def test_nothing_is_left_to_be_done_later() -> None:
    """Do it, or open an issue and say nothing here."""
    pattern = r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b"

    assert lines_matching(pattern, without_this_file()) == []


def test_no_machine_is_mentioned() -> None:
    """Paths are relative to the repository, or the reader's to choose."""
    pattern = r"(?<![\w.{}$/-])/(work|root|home|Users|opt)/\w"

    assert lines_matching(pattern, without_this_file()) == []


def test_no_stranger_hosts_are_mentioned() -> None:
    """A host is loopback, an example (RFC 2606), or a document that we cite."""
    strangers = []
    for path, text in without_this_file():
        for number, line in enumerate(text.splitlines(), start=1):
            for host in re.findall(r"https?://([\w.-]+)", line):
                known = host in HOSTS_ALLOWED or re.search(r"(^|\.)example(\.\w+)?$", host)
                if not known and "." in host:
                    strangers.append(f"{path}:{number}: {host}")

    assert strangers == []


def test_nothing_is_raised_inside_except_star() -> None:
    """Raise after the block: Python 3.11.2, Debian 12's, makes a group of what is raised inside."""
    found = []
    for path, text in python_texts():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.TryStar):
                for handler in node.handlers:
                    found += [
                        f"{path}:{inner.lineno}"
                        for inner in ast.walk(handler)
                        if isinstance(inner, ast.Raise)
                    ]

    assert found == []


def test_placement_never_depends_on_the_salted_hash() -> None:
    """Python's hash differs from process to process: use hashlib.blake2b."""
    found = []
    for path, text in python_texts(*PACKAGES):
        for node in ast.walk(ast.parse(text)):
            is_hash = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "hash"
            )
            if is_hash:
                found.append(f"{path}:{node.lineno}")  # type: ignore[attr-defined]

    assert found == []


def test_lmdb_is_opened_in_one_folder_only() -> None:
    """Go through node.storage."""
    found = lines_matching(r"^\s*(import lmdb|from lmdb)", python_texts(*PACKAGES))

    assert [line for line in found if not line.startswith("node/storage/")] == []


def test_every_module_says_what_it_is_for() -> None:
    """Begin with a docstring: its duty, and what is deliberately absent."""
    silent = [
        path
        for path, text in python_texts()
        if text.strip() and ast.get_docstring(ast.parse(text)) is None
    ]

    assert silent == []


def test_asserts_are_never_compiled_out() -> None:
    """Nothing of ours runs Python with -O: our asserts are safety checks."""
    pattern = r"python[\d.]* -O|PYTHONOPTIMIZE="

    assert lines_matching(pattern, without_this_file()) == []


def test_dependencies_have_an_upper_bound() -> None:
    """A new major release is taken after the suite has run with it."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())

    unbounded = [name for name in document["project"]["dependencies"] if "<" not in name]

    assert unbounded == []


def test_the_stubs_are_made_by_the_release_that_runs_them() -> None:
    """Stubs refuse a grpcio older than the tools that made them."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = next(r for r in document["build-system"]["requires"] if r.startswith("grpcio-tools"))
    version = tools.removeprefix("grpcio-tools==")

    assert f"grpcio>={version},<2" in document["project"]["dependencies"]
    assert f"grpcio-tools=={version}" in document["project"]["optional-dependencies"]["dev"]


@pytest.mark.parametrize("target", ["up", "demo", "bench", "test", "check", "proto", "clean"])
def test_make_lists_its_targets(target: str) -> None:
    """`make` alone prints each target that has a description."""
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE)


def test_every_lint_exception_has_a_reason() -> None:
    """Write why beside each ignored rule."""
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    ignores = section[section.index("ignore = [") :]

    bare = [
        line
        for line in ignores.splitlines()
        if re.match(r'\s+"[A-Z]+\d*"', line) and "#" not in line
    ]

    assert bare == []
