"""Check the `#names` and `:values` a request brings, before any expression is looked at."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from model.errors import ValidationError
from model.expressions.sentences import (
    NAME_EMPTY,
    NAME_TOO_LONG,
    NO_EXPRESSION,
    PARAMETER_EMPTY,
    PLACEHOLDER_SYNTAX,
    PLACEHOLDER_TOO_LONG,
)
from model.limits import ATTRIBUTE_NAME_BYTES_MAX, ECHO_LENGTH_MAX, SUBSTITUTION_LENGTH_MAX

NAMES: Final = "ExpressionAttributeNames"
VALUES: Final = "ExpressionAttributeValues"

_NAME: Final = re.compile(r"#[A-Za-z0-9_]+")
_VALUE: Final = re.compile(r":[A-Za-z0-9_]+")

# Parameters whose grammar has no values: AWS leaves them out where it lists what is missing.
_WITHOUT_VALUES: Final = frozenset({"ProjectionExpression"})


def check_placeholders(
    names: Mapping[str, str] | None,
    values: Mapping[str, object] | None,
    expressions: Mapping[str, str | None],
) -> None:
    """Raise ValidationError if names or values came without an expression, empty or misspelt.

    `expressions` are all that the operation takes, by parameter, None where absent. The values
    themselves are checked elsewhere (model.values).
    """
    if names is None and values is None:
        return
    if names is not None:
        _check_needed(NAMES, expressions, "")
        _check_keys(NAMES, names, _NAME)
        for key, name in names.items():
            if not name:
                raise ValidationError(NAME_EMPTY.format(key=key))
            if len(name.encode()) > ATTRIBUTE_NAME_BYTES_MAX:
                raise ValidationError(NAME_TOO_LONG.format(key=key))
    if values is not None:
        taking = {name: text for name, text in expressions.items() if name not in _WITHOUT_VALUES}
        verb = "is" if len(taking) == 1 else "are"
        detail = f": {' and '.join(taking)} {verb} null" if taking else ""
        _check_needed(VALUES, taking, detail)
        _check_keys(VALUES, values, _VALUE)


def _check_needed(parameter: str, expressions: Mapping[str, str | None], detail: str) -> None:
    if all(text is None for text in expressions.values()):
        raise ValidationError(NO_EXPRESSION.format(parameter=parameter, detail=detail))


def _check_keys(parameter: str, given: Iterable[str], pattern: re.Pattern[str]) -> None:
    is_empty = True
    for key in given:
        is_empty = False
        if len(key) > SUBSTITUTION_LENGTH_MAX:
            raise ValidationError(PLACEHOLDER_TOO_LONG.format(parameter=parameter, size=len(key)))
        if pattern.fullmatch(key) is None:
            raise ValidationError(
                PLACEHOLDER_SYNTAX.format(parameter=parameter, key=key[:ECHO_LENGTH_MAX])
            )
    if is_empty:
        raise ValidationError(PARAMETER_EMPTY.format(parameter=parameter))
