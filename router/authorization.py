"""Whether a call may be made: asked once, for all faces, before any table is looked up.

So the answer is the same whether a table exists. Who calls was found by the face.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import AccessDenied, MissingAuthenticationToken
from router.authentication import Authentication
from router.call import Call
from router.denials import denial
from router.operation import Operation, Tables


class AuthorizedOperations:
    """The operations, for those who may call them."""

    def __init__(self, operations: Mapping[str, Operation], authentication: Authentication) -> None:
        self._operations = operations
        self._authentication = authentication

    def get(self, name: str) -> Operation | None:
        """Return an operation, None if there is none of this name."""
        return self._operations.get(name)

    def prepare(self, operation: Operation, tables: Tables, body: object, call: Call) -> Any:  # noqa: ANN401
        """Return a call's request made ready, if its user may make it. For any thread.

        Raises AccessDenied, MissingAuthenticationToken, and what the operation raises.
        """
        user = call.user
        if user is not None:
            error = denial(user, call.operation, body)
            if error is not None:
                raise error
        elif self._authentication.is_required:
            raise MissingAuthenticationToken  # the first user was made since it came
        return operation.prepare(tables, body)

    def log(self, error: AccessDenied, call: Call) -> None:
        """Write down that a call was refused."""
        assert call.user is not None
        who = f"user {call.user.name!r}"
        self._authentication.refusal_log.write(call.operation, who, call.request_id, error)
