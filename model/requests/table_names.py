"""Which tables a request names: for who must know it before anything else is looked at.

Every `parse_` function finds the same names; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from model.members import is_table_name, table_name_of

NAMING_NONE: Final = frozenset({"DescribeEndpoints", "DescribeLimits", "ListTables"})
"""Operations that are about no table; a TableName in them says nothing."""

NAMING_MANY: Final = frozenset({"BatchGetItem", "BatchWriteItem"})
"""Operations whose RequestItems go by table."""


def tables_named(operation: str, body: object) -> list[str]:
    """Return the tables of a request by name, ARNs as the names in them, in its order.

    What cannot be a table's name is left out: such a request is refused when it is parsed.
    """
    if operation in NAMING_NONE or not isinstance(body, dict):
        return []
    given: Iterable[object] = (body.get("TableName"),)
    if operation in NAMING_MANY:
        request_items = body.get("RequestItems")
        given = request_items if isinstance(request_items, dict) else ()
    return [table_name_of(text) for text in given if isinstance(text, str) and is_table_name(text)]
