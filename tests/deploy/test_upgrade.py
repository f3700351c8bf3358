"""deploy/kubernetes/upgrade.sh against a model of an API server: none was asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy/kubernetes/upgrade.sh"
STAND_IN = ROOT / "tests/deploy/kubectl_stand_in.py"


class Cluster:
    """The state that the stand-in keeps, and the script run against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "state.json"
        kubectl = folder / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
        kubectl.chmod(0o755)
        os.environ["KUBECTL_STATE"] = str(self.path)
        from tests.deploy.kubectl_stand_in import begin  # noqa: PLC0415 (reads where the state is)

        self.write(begin("old"))

    def write(self, state: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(state))

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def upgrade(self, revision: str) -> subprocess.CompletedProcess[str]:
        """Run the script with an overlay of a revision; forget what was called before."""
        self.write({**self.state, "calls": []})
        overlay = self.folder / revision
        overlay.mkdir(exist_ok=True)
        (overlay / "revision").write_text(revision)
        environment = {
            **os.environ,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "QUORATE_SECONDS_MAX": "0",
        }
        command = ["bash", str(SCRIPT), str(overlay)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def steps(self) -> list[str]:
        """Return what changed something, in order."""
        changes = {"apply", "delete", "patch"}
        return [" ".join(call[:3]) for call in self.state["calls"] if call[0] in changes]

    def revisions(self) -> dict[str, str]:
        state = self.state
        found = {node: pod["revision"] for node, pod in state["pods"].items()}
        return found | {"router": state["deployment"]["runs"]}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECTL_STATE", "")  # it is given back after the test
    return Cluster(tmp_path)


def all_at(revision: str) -> dict[str, str]:
    return dict.fromkeys(("node-a", "node-b", "node-c", "router"), revision)


def test_nodes_go_one_after_the_other_and_then_the_routers(cluster: Cluster) -> None:
    ended = cluster.upgrade("new")

    assert ended.returncode == 0, ended.stderr
    assert cluster.revisions() == all_at("new")
    assert cluster.steps() == [
        "patch deployment router",
        f"apply -k {cluster.folder / 'new'}",
        "delete pod node-a-0",
        "delete pod node-b-0",
        "delete pod node-c-0",
        "patch deployment router",
    ]


def test_run_again_it_restarts_nothing(cluster: Cluster) -> None:
    cluster.upgrade("new")
    ended = cluster.upgrade("new")

    assert ended.returncode == 0, ended.stderr
    assert not any(step.startswith("delete") for step in cluster.steps())


def test_bad_image_costs_one_node_and_the_way_back_restarts_that_alone(cluster: Cluster) -> None:
    ended = cluster.upgrade("bad")

    assert ended.returncode == 1
    assert "node-a-0 is not ready after 0 s" in ended.stderr
    assert cluster.revisions() == {**all_at("old"), "node-a": "bad"}

    ended = cluster.upgrade("old")

    assert ended.returncode == 0, ended.stderr
    assert cluster.revisions() == all_at("old")
    assert [step for step in cluster.steps() if step.startswith("delete")] == [
        "delete pod node-a-0"
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"unwell": True}, "all is not well"),
        ({"away": ("node-a", "node-c")}, "node-a node-c are not ready"),
    ],
)
def test_nothing_is_changed_where_all_is_not_well(
    cluster: Cluster, changed: dict[str, Any], sentence: str
) -> None:
    state = {**cluster.state, **changed}
    for node in changed.get("away", ()):
        state["pods"][node]["ready"] = False
    cluster.write(state)

    ended = cluster.upgrade("new")

    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert cluster.steps() == []
    assert cluster.revisions() == all_at("old")


def test_node_that_is_away_comes_first_and_no_other_is_taken_before_it_is_back(
    cluster: Cluster,
) -> None:
    state = cluster.state
    state["pods"]["node-b"]["ready"] = False
    cluster.write(state)

    ended = cluster.upgrade("new")

    assert ended.returncode == 0, ended.stderr
    deleted = [step.split()[-1] for step in cluster.steps() if step.startswith("delete")]
    assert deleted == ["node-b-0", "node-a-0", "node-c-0"]


OBJECTS = {
    "get pod": (
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "labels": {"controller-revision-hash": "node-a-6d4"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
            "status": {
                "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "Ready", "status": "False"},
                ]
            },
        },
        "node-a-6d4 False",
    ),
    "get statefulset": (
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "s", "generation": 3},
            "spec": {
                "serviceName": "s",
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
            "status": {"observedGeneration": 2, "updateRevision": "node-a-6d4", "replicas": 1},
        },
        "3 2 node-a-6d4\n",
    ),
}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("question", OBJECTS)
def test_kubectl_itself_answers_the_questions_as_the_stand_in_does(
    question: str, tmp_path: Path
) -> None:
    """`label --local` asks no server."""
    thing, answered = OBJECTS[question]
    asked = re.search(rf"ask {question} [^']*'(jsonpath=[^']*)'", SCRIPT.read_text())
    assert asked is not None
    (tmp_path / "object.json").write_text(json.dumps(thing))
    command = ["kubectl", "label", "--local", "-f", str(tmp_path / "object.json"), "x=y"]

    ended = subprocess.run(
        [*command, "-o", asked[1]], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.stdout == answered, ended.stderr
