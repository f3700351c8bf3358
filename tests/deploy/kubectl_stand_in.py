"""A stand-in for kubectl and what is behind it, as far as deploy/kubernetes/upgrade.sh asks.

No API server can be had in the tests. This models what its controllers do with three StatefulSets
whose strategy is OnDelete, and a Deployment: `apply` gives the sets a revision, which a pod takes
when it is deleted; a Deployment that is not paused takes it at once. An overlay is a folder with a
file `revision`; pods of the revision "bad" never become ready. Calls are written down.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

STATE: Final = Path(os.environ["KUBECTL_STATE"])
BAD: Final = "bad"


def pod(revision: str) -> dict[str, Any]:
    """Return a pod as it is a while after it was made."""
    return {"revision": revision, "ready": revision != BAD}


def begin(revision: str) -> dict[str, Any]:
    """Return a cluster that runs a revision."""
    nodes = ("node-a", "node-b", "node-c")
    return {
        "sets": dict.fromkeys(nodes, revision),
        "pods": {node: pod(revision) for node in nodes},
        "deployment": {"wanted": revision, "paused": False, "runs": revision},
        "calls": [],
    }


def answer(state: dict[str, Any], words: list[str]) -> tuple[int, str]:
    """Return exit code and output of a call, and change the state."""
    match words:
        case ["apply", "-k", overlay]:
            revision = (Path(overlay) / "revision").read_text().strip()
            state["sets"] = dict.fromkeys(state["sets"], revision)
            state["deployment"]["wanted"] = revision
            return 0, ""
        case ["patch", "deployment", "router", "--type=merge", "-p", patch]:
            state["deployment"]["paused"] = json.loads(patch)["spec"]["paused"]
            return 0, ""
        case ["get", "statefulset", name, *_]:
            return 0, f"1 1 {state['sets'][name]}\n"
        case ["get", "pod", name, *_]:
            found = state["pods"][name.removesuffix("-0")]
            return 0, f"{found['revision']} {found['ready']}"
        case ["delete", "pod", name, *_]:
            node = name.removesuffix("-0")
            state["pods"][node] = pod(state["sets"][node])
            return 0, ""
        case ["exec", "deploy/router", "-c", "router", "--", "quorate", "status", *_]:
            well = all(found["ready"] for found in state["pods"].values())
            return (0 if well and not state.get("unwell") else 1), ""
        case ["rollout", "status", "deployment/router", *_]:
            return (0 if state["deployment"]["runs"] != BAD else 1), ""
    raise AssertionError(f"kubectl {words} is not modelled")


def main() -> int:
    """Answer one call."""
    state = json.loads(STATE.read_text())
    words = sys.argv[1:]
    if words[0] == "-n":
        words = words[2:]
    state["calls"].append(words)
    code, output = answer(state, words)
    deployment = state["deployment"]
    if not deployment["paused"]:
        deployment["runs"] = deployment["wanted"]
    STATE.write_text(json.dumps(state))
    sys.stdout.write(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
