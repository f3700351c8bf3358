"""The numbers of "Sizing" in docs/OPERATIONS.md are those of manifests, code and the example."""

from __future__ import annotations

import re
from math import ceil
from pathlib import Path
from typing import Final

from node.options import NodeOptions
from node.storage.items import ITEMS_MAP_SIZE_BYTES
from node.storage.log import LOG_MAP_SIZE_BYTES
from quorate.http.limits import HttpLimits
from router.dispatch import PENDING_BYTES_MAX
from tests.deploy.kustomize import Document, build, pod_spec

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (
    (ROOT / "docs/OPERATIONS.md").read_text().partition("## Sizing")[2].partition("\n## ")[0]
)
WORDS: Final = " ".join(TEXT.split())
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def resources(kind: str, name: str) -> Document:
    documents = build(ROOT / "deploy/kubernetes/overlays/three-zones")
    (workload,) = [
        each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    (container,) = pod_spec(workload)["containers"]  # type: ignore[index]
    found: Document = container["resources"]
    return found


def volume_bytes() -> int:
    documents = build(ROOT / "deploy/kubernetes/overlays/three-zones")
    node = next(each for each in documents if each["kind"] == "StatefulSet")
    (claim,) = node["spec"]["volumeClaimTemplates"]
    return int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * GIB


def factors() -> dict[int, float]:
    """Return the file's bytes for each byte of items, by the items' size."""
    rows = [
        line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| size of")
    ]
    row = next(line for line in TEXT.splitlines() if line.startswith("| *f*")).strip("|").split("|")
    sizes = [int(re.sub(r"\D", "", cell)) for cell in rows[0][1:]]
    return dict(zip(sizes, map(float, row[1:]), strict=True))


def disk_gb(items_gb: float, factor: float, partitions: int) -> float:
    """The formula of the document, for one node in each AZ."""
    assert "(*f* x *B* / *n* x (1 + 2 / *P*) + 1.5 GB) / 0.8" in WORDS
    return (factor * items_gb * (1 + 2 / partitions) + 1.5) / 0.8


def test_manifests_ask_for_what_is_said() -> None:
    node = resources("StatefulSet", "node-a")
    router = resources("Deployment", "router")

    assert "ask for **2 cores**" in WORDS
    assert node["requests"] == {"cpu": "2", "memory": "4Gi"}
    assert node["limits"] == {"memory": "4Gi"}, "the example says so, and that 3 are enough"
    assert "Per router: **1 core**" in WORDS
    assert "**2 GiB** as the limit of memory" in WORDS
    assert "512 MiB is what to ask for" in WORDS
    assert router == {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


def test_a_routers_memory_is_the_sum_of_its_bounds() -> None:
    limits = HttpLimits()
    small = limits.connections_max * limits.body_bytes_small
    bounds = (small, limits.body_bytes_all_max, PENDING_BYTES_MAX, limits.unsent_bytes_all_max)

    assert bounds == (128 * MIB, 256 * MIB, 256 * MIB, 512 * MIB)
    assert "at most 128 MiB of small requests that come in, 256 MiB of large ones" in WORDS
    assert "256 MiB at nodes and 512 MiB of answers" in WORDS
    assert 256 * MIB + sum(bounds) <= 2 * GIB


def test_files_grow_as_far_as_is_said() -> None:
    assert "items' file grows up to 1 TiB, the log's to 64 GiB" in WORDS
    assert (ITEMS_MAP_SIZE_BYTES, LOG_MAP_SIZE_BYTES) == (TIB, 64 * GIB)


def test_the_number_of_partitions_is_the_default() -> None:
    assert "partitions (`--partitions`, 12)" in WORDS
    assert NodeOptions.__dataclass_fields__["partitions"].default == 12


def test_the_example_is_right() -> None:
    factor = factors()[1_000]
    node = (2_000 + 4_000 / 3) * 150e-6
    held = (volume_bytes() / 1e9 * 0.8 - 1.5) / factor / (1 + 2 / 12)

    assert f"= {node:.1f} of a core" in WORDS
    assert f"({factor} x 20 x (1 + 2 / 12) + 1.5) / 0.8 = {disk_gb(20, factor, 12):.1f} GB" in WORDS
    assert f"the manifests' 100 GiB ({volume_bytes() / 1e9:.0f} GB) hold {held:.0f} GB" in WORDS
    assert f"= {2_000 * 7 * 1_000 / 1e6:.0f} MB/s -" in WORDS
    assert f"= {2_000 * 2 * 1_000 / 1e6:.0f} MB/s between" in WORDS
    routers = 6_000 * 150e-6 / 0.7
    assert f"= {routers:.1f}, so {ceil(routers)}, and one more: {ceil(routers) + 1}" in WORDS


def test_no_other_document_has_its_own_arithmetic() -> None:
    for path in (ROOT / "docs").glob("*.md"):
        if path.name != "OPERATIONS.md":
            assert "\n## Sizing" not in path.read_text(), path
