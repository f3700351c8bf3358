"""As much of kustomize as deploy/kubernetes uses, so that every `make check` can read its result.

A field that is not known here fails. Where kubectl is installed, `test_kubernetes.py` compares.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import yaml

Document = dict[str, Any]

KNOWN_FIELDS: Final = {
    "apiVersion",
    "components",
    "images",
    "kind",
    "labels",
    "nameSuffix",
    "namespace",
    "patches",
    "resources",
}

OF_NO_NAMESPACE: Final = {"Namespace", "PriorityClass"}


def build(folder: Path) -> list[Document]:
    """Return the documents that the kustomization in `folder` composes."""
    return _applied(folder, [])


def _applied(folder: Path, documents: list[Document]) -> list[Document]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= KNOWN_FIELDS, f"{folder}: {set(kustomization) - KNOWN_FIELDS}"
    for resource in kustomization.get("resources", ()):
        path = folder / resource
        documents = documents + (
            build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
        )
    for component in kustomization.get("components", ()):
        documents = _applied(folder / component, documents)
    for patch in kustomization.get("patches", ()):
        _patch(documents, patch)
    for document in documents:
        document["metadata"]["name"] += kustomization.get("nameSuffix", "")
        if "namespace" in kustomization and document["kind"] not in OF_NO_NAMESPACE:
            document["metadata"]["namespace"] = kustomization["namespace"]
        for label in kustomization.get("labels", ()):
            assert set(label) == {"pairs"}, "kustomize's selectors reach further than it seems"
            document["metadata"].setdefault("labels", {}).update(label["pairs"])
        for image in kustomization.get("images", ()):
            _name_image(document, image)
    return documents


def _patch(documents: list[Document], patch: Document) -> None:
    """Change the documents of the patch's target; there must be one."""
    target = patch["target"]
    found = [
        document
        for document in documents
        if target.get("kind", document["kind"]) == document["kind"]
        and target.get("name", document["metadata"]["name"]) == document["metadata"]["name"]
    ]
    assert found, f"nothing is {target}"
    for document in found:
        for operation in yaml.safe_load(patch["patch"]):
            _operate(document, operation)


def _operate(document: Document, operation: Document) -> None:
    """Apply one operation of a JSON patch, RFC 6902."""
    path = operation["path"].removeprefix("/").split("/")
    *parents, last = [name.replace("~1", "/") for name in path]
    place: Any = document
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "add" and last == "-":
        place.append(value)
        return
    assert operation["op"] == "add" or last in place, f"{operation['path']} is not there"
    place[last] = value


def _name_image(document: Document, image: Document) -> None:
    for container in containers(document):
        name, _, tag = container["image"].partition(":")
        if name == image["name"]:
            container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def pod_spec(document: Document) -> Document | None:
    """Return the specification of a workload's pods, None if the document is no workload."""
    if document["kind"] not in {"Deployment", "StatefulSet"}:
        return None
    spec: Document = document["spec"]["template"]["spec"]
    return spec


def containers(document: Document) -> list[Document]:
    """Return a workload's containers, those that run at the start included."""
    spec = pod_spec(document)
    return [] if spec is None else [*spec.get("initContainers", ()), *spec["containers"]]
