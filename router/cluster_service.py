"""Nodes replaced and removed over gRPC, by operators only. See cluster.proto; /status shows it."""

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
from quorate.cluster.commands import (
    CancelReplacement,
    RemoveNode,
    ReplaceNode,
    why_nodes_stay,
)
from quorate.v1 import cluster_pb2
from router.operator_service import OperatorCall, OperatorService

SERVICE: Final = cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"]


class ClusterService(OperatorService):
    """Serves cluster.proto."""

    service: ClassVar = SERVICE
    messages: ClassVar = cluster_pb2

    async def serve(self, operation: str, request: Any, call: OperatorCall) -> Any:  # noqa: ANN401
        """Change which nodes there are, or are to be."""
        newest = await self.control.newest_catalog()  # a node may have joined just now
        if newest is not None:
            self.view.adopt(newest)
        match operation:
            case "ReplaceNode":
                return await self._replace(request, call)
            case "CancelReplacement":
                return await self._cancel(request, call)
            case _:
                assert operation == "RemoveNode"
                return await self._remove(request, call)

    async def _replace(
        self, request: cluster_pb2.ReplaceNodeRequest, call: OperatorCall
    ) -> cluster_pb2.ReplaceNodeResponse:
        old = _existing(self.view.catalog, request.old)
        if not request.new:
            raise ValidationError("Name the node that is to take the other one's place.")
        if request.new == old.name and await self.control.is_well(old):
            raise ValidationError(
                f"Node {old.name} answers: stop it before a node of the same name takes its place."
            )
        command = ReplaceNode(call.request_id, old.id, request.new, request.allow_unknown)
        await self.change(command, call)
        new = find_replacement(self.view.catalog.nodes, self.view.catalog.node_by_id[old.id])
        return cluster_pb2.ReplaceNodeResponse(
            old_id=old.id, new_id=new.id if new is not None else 0, az=old.az
        )

    async def _cancel(
        self, request: cluster_pb2.CancelReplacementRequest, call: OperatorCall
    ) -> cluster_pb2.CancelReplacementResponse:
        old = _existing(self.view.catalog, request.old)
        if not old.replacement:
            raise ValidationError(f"Node {old.name} is not being replaced.")
        await self.change(CancelReplacement(call.request_id, old.id, old.replacement), call)
        return cluster_pb2.CancelReplacementResponse(old_id=old.id, replacement=old.replacement)

    async def _remove(
        self, request: cluster_pb2.RemoveNodeRequest, call: OperatorCall
    ) -> cluster_pb2.RemoveNodeResponse:
        node = _existing(self.view.catalog, request.name)
        await self.change(RemoveNode(call.request_id, node.id), call)
        return cluster_pb2.RemoveNodeResponse(id=node.id)

    def refusal(self, reason: str) -> ModelError:
        """Return what to tell of a refused change."""
        kinds: dict[str, type[ModelError]] = {
            "missing": ResourceNotFound,
            "another AZ": ValidationError,
            "unknown": ValidationError,
            "being replaced": ResourceInUse,
            "joined": ResourceInUse,
            "changed": ResourceInUse,
            "holds replicas": ResourceInUse,
            "takes a place": ResourceInUse,
        }
        return kinds.get(reason, InternalServerError)(why_nodes_stay(reason))

    def subject(self, operation: str, request: Any) -> str:  # noqa: ANN401
        """Return what has been changed, with the names that were asked for."""
        match operation:
            case "ReplaceNode":
                return f"{request.new!r} takes the place of {request.old!r}"
            case "CancelReplacement":
                return f"{request.old!r} keeps its place"
            case _:
                return f"{request.name!r} is removed"


def _existing(catalog: Catalog, name: str) -> NodeRecord:
    """Return the node of that name. Raises ResourceNotFound, which names those that there are."""
    found = find_node(catalog, name)
    if found is not None:
        return found
    names = ", ".join(sorted({node.name for node in catalog.nodes}))
    raise ResourceNotFound(f"There is no node {name}: the nodes are {names}.")
