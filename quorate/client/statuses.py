"""What a router says when it ends an RPC."""

from __future__ import annotations

from typing import Final

import grpc.aio
import orjson
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY: Final = "grpc-status-details-bin"


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return DynamoDB's error code in a status, "" if it is not a router's answer."""
    try:
        for name, value in error.trailing_metadata() or ():
            if name == DETAILS_KEY:
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.ErrorInfo()
                    if detail.Unpack(info):
                        return str(info.reason)
    except DecodeError:
        pass  # whoever answers there is no router
    return ""


def document_of(error: grpc.aio.AioRpcError) -> bytes:
    """Return the error document that a router would have answered with."""
    return orjson.dumps({"__type": f"#{reason_of(error)}", "message": error.details() or ""})
