"""Fuzzes one target with atheris: `python -m tests.fuzz NAME --seconds 600`; see `make fuzz`.

New inputs go to a folder of the machine's, not to the corpus: take in what is worth it, made small
by hand. What is found lies in the working directory, as libFuzzer's crash-... files.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["model", "router", "quorate.security"]):
    from tests.fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).parent / "corpus"

SECONDS_MAX: Final = 0.05
"""Longest time that one input may take, uninstrumented. Source: the project's reliability goals."""

INSTRUMENTED_SLOWDOWN: Final = 3
"""How much slower the code is while atheris watches it. Measured: 2, of the corpus's slowest."""

INPUT_BYTES_MAX: Final = 16 << 10
RSS_MIB_MAX: Final = 512
"""Bounds of an input, and of the whole fuzzer's memory: an input may add some 100 MiB. Ours."""


def main() -> None:
    """Fuzz until the time is up; exit 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--found", type=Path, default=Path(".fuzz"), help="where new inputs go")
    options = parser.parse_args()
    target = TARGETS[options.name]

    def watched(data: bytes) -> None:
        if timed(data) > SECONDS_MAX * INSTRUMENTED_SLOWDOWN:
            seconds = min(timed(data) for _ in range(3))  # a pause of the machine's, perhaps
            assert seconds <= SECONDS_MAX * INSTRUMENTED_SLOWDOWN, f"{seconds:.3f} s"

    def timed(data: bytes) -> float:
        started = time.thread_time()
        target(data)
        return time.thread_time() - started

    found = options.found / options.name
    found.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={options.seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={RSS_MIB_MAX}",
        "-timeout=10",
        "-malloc_limit_mb=100",
        "-print_final_stats=1",
        f"-artifact_prefix={options.found}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(found), str(CORPUS / options.name)], watched)
    atheris.Fuzz()


main()
