"""Nodes replaced over gRPC, by operators only. See cluster.proto; /status shows the progress."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from model.errors import (
    InternalServerError,
    ModelError,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from quorate.cluster.catalog import Catalog, NodeRecord, find_node, find_replacement
from quorate.cluster.commands import ReplaceNode, why_not_replaced
from quorate.v1 import cluster_pb2
from router.operator_service import OperatorCall, OperatorService

SERVICE: Final = cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"]


class ClusterService(OperatorService):
    """Serves cluster.proto."""

    service: ClassVar = SERVICE
    messages: ClassVar = cluster_pb2

    async def serve(self, operation: str, request: Any, call: OperatorCall) -> Any:  # noqa: ANN401
        """Replace a node."""
        assert operation == "ReplaceNode"
        newest = await self.control.newest_catalog()  # a node may have joined just now
        if newest is not None:
            self.view.adopt(newest)
        old = _existing(self.view.catalog, request.old)
        if not request.new:
            raise ValidationError("Name the node that is to take the other one's place.")
        if request.new == old.name and await self.control.is_well(old):
            raise ValidationError(
                f"Node {old.name} answers: stop it before a node of the same name takes its place."
            )
        await self.change(ReplaceNode(call.request_id, old.id, request.new), call)
        new = find_replacement(self.view.catalog.nodes, self.view.catalog.node_by_id[old.id])
        return cluster_pb2.ReplaceNodeResponse(
            old_id=old.id, new_id=new.id if new is not None else 0, az=old.az
        )

    def refusal(self, reason: str) -> ModelError:
        """Return what to tell of a refused replacement."""
        kinds: dict[str, type[ModelError]] = {
            "missing": ResourceNotFound,
            "another AZ": ValidationError,
            "being replaced": ResourceInUse,
        }
        return kinds.get(reason, InternalServerError)(why_not_replaced(reason))

    def subject(self, operation: str, request: Any) -> str:  # noqa: ANN401
        """Return who replaces whom."""
        del operation
        return f"{request.new!r} takes the place of {request.old!r}"


def _existing(catalog: Catalog, name: str) -> NodeRecord:
    """Return the node of that name. Raises ResourceNotFound, which names those that there are."""
    found = find_node(catalog, name)
    if found is not None:
        return found
    names = ", ".join(sorted({node.name for node in catalog.nodes}))
    raise ResourceNotFound(f"There is no node {name}: the nodes are {names}.")
