"""Whether a call may be made: asked once, for all faces, before any table is looked up.

So the answer is the same whether a table exists. Who calls was found by the face.
"""

from __future__ import annotations

from collections.abc import Mapping

from model.errors import MissingAuthenticationToken
from router.authentication import Authentication
from router.call import Call
from router.denials import denial
from router.service import Handler, Service


def authorized(
    handlers: Mapping[str, Handler], authentication: Authentication
) -> dict[str, Handler]:
    """Return handlers that refuse first what the call's user may not do."""
    return {name: _authorized(handler, authentication) for name, handler in handlers.items()}


def _authorized(handler: Handler, authentication: Authentication) -> Handler:
    def handle(service: Service, body: object, call: Call) -> None:
        user = call.user
        if user is not None:
            error = denial(user, call.operation, body)
            if error is not None:
                who = f"user {user.name!r}"
                authentication.refusal_log.write(call.operation, who, call.request_id, error)
                raise error
        elif authentication.is_required:
            raise MissingAuthenticationToken  # the first user was made since it came
        handler(service, body, call)

    return handle
