"""What drains may take, by a model of Kubernetes' disruption controller: no API server was asked.

`allowed` is what the controller computes for a PodDisruptionBudget, from Kubernetes' documentation
("Specifying a Disruption Budget for your Application") and its source, pkg/controller/disruption.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.kustomize import Document, build

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
LABELS: Final = {"app.kubernetes.io/name": "quorate", "app.kubernetes.io/component": "node"}


@dataclass(frozen=True)
class Pod:
    """A pod that exists, of a controller that wants so many."""

    controller: str
    scale: int = 1
    is_ready: bool = True
    is_ending: bool = False
    labels: dict[str, str] = field(default_factory=lambda: LABELS)


def allowed(budget: dict[str, Any], pods: list[Pod]) -> int:
    """Model: return how many of the pods may be evicted now.

    With `minAvailable`, so many must stay healthy. With `maxUnavailable`, so many of those that
    are expected may be missing: expected are the scales of the controllers of pods that exist.
    """
    selector = budget["selector"]["matchLabels"]
    chosen = [pod for pod in pods if selector.items() <= pod.labels.items()]
    healthy = sum(pod.is_ready and not pod.is_ending for pod in chosen)
    if "minAvailable" in budget:
        desired = int(budget["minAvailable"])
    else:
        scales = {pod.controller: pod.scale for pod in chosen}
        desired = max(0, sum(scales.values()) - int(budget["maxUnavailable"]))
    return max(0, healthy - desired)


A, B, C = Pod("node-a"), Pod("node-b"), Pod("node-c")

STORIES: Final = {
    "all are well": ([A, B, C], 1),
    "a pod is not there: its claim is lost, or its set was scaled to 0, or it was just deleted": (
        [A, B],
        0,
    ),
    "a pod is there and not ready": ([A, B, Pod("node-c", is_ready=False)], 0),
    "a pod ends": ([A, B, Pod("node-c", is_ending=True)], 0),
    "two are not there": ([A], 0),
    "a set was scaled to two, and its second pod ends with code 2": (
        [Pod("node-a", scale=2), Pod("node-a", scale=2, is_ready=False), B, C],
        1,
    ),
}


def budget_of(overlay: str, name: str) -> dict[str, Any]:
    documents: list[Document] = build(KUBERNETES / "overlays" / overlay)
    (found,) = [
        each
        for each in documents
        if each["kind"] == "PodDisruptionBudget" and each["metadata"]["name"] == name
    ]
    budget: dict[str, Any] = found["spec"]
    return budget


@pytest.mark.parametrize("overlay", ["dev", "three-zones"])
@pytest.mark.parametrize("story", STORIES)
def test_no_drain_takes_a_quorum(overlay: str, story: str) -> None:
    pods, may_go = STORIES[story]
    healthy = sum(pod.is_ready and not pod.is_ending for pod in pods)

    assert allowed(budget_of(overlay, "nodes"), pods) == may_go
    assert healthy - may_go >= min(2, healthy)


def test_the_number_that_may_be_missing_would_let_a_second_node_go() -> None:
    """Why the budget is not maxUnavailable: 1, which looks like the same."""
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}

    assert allowed(budget, [A, B, C]) == 1
    assert allowed(budget, [A, B]) == 1, "one of three would be left"


def test_a_router_that_does_not_serve_holds_up_no_drain() -> None:
    budget = budget_of("three-zones", "router")

    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
