"""AWS's sentences for a bad expression, as data: a change of wording is a change of this table.

Each is prefixed with `Invalid <parameter>: ` unless said otherwise (see `bad_expression`). Source:
messages quoted in public issue reports and in the Developer Guide; where nobody has published one,
the wording is ours.
"""

from enum import Enum, unique
from typing import Final

from model.errors import ValidationError


@unique
class Sentence(Enum):
    """What can be wrong with an expression; the value is a `str.format` template."""

    EMPTY = "The expression can not be empty;"
    TOO_LONG = "Expression size has exceeded the maximum allowed size;"
    SYNTAX = 'Syntax error; token: "{token}", near: "{near}"'
    WORD_TOO_LONG = "Expression token has exceeded the maximum allowed size; token size: {size}"
    PARENTHESES = "The expression has redundant parentheses;"
    TOO_MANY_OPERATORS = "The expression contains too many operators; operator count: {count}"
    TOO_MANY_OPERANDS = (
        "The {operator} operator is provided with too many operands; number of operands: {count}"
    )
    TOO_DEEP = "The document path has too many nesting elements; nesting levels: {count}"
    INDEX = "List index is not within the allowable range; index: [{index}]"
    RESERVED = "Attribute name is a reserved keyword; reserved keyword: {word}"
    NAME_UNDEFINED = (
        "An expression attribute name used in the document path is not defined; "
        "attribute name: {name}"
    )
    VALUE_UNDEFINED = (
        "An expression attribute value used in expression is not defined; attribute value: {name}"
    )
    FUNCTION_UNKNOWN = "Invalid function name; function: {function}"
    FUNCTION_IN_UPDATE = "The function is not allowed in an update expression; function: {function}"
    FUNCTION_IN_CONDITION = (
        "The function is not allowed in a condition expression; function: {function}"
    )
    FUNCTION_MISUSED = (
        "The function is not allowed to be used this way in an expression; function: {function}"
    )
    OPERAND_COUNT = (
        "Incorrect number of operands for operator or function; "
        "operator or function: {operator}, number of operands: {count}"
    )
    OPERAND_TYPE = (
        "Incorrect operand type for operator or function; "
        "operator or function: {operator}, operand type: {type}"
    )
    ACTION_OPERAND_TYPE = (
        "Incorrect operand type for operator or function; "
        "operator: {action}, operand type: {type}, typeSet: ALLOWED_FOR_{action}_OPERAND"
    )
    PATH_REQUIRED = (
        "Operator or function requires a document path; operator or function: {operator}"
    )
    NOT_DISTINCT = (
        "The first operand must be distinct from the remaining operands for this operator or "
        "function; operator: {operator}, first operand: {path}"
    )
    TYPE_NAME = (
        "Invalid attribute type name found; type: {type}, "
        "valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
    )
    BETWEEN_TYPES = (
        "The BETWEEN operator requires same data type for lower and upper bounds; "
        "lower bound operand: {low}, upper bound operand: {high}"
    )
    BETWEEN_ORDER = (
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
        "lower bound operand: {low}, upper bound operand: {high}"
    )
    SECTION_TWICE = 'The "{section}" section can only be used once in an update expression;'
    OVERLAP = (
        "Two document paths overlap with each other; must remove or rewrite one of these paths; "
        "path one: {one}, path two: {two}"
    )
    CONFLICT = (
        "Two document paths conflict with each other; must remove or rewrite one of these paths; "
        "path one: {one}, path two: {two}"
    )
    KEY_OPERATOR = "Invalid operator used in KeyConditionExpression: {operator}"
    KEY_SIZE = "KeyConditionExpressions cannot contain nested operations"
    KEY_NESTED = "KeyConditionExpressions cannot have conditions on nested attributes"
    KEY_TWICE = "KeyConditionExpressions must only contain one condition per key"
    KEY_MANY_NAMES = (
        "Invalid condition in KeyConditionExpression: "
        "Multiple attribute names used in one condition"
    )
    KEY_NO_NAME = "Invalid condition in KeyConditionExpression: No key attribute specified"
    KEY_FIRST = (
        "Invalid condition in KeyConditionExpression: {operator} operator must have "
        "the key attribute as its first operand"
    )


# Sentences that stand alone, without `Invalid <parameter>: ` before them.

OPERAND_DATA_TYPE: Final = "An operand in the update expression has an incorrect data type"
PATH_INVALID: Final = "The document path provided in the update expression is invalid for update"
ATTRIBUTE_MISSING: Final = (
    "The provided expression refers to an attribute that does not exist in the item"
)
KEY_UPDATED: Final = (
    "One or more parameter values were invalid: "
    "Cannot update attribute {name}. This attribute is part of the key"
)
KEY_NOT_SCALAR: Final = (
    "Key attributes must be scalars; "
    "list random access '[]' and map lookup '.' are not allowed: Key: {name}"
)
UNUSED: Final = "Value provided in {parameter} unused in expressions: keys: {{{keys}}}"
PARAMETER_EMPTY: Final = "{parameter} must not be empty"
PLACEHOLDER_SYNTAX: Final = '{parameter} contains invalid key: Syntax error; key: "{key}"'
PLACEHOLDER_TOO_LONG: Final = (
    "{parameter} contains invalid key: "
    "The expression attribute map contains a key that is too long; key size: {size}"
)
NAME_EMPTY: Final = (
    "ExpressionAttributeNames contains invalid value: Empty attribute name for key {key}"
)
QUERY_TOO_MANY: Final = "Conditions can be of length 1 or 2 only"
QUERY_KEY_MISSING: Final = "Query condition missed key schema element: {name}"
QUERY_NOT_SUPPORTED: Final = "Query key condition not supported"
QUERY_OPERATOR_UNFIT: Final = "Attempted conditional constraint is not an indexable operation"
QUERY_TYPE: Final = (
    "One or more parameter values were invalid: Condition parameter type does not match schema type"
)


def bad_expression(label: str, sentence: Sentence, **facts: object) -> ValidationError:
    """Build the error for one bad expression; `label` is the parameter it came in."""
    return ValidationError(f"Invalid {label}: {sentence.value.format(**facts)}")
