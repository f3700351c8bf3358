"""What a user may not do, and the refusal in AWS's words. Pure.

What grants mean is in `quorate.security.permissions`.
"""

from __future__ import annotations

from typing import Final

from model.errors import AccessDenied
from model.requests.table_names import tables_named
from model.sentences import Sentence
from model.tables import table_arn
from quorate.cluster.catalog import UserRecord
from quorate.security.permissions import NO_TABLE, allows

ACTION_PREFIX: Final = "dynamodb:"
OPERATOR_ACTION_PREFIX: Final = "quorate:"
"""Of what only operators do: DynamoDB has no such actions. Ours."""


def denial(user: UserRecord, operation: str, body: object) -> AccessDenied | None:
    """Return why a user may not make a call, None if it may; for the first table that it may not.

    A body that names no table where it must is taken as about all tables: fewest may go on.
    """
    if not user.grants:
        return None  # everything is allowed: no table needs to be found
    for table in tables_named(operation, body) or (NO_TABLE,):
        if not allows(user.grants, operation, table):
            resource = table if table == NO_TABLE else table_arn(table)
            return access_denied(user, ACTION_PREFIX + operation, resource)
    return None


def operators_only(user: UserRecord, operation: str) -> AccessDenied:
    """Return the refusal of what takes the key file, to a user, whatever its grants."""
    return access_denied(user, OPERATOR_ACTION_PREFIX + operation, NO_TABLE)


def access_denied(user: UserRecord, action: str, resource: str) -> AccessDenied:
    """Return the refusal in AWS's words."""
    return AccessDenied(
        Sentence.ACCESS_DENIED.format(user=user_arn(user), action=action, resource=resource)
    )


def user_arn(user: UserRecord) -> str:
    """Return the ARN of a user; the account is always 000000000000, as of tables."""
    return f"arn:aws:iam::000000000000:user/{user.name}"
