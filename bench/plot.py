"""Draws what `bench.admission` and `bench.overload` have measured last into docs/capacity.svg.

pip install -e '.[bench]'
python -m bench.plot
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and it can be searched
mpl.rcParams["svg.hashsalt"] = "quorate"  # the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402 - after its back end was chosen

from bench.admission import LEVELS, UNITS  # noqa: E402
from bench.overload import PHASE_SECONDS  # noqa: E402
from bench.results import RESULTS  # noqa: E402

FILE = Path(__file__).parent.parent / "docs" / "capacity.svg"
RUNS = ("2 routers", "catalog's leader killed", "a router killed", "capacity changed")
CYCLES = 4
"""How many of an overload's are drawn."""


def admission_rows() -> dict[str, dict[str, Any]]:
    """Return the newest row of each run, by name."""
    documents = json.loads((RESULTS / "admission.json").read_text())
    return {row["run"]: row for document in documents for row in document["rows"]}


def overload_row(request: str) -> Any:  # noqa: ANN401 - JSON's
    """Return the newest run of a kind of request with the highest load."""
    documents = json.loads((RESULTS / "overload.json").read_text())
    newest = [document for document in documents if document["request"] == request][-1]
    rows = sorted(newest["rows"], key=lambda row: row["times"])
    return rows[-1]


def draw_admission(axes: Any, row: dict[str, Any]) -> None:  # noqa: ANN401 - matplotlib's
    """Draw one run: admitted by second, what should be, and what happened on the way."""
    done = [second["done"] for second in row["by_second"]]
    axes.step(range(len(done)), done, where="post", linewidth=1.2)
    events = row["events"]
    if row["run"] == "capacity changed":
        ends = [at for at, _ in events[1:]] + [len(done)]
        for (at, _), end, (_, _, units) in zip(events, ends, LEVELS, strict=True):
            axes.hlines(units, at, end, colors="tab:red", linestyles="dashed", linewidth=1)
    else:
        axes.axhline(UNITS, color="tab:red", linestyle="dashed", linewidth=1)
    for at, what in events:
        axes.axvline(at, color="grey", linewidth=0.8, linestyle="dotted")
        axes.text(at, 1.0, f" {what}", fontsize=6, va="top", transform=axes.get_xaxis_transform())
    axes.set_title(row["run"], fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("admitted/s", fontsize=8)


def draw_overload(goodput: Any, latency: Any, row: dict[str, Any]) -> None:  # noqa: ANN401
    """Draw the first cycles of a load: what was served by second, and the medians of latencies."""
    seconds = 3 * PHASE_SECONDS * CYCLES
    at_capacity, beyond = (row["by_second"][name][:seconds] for name in ("at_capacity", "beyond"))
    for each, label, color in (
        (at_capacity, "closed loops: the capacity", "tab:red"),
        (beyond, "open loop", "tab:blue"),
    ):
        values = [one["done"] or None for one in each]
        goodput.step(range(seconds), values, where="post", linewidth=1.2, label=label, color=color)
    goodput.set_title(f"{row['times']:g} times the capacity offered: goodput", fontsize=9)
    goodput.set_ylabel("batches of 25/s", fontsize=8)
    goodput.set_ylim(bottom=0)
    goodput.legend(fontsize=7, loc="lower right")
    for name, label in (("done_p50_ms", "served"), ("refused_p50_ms", "refused")):
        values = [one[name] or None for one in beyond]
        latency.step(range(seconds), values, where="post", linewidth=1.2, label=label)
    latency.axhline(20, color="grey", linestyle="dotted", linewidth=0.8)
    latency.set_yscale("log")
    latency.set_ylabel("ms, median", fontsize=8)
    latency.legend(fontsize=7)
    latency.set_title("latency meanwhile", fontsize=9)
    for start in range(PHASE_SECONDS, seconds, 3 * PHASE_SECONDS):
        for axes in (goodput, latency):
            axes.axvspan(start, start + PHASE_SECONDS, color="tab:grey", alpha=0.15, linewidth=0)


def main() -> None:
    """Draw."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = admission_rows()
    figure, axes = plt.subplots(3, 2, figsize=(9, 8), layout="constrained")
    for place, name in zip(axes.flat, RUNS, strict=False):
        draw_admission(place, rows[name])
    draw_overload(axes[2][0], axes[2][1], overload_row("batch"))
    for place in axes.flat:
        place.tick_params(labelsize=7)
    for place in axes[2]:
        place.set_xlabel("seconds", fontsize=8)
    figure.savefig(FILE, metadata={"Date": None})
    print(f"drawn: {FILE}")


if __name__ == "__main__":
    main()
