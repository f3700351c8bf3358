"""AWS's sentences, as data: it rewords them by region and year, so wording changes here alone.

Those about expressions are in model.expressions.sentences.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class Sentence(StrEnum):
    """AWS's sentences, with `{}` fields where they quote the request."""

    CONDITION_FAILED = "The conditional request failed"
    RESOURCE_NOT_FOUND = "Requested resource not found"
    TABLE_NOT_FOUND = "Requested resource not found: Table: {table} not found"
    TABLE_EXISTS = "Table already exists: {table}"
    ACCESS_DENIED = (
        "User: {user} is not authorized to perform: {action} on resource: {resource} "
        "because no identity-based policy allows the {action} action"
    )
    DELETION_PROTECTED = (
        "Resource cannot be deleted as it is currently protected against deletion. "
        "Disable deletion protection first."
    )
    PROVISIONED_EXCEEDED = (
        "The level of configured provisioned throughput for the table was exceeded. "
        "Consider increasing your provisioning level with the UpdateTable API."
    )
    ON_DEMAND_EXCEEDED = (
        "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically "
        "scaling your table or index so please try again shortly. If exceptions persist, check if "
        "you have a hot key: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "bp-partition-key-design.html"
    )
    REQUEST_LIMIT = "Throughput exceeds the current throughput limit for your account."
    INTERNAL = (
        "The request processing has failed because of an unknown error, exception or failure."
    )
    UNAVAILABLE = "The service is currently unavailable or busy."
    COLLECTION_TOO_LARGE = "Collection size exceeded."
    TRANSACTION_CONFLICT = "Transaction is ongoing for the item"

    # The JSON has a member of the wrong type.
    WRONG_JSON_TYPE = "{found} cannot be converted to {expected}"
    UNEXPECTED_SCALAR = "Unexpected token received from parser"
    UNEXPECTED_FIELD = "Unexpected field type"
    UNEXPECTED_VALUE = "Unexpected value type in payload"
    UNEXPECTED_STRUCTURE = "Start of structure or map found where not expected"
    UNEXPECTED_LIST = "Unrecognized collection type {java}"
    NOT_BASE64 = "only base-64-encoded strings are convertible to bytes"
    BASE64_LENGTH = "Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
    BASE64_CHARACTER = "Invalid Base64 character"
    BASE64_LAST = "Invalid last non-pad Base64 character dectected"  # so spelt by AWS
    NOT_UNICODE = "A string holds a surrogate that is not part of a pair"

    # A member breaks a constraint of the service model.
    ONE_ERROR = "1 validation error detected: {message}"
    CONSTRAINTS = "{count} validation error{plural} detected: {violations}"
    VIOLATION = "Value {value} at '{path}' failed to satisfy constraint: {constraint}"
    BOUND_VIOLATION = "Value at '{path}' failed to satisfy constraint: {constraint}"
    RETURN_VALUES_MUST = (  # so listed by AWS
        "Failed to satisfy constraint: Member must satisfy enum value set: "
        "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
    )
    PARAMETER_MISSING = "The parameter '{name}' is required but was not present in the request"
    MUST_NOT_BE_NULL = "Member must not be null"
    MUST_BE_IN = "Member must satisfy enum value set: [{values}]"
    MUST_MATCH = "Member must satisfy regular expression pattern: {pattern}"
    MAP_VALUES_MUST = (
        "Map value must satisfy constraint: [Member must have length less than or equal to "
        "{length_max}, Member must have length greater than or equal to {length_min}]"
    )
    MAP_KEYS_MUST = (
        "Map keys must satisfy constraint: [Member must have length less than or equal to "
        "{length_max}, Member must have length greater than or equal to {length_min}, "
        "Member must satisfy regular expression pattern: {pattern}]"
    )
    BATCH_EMPTY = "The requestItems parameter is required for {operation}"
    LENGTH_AT_LEAST = "Member must have length greater than or equal to {limit}"
    LENGTH_AT_MOST = "Member must have length less than or equal to {limit}"
    VALUE_AT_LEAST = "Member must have value greater than or equal to {limit}"
    VALUE_AT_MOST = "Member must have value less than or equal to {limit}"

    # Attribute values.
    VALUE_EMPTY = (
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
    )
    VALUE_AMBIGUOUS = (
        "Supplied AttributeValue has more than one datatypes set, "
        "must contain exactly one of the supported datatypes"
    )
    NULL_NOT_TRUE = (
        "One or more parameter values were invalid: "
        "Null attribute value types must have the value of true"
    )
    STRING_SET_EMPTY = "One or more parameter values were invalid: An string set  may not be empty"
    NUMBER_SET_EMPTY = "One or more parameter values were invalid: An number set  may not be empty"
    BINARY_SET_EMPTY = "One or more parameter values were invalid: Binary sets should not be empty"
    STRING_SET_DUPLICATES = (
        "One or more parameter values were invalid: "
        "Input collection [{members}] contains duplicates."
    )
    NUMBER_SET_DUPLICATES = "Input collection contains duplicates"
    BINARY_SET_DUPLICATES = (
        "One or more parameter values were invalid: "
        "Input collection [{members}]of type BS contains duplicates."
    )
    SET_MEMBER_NULL = (
        "One or more parameter values were invalid: A set may not have a null as a member"
    )
    NESTED_TOO_DEEPLY = (
        "Nesting Levels have exceeded supported limits: "
        "Attributes in the item have nested levels beyond supported limit"
    )
    NAME_EMPTY = "One or more parameter values were invalid: Attribute name may not be empty"
    NAME_TOO_LONG = "Attribute name is too large, must be less than 65536 bytes"
    NUMBER_INVALID = "The parameter cannot be converted to a numeric value: {text}"
    NUMBER_EMPTY = "The parameter cannot be converted to a numeric value"
    NUMBER_TOO_PRECISE = "Attempting to store more than 38 significant digits in a Number"
    NUMBER_OVERFLOW = (
        "Number overflow. Attempting to store a number with magnitude larger than supported range"
    )
    NUMBER_UNDERFLOW = (
        "Number underflow. Attempting to store a number with magnitude smaller than supported range"
    )
    ITEM_TOO_LARGE = "Item size has exceeded the maximum allowed size"
    UPDATED_ITEM_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"

    # Keys.
    KEY_MISSING = "One or more parameter values were invalid: Missing the key {name} in the item"
    KEY_TYPE = (
        "One or more parameter values were invalid: "
        "Type mismatch for key {name} expected: {expected} actual: {actual}"
    )
    KEY_MISMATCH = "The provided key element does not match the schema"
    KEY_EMPTY_STRING = (
        "One or more parameter values are not valid. The AttributeValue for a key attribute "
        "cannot contain an empty string value. Key: {name}"
    )
    KEY_EMPTY_BINARY = (
        "One or more parameter values are not valid. The AttributeValue for a key attribute "
        "cannot contain an empty binary value. Key: {name}"
    )
    PARTITION_KEY_TOO_LONG = (
        "One or more parameter values were invalid: "
        "Size of hashkey has exceeded the maximum size limit of2048 bytes"
    )
    SORT_KEY_TOO_LONG = (
        "One or more parameter values were invalid: "
        "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    )
    START_KEY_INVALID_BECAUSE = "The provided starting key is invalid: {reason}"
    START_KEY_INVALID = "The provided starting key is invalid"
    START_KEY_OF_ONE_ROW = "The query can return at most one row and cannot be restarted"
    START_KEY_OUTSIDE_RANGE = (
        "The provided starting key is outside query boundaries based on provided conditions"
    )
    START_KEY_OUTSIDE_SORT_RANGE = (
        "The provided starting key does not match the range key predicate"
    )
    START_KEY_OUTSIDE_SEGMENT = (
        "The provided starting key is invalid: Invalid ExclusiveStartKey. "
        "Please use ExclusiveStartKey with correct Segment. "
        "TotalSegments: {total} Segment: {segment}"
    )

    # Parameters and how they go together.
    PARAMETER_UNSUPPORTED = (
        "One or more parameter values were invalid: {name} is not supported by this server"
    )
    RETURN_VALUES_OLD_ONLY = "ReturnValues can only be ALL_OLD or NONE"
    MIXED_PARAMETERS = (
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {{{legacy}}} Expression parameters: {{{expressions}}}"
    )
    NAMES_WITHOUT_EXPRESSION = (
        "ExpressionAttributeNames can only be specified when using expressions"
    )
    VALUES_WITHOUT_EXPRESSION = (
        "ExpressionAttributeValues can only be specified when using expressions: {expressions} null"
    )
    VALUES_WITHOUT_CONDITION = (  # in a write
        "ExpressionAttributeValues can only be specified when using expressions"
    )
    VALUES_TOO_LARGE = (
        "One or more parameter values were invalid: "
        "Size of expression attribute values has exceeded the limit of {limit} bytes"
    )
    VALUE_VALUE_INVALID = "ExpressionAttributeValues contains invalid value: {reason} for key {key}"
    CONDITIONAL_OPERATOR_ONLY = "ConditionalOperator cannot be used without Filter or Expected"
    CONDITIONAL_OPERATOR_ALONE = (
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    )
    EXPECTED_EXISTS_AND_OPERATOR = (
        "One or more parameter values were invalid: "
        "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
    )
    EXPECTED_VALUE_AND_LIST = (
        "One or more parameter values were invalid: "
        "Value and AttributeValueList cannot be used together for Attribute: {name}"
    )
    EXPECTED_NOTHING_TO_COMPARE = (
        "One or more parameter values were invalid: Value or AttributeValueList must be used "
        "with ComparisonOperator: {operator} for Attribute: {name}"
    )
    EXPECTED_LIST_ALONE = (
        "One or more parameter values were invalid: "
        "AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
    )
    EXPECTED_VALUE_FORBIDDEN = (
        "One or more parameter values were invalid: "
        "Value cannot be used when Exists is false for Attribute: {name}"
    )
    EXPECTED_VALUE_MISSING = (
        "One or more parameter values were invalid: "
        "Value must be provided when Exists is {exists} for Attribute: {name}"
    )
    OPERAND_COUNT = (
        "One or more parameter values were invalid: "
        "Invalid number of argument(s) for the {operator} ComparisonOperator"
    )
    OPERAND_TYPE = (
        "One or more parameter values were invalid: "
        "ComparisonOperator {operator} is not valid for {kind} AttributeValue type"
    )
    OPERAND_TYPES_DIFFER = (
        "One or more parameter values were invalid: "
        "AttributeValues inside AttributeValueList must be of same type"
    )
    BETWEEN_REVERSED = (
        "The BETWEEN condition was provided a range where "
        "the lower bound is greater than the upper bound"
    )
    ACTION_NEEDS_VALUE = (
        "One or more parameter values were invalid: "
        "Only DELETE action is allowed when no attribute value is specified"
    )
    ACTION_TYPE = (
        "One or more parameter values were invalid: {action} is not supported for the type {kind}"
    )
    UPDATE_TYPE_MISMATCH = "Type mismatch for attribute to update"
    CONDITIONS_COUNT = "Conditions can be of length 1 or 2 only"
    INDEX_NOT_FOUND = "The table does not have the specified index: {name}"
    NO_KEY_CONDITION = (
        "Either the KeyConditions or KeyConditionExpression parameter must be specified "
        "in the request."
    )
    SELECT_NEEDS_INDEX = (
        "One or more parameter values were invalid: "
        "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"
    )
    SELECT_NEEDS_PROJECTION = (
        "Must specify the AttributesToGet or ProjectionExpression "
        "when choosing to get SPECIFIC_ATTRIBUTES"
    )
    SELECT_FORBIDS_PROJECTION = "Cannot specify the {parameter} when choosing to get {select}"
    SEGMENT_WITHOUT_TOTAL = (
        "The TotalSegments parameter is required but was not present in the request "
        "when Segment parameter is present"
    )
    TOTAL_WITHOUT_SEGMENT = (
        "The Segment parameter is required but was not present in the request "
        "when parameter TotalSegments is present"
    )
    SEGMENT_TOO_LARGE = (
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
        "Segment: {segment} is not less than TotalSegments: {total}"
    )
    FILTER_ON_KEY = (
        "{parameter} can only contain non-primary key attributes: Primary key attribute: {name}"
    )
    BATCH_WRITE_COUNT = "Too many items requested for the BatchWriteItem call"
    BATCH_GET_COUNT = "Too many items requested for the BatchGetItem call"
    BATCH_DUPLICATES = "Provided list of item keys contains duplicates"
    LIST_DUPLICATES = (
        "One or more parameter values were invalid: Duplicate value in attribute name: {name}"
    )

    # Tables.
    KEY_SCHEMA_FIRST = "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"
    KEY_SCHEMA_SECOND = "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"
    KEY_SCHEMA_SAME_NAME = (
        "Both the Hash Key and the Range Key element in the KeySchema have the same name"
    )
    KEY_SCHEMA_TOO_LONG = "Invalid KeySchema: Some index key attribute have no definition"
    KEY_SCHEMA_UNDEFINED = (
        "One or more parameter values were invalid: Some index key attributes are not defined in "
        "AttributeDefinitions. Keys: [{keys}], AttributeDefinitions: [{definitions}]"
    )
    KEY_SCHEMA_COUNT = (
        "One or more parameter values were invalid: Number of attributes in KeySchema does not "
        "exactly match number of attributes defined in AttributeDefinitions"
    )
    DEFINITIONS_MISSING = (
        "One or more parameter values were invalid: AttributeDefinitions must be specified"
    )
    DEFINITIONS_DUPLICATE = (
        "One or more parameter values were invalid: "
        "AttributeDefinitions must not have two attributes with the same name"
    )
    KEY_SCHEMA_MISSING = "One or more parameter values were invalid: KeySchema must be specified"
    THROUGHPUT_FORBIDDEN = (
        "One or more parameter values were invalid: Neither ReadCapacityUnits nor "
        "WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
    )
    THROUGHPUT_MISSING = (
        "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must "
        "both be specified when BillingMode is PROVISIONED"
    )
    THROUGHPUT_TOO_LARGE = "Given value {value} for {name} is out of bounds"
    THROUGHPUT_NEEDED = (
        "One or more parameter values were invalid: "
        "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"
    )
    STREAM_VIEW_OF_NONE = (
        "One or more parameter values were invalid: Table is being created with a stream disabled, "
        "UpdateViewType should not be specified"
    )
    MAXIMA_FORBIDDEN = (
        "One or more parameter values were invalid: "
        "OnDemandThroughput can be specified only when BillingMode is PAY_PER_REQUEST"
    )
    MAXIMA_MISSING = (
        "One or more parameter values were invalid: OnDemandThroughput needs "
        "MaxReadRequestUnits, MaxWriteRequestUnits, or both"
    )
    THROUGHPUT_SAME = (
        "The provisioned throughput for the table will not change. The requested value equals the "
        "current value. Current ReadCapacityUnits provisioned for the table: {read}. "
        "Requested ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the "
        "table: {write}. Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB "
        "Developer Guide for current limits and how to request higher limits."
    )
    NOTHING_TO_UPDATE = (
        "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
        "GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required"
    )
    INDEX_LIST_EMPTY = "One or more parameter values were invalid: List of {name} is empty"
    TABLE_CHANGING = (
        "Attempt to change a resource which is still in use: Table is being updated: {table}"
    )
    TABLES_LIMIT = "Subscriber limit exceeded: There is a limit of {limit} tables per subscriber"


UNCOUNTED: Final = frozenset(
    {
        Sentence.VALUE_EMPTY,
        Sentence.VALUE_AMBIGUOUS,
        Sentence.NESTED_TOO_DEEPLY,
        Sentence.NAME_EMPTY,
        Sentence.NAME_TOO_LONG,
        Sentence.NUMBER_INVALID,
        Sentence.NUMBER_EMPTY,
        Sentence.NUMBER_TOO_PRECISE,
        Sentence.NUMBER_OVERFLOW,
        Sentence.NUMBER_UNDERFLOW,
        Sentence.ITEM_TOO_LARGE,
        Sentence.VALUES_TOO_LARGE,
    }
)
"""What PutItem and UpdateItem say as it is; everything else that is wrong with a request by itself
they count: see `ONE_ERROR`."""
