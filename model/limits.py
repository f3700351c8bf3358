"""DynamoDB's limits, and our own, each with its unit and source."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

ITEM_SIZE_BYTES_MAX: Final = 400 * KIB
"""Largest item, attribute names and values together.
Source: DynamoDB Developer Guide, "Service, account, and table quotas", Items."""

PARTITION_KEY_BYTES_MAX: Final = 2048
"""Longest partition key value. Source: same page, Partition keys and sort keys."""

SORT_KEY_BYTES_MAX: Final = 1024
"""Longest sort key value. Source: same page."""

ATTRIBUTE_NAME_BYTES_MAX: Final = 64 * KIB - 1
"""Longest attribute name. Source: API model, shape AttributeName (65,535)."""

KEY_NAME_LENGTH_MAX: Final = 255
"""Longest name of a key attribute. Source: API model, shape KeySchemaAttributeName."""

NESTING_LEVELS_MAX: Final = 32
"""Most levels of values inside each other; an attribute's value is the first, so 31 maps may be
around a string. Source: same page, Attributes; counted as AWS does (dynoxide issue 110)."""

NUMBER_DIGITS_MAX: Final = 38
"""Most significant digits of a number. Source: same page, Data types."""

NUMBER_EXPONENT_MIN: Final = -130
"""Smallest exponent of a number's first digit: 1E-130. Source: same page."""

NUMBER_EXPONENT_MAX: Final = 125
"""Largest exponent of a number's first digit: 9.99E+125. Source: same page."""

NUMBER_TEXT_LENGTH_MAX: Final = 1024
"""Longest text that is read as a number at all. Ours: bounds the work on hostile input; the
longest normal form has 169 characters."""

TABLE_NAME_LENGTH_MIN: Final = 3
TABLE_NAME_LENGTH_MAX: Final = 255
"""Lengths of a table's name. Source: API model, shape TableName."""

TABLE_ARN_LENGTH_MAX: Final = 1024
"""Longest ARN in place of a table's name. Source: API model, shape TableArn."""

BATCH_WRITE_ITEMS_MAX: Final = 25
"""Most puts and deletes in one BatchWriteItem. Source: API Reference, BatchWriteItem."""

BATCH_GET_ITEMS_MAX: Final = 100
"""Most keys in one BatchGetItem. Source: API Reference, BatchGetItem."""

BATCH_SIZE_BYTES_MAX: Final = 16 * MIB
"""Most item bytes in one batch, either way. Source: same pages."""

PAGE_SIZE_BYTES_MAX: Final = MIB
"""Item bytes after which a page of Query or Scan ends. Source: API Reference, Query."""

SEGMENTS_MAX: Final = 1_000_000
"""Most segments of a parallel scan. Source: API model, shape ScanTotalSegments."""

TABLES_MAX: Final = 2_500
"""Most tables. Source: Developer Guide, quotas, Tables; the catalog counts them."""

LIST_TABLES_MAX: Final = 100
"""Most names in one page of ListTables. Source: API model, shape ListTablesInputLimit."""

THROUGHPUT_UNITS_MAX: Final = 1_000_000_000_000
"""Most provisioned units of a table. Ours as a value; AWS refuses beyond its account quota."""

ENDPOINT_CACHE_MINUTES: Final = 1440
"""How long a client may go on with an endpoint. Source: AWS's answers."""

WRITE_UNIT_BYTES: Final = KIB
"""Bytes that one write unit pays for. Source: Developer Guide, "Provisioned capacity mode"."""

READ_UNIT_BYTES: Final = 4 * KIB
"""Bytes that one strongly consistent read unit pays for. Source: same page."""

EXPRESSION_BYTES_MAX: Final = 4 * KIB
"""Longest expression. Source: Developer Guide, quotas, Expression parameters."""

SUBSTITUTION_LENGTH_MAX: Final = 255
"""Longest `#name` or `:value`. Source: same page."""

SUBSTITUTIONS_BYTES_MAX: Final = 2 * MIB
"""Most bytes of all substitution variables of a request. Source: same page."""

ECHO_LENGTH_MAX: Final = 2048
"""Most characters of the request that an error message repeats. Ours."""

STORAGE_KEY_BYTES_MAX: Final = 511
"""Longest storage key. Source: LMDB, MDB_MAXKEYSIZE as built by default."""

SORT_PREFIX_BYTES: Final = 470
"""Bytes of an encoded sort key that are kept in the storage key. Ours; see model.keys."""

# Every batch of the largest items must be sendable at all.
assert ITEM_SIZE_BYTES_MAX * BATCH_WRITE_ITEMS_MAX <= BATCH_SIZE_BYTES_MAX
# A page must be able to hold at least one item.
assert ITEM_SIZE_BYTES_MAX <= PAGE_SIZE_BYTES_MAX
