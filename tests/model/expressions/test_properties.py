"""Random expressions on random items: the compiled form agrees with the naive evaluator."""

import copy
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import example, given, reject
from hypothesis import strategies as st

from model.errors import ModelError, ValidationError
from model.expressions import (
    compile_condition,
    compile_key_condition,
    compile_projection,
    compile_update,
)
from model.expressions.tree import (
    AddAction,
    And,
    Arithmetic,
    Between,
    Call,
    Comparison,
    DeleteAction,
    In,
    Not,
    Or,
    Path,
    RemoveAction,
    SetAction,
    Value,
    post_order,
)
from model.keys import KeySchema
from model.numbers import normalise_number
from tests.model.expressions.naive import (
    NaiveRefusal,
    canonical,
    coded,
    naive_apply,
    naive_holds,
    plain,
)
from tests.model.expressions.printing import Printer

NAMES = ["a", "b", "c", "size", "odd.name", "é"]
TYPE_NAMES = ["S", "N", "B", "SS", "NS", "BS", "L", "M", "BOOL", "NULL"]

texts = st.sampled_from(["", "a", "ab", "b", "é", "𝄞", "\ufffd"])
numbers = st.sampled_from(["0", "1", "-1", "1.5", "10", "9", "-2.5", "1E20", "-1E-3"]).map(
    normalise_number
)
binaries = st.sampled_from([b"", b"\x00", b"\xff", b"\x00\xff", b"ab"]).map(
    lambda raw: b64encode(raw).decode()
)


def _set_of(members: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(members, min_size=1, max_size=3, unique=True)


scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    numbers.map(lambda number: {"N": number}),
    binaries.map(lambda binary: {"B": binary}),
    st.booleans().map(lambda yes: {"BOOL": yes}),
    st.just({"NULL": True}),
    _set_of(texts).map(lambda members: {"SS": members}),
    _set_of(numbers).map(lambda members: {"NS": members}),
    _set_of(binaries).map(lambda members: {"BS": members}),
)
attribute_values = st.recursive(
    scalars,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3).map(lambda elements: {"L": elements}),
        st.dictionaries(st.sampled_from(NAMES), inside, max_size=3).map(
            lambda members: {"M": members}
        ),
    ),
    max_leaves=6,
)
items = st.dictionaries(st.sampled_from(NAMES), attribute_values, max_size=5)
given_values = st.dictionaries(
    st.sampled_from([":a", ":b", ":c"]), attribute_values, min_size=3, max_size=3
)

paths = st.builds(
    Path,
    st.sampled_from(NAMES),
    st.lists(st.one_of(st.sampled_from(NAMES), st.integers(0, 3)), max_size=2).map(tuple),
)
values = st.sampled_from([":a", ":b", ":c"]).map(Value)
plain_operands = st.one_of(paths, values)
operands = st.one_of(paths, paths, values, paths.map(lambda path: Call("size", (path,))))
leaves = st.one_of(
    st.builds(Comparison, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), operands, operands),
    st.builds(Between, operands, operands, operands),
    st.builds(In, operands, st.lists(operands, min_size=1, max_size=3).map(tuple)),
    paths.map(lambda path: Call("attribute_exists", (path,))),
    paths.map(lambda path: Call("attribute_not_exists", (path,))),
    paths.map(lambda path: Call("attribute_type", (path, Value(":t")))),
    st.tuples(plain_operands, plain_operands).map(lambda pair: Call("begins_with", pair)),
    st.tuples(plain_operands, operands).map(lambda pair: Call("contains", pair)),
)
conditions = st.recursive(
    leaves,
    lambda inside: st.one_of(
        inside.map(Not),
        st.lists(inside, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inside, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)


Compiled = TypeVar("Compiled")


def compiled(compile_it: Callable[[], Compiled]) -> Compiled:
    """Compile a text from a printer; what it means may be refused, how it is written never."""
    try:
        return compile_it()
    except ValidationError as error:
        if "Syntax error" in str(error):
            raise AssertionError(str(error)) from error
        reject()


@given(conditions, items, given_values, st.sampled_from(TYPE_NAMES))
def test_condition_agrees_with_the_naive_evaluator(
    tree: Any, item: dict[str, Any], request_values: dict[str, Any], type_name: str
) -> None:
    printer = Printer()
    text = printer.condition(tree)
    request_values[":t"] = {"S": type_name}
    condition = compiled(lambda: compile_condition(text, printer.names, request_values))

    expected = naive_holds(
        tree,
        {name: plain(value) for name, value in item.items()},
        {name: plain(value) for name, value in request_values.items()},
    )

    assert condition.holds(item, request_values) is expected


@given(conditions)
def test_condition_that_is_written_and_read_is_the_same(tree: Any) -> None:
    printer = Printer()
    text = printer.condition(tree)
    every = {f":{name}": {"S": "x"} for name in "abct"}
    every[":t"] = {"S": "S"}
    condition = compiled(lambda: compile_condition(text, printer.names, every))

    assert condition.root == tree
    again = Printer()
    assert again.condition(condition.root) == text
    assert set(condition.used_names) == set(printer.names)
    used = {node.name for node in post_order(tree) if isinstance(node, Value)}
    assert set(condition.value_names) == used


set_values = st.one_of(
    plain_operands,
    st.builds(Arithmetic, st.sampled_from(["+", "-"]), plain_operands, plain_operands),
    st.tuples(paths, plain_operands).map(lambda pair: Call("if_not_exists", pair)),
    st.tuples(plain_operands, plain_operands).map(lambda pair: Call("list_append", pair)),
)
actions = st.one_of(
    st.builds(SetAction, paths, set_values),
    st.builds(RemoveAction, paths),
    st.builds(AddAction, paths, values),
    st.builds(DeleteAction, paths, values),
)
updates = st.lists(actions, min_size=1, max_size=4).map(
    # In the order in which the sections are printed, so that reading gives back the same tuple.
    lambda found: tuple(
        action
        for kind in dict.fromkeys(type(action) for action in found)
        for action in found
        if type(action) is kind
    )
)


@given(updates, items, given_values)
@example(
    (RemoveAction(Path("a", (0,))), SetAction(Path("a", (5,)), Value(":a"))),
    {"a": {"L": [{"N": "1"}]}},
    {":a": {"N": "2"}},
)
def test_update_agrees_with_the_naive_evaluator(
    tree: tuple[Any, ...], item: dict[str, Any], request_values: dict[str, Any]
) -> None:
    printer = Printer()
    text = printer.update(tree)
    update = compiled(lambda: compile_update(text, printer.names, request_values))
    assert update.actions == tree
    untouched = copy.deepcopy(item)
    try:
        expected = naive_apply(
            tree, item, {name: plain(value) for name, value in request_values.items()}
        )
        expected = {name: coded(value) for name, value in expected.items()}
    except (NaiveRefusal, ValidationError):
        expected = None

    try:
        found = update.apply(item, {}, request_values)
    except ValidationError:
        found = None

    assert item == untouched
    assert (found is None) == (expected is None)
    if found is not None:
        assert canonical(found) == expected


@given(st.lists(paths, min_size=1, max_size=4), items)
def test_projection_finds_what_each_path_finds(wanted: list[Path], item: dict[str, Any]) -> None:
    printer = Printer()
    text = ", ".join(map(printer.path, wanted))
    projection = compiled(lambda: compile_projection(text, printer.names))
    found = projection.project(item)

    leaves_found = sorted(repr(leaf) for leaf in _leaves(found, wanted, item))
    leaves_wanted = sorted(repr(leaf) for leaf in _leaves(item, wanted, item))
    assert len(leaves_found) == len(leaves_wanted)
    assert found.keys() <= item.keys()


def _leaves(source: dict[str, Any], wanted: list[Path], item: dict[str, Any]) -> list[object]:
    """Find each path's value; in a projected list an element has moved up past unwanted ones."""
    found = []
    for path in wanted:
        value = source.get(path.name)
        before: tuple[str | int, ...] = (path.name,)
        for element in path.rest:
            if value is None:
                break
            if isinstance(element, str):
                value = value.get("M", {}).get(element)
            else:
                position = element
                if source is not item:
                    earlier = {
                        other.elements[: len(before) + 1]
                        for other in wanted
                        if other.elements[: len(before)] == before
                        and len(other.elements) > len(before)
                        and int(other.elements[len(before)]) < element
                        and _exists(item, other)
                    }
                    position = len(earlier)
                elements = value.get("L", [])
                value = elements[position] if position < len(elements) else None
            before = (*before, element)
        if value is not None and _exists(item, path):
            found.append(value)
    return found


def _exists(item: dict[str, Any], path: Path) -> bool:
    value = item.get(path.name)
    for element in path.rest:
        if value is None:
            return False
        members = value.get("L" if isinstance(element, int) else "M")
        if members is None:
            return False
        if isinstance(element, int):
            value = members[element] if element < len(members) else None
        else:
            value = members.get(element)
    return value is not None


FRAGMENTS = [
    "a", "b.c", "a[0]", "#x", ":v", ":w", "(", ")", "((", "))", ",", "=", "<>", "<", "<=", "+", "-",
    "AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE", "size(", "contains(",
    "attribute_exists(", "if_not_exists(", "list_append(", "begins_with(", "name", "[", "]", ".",
    "99999999999", "_", "\x00", "é", "\ud800", "\n", "#", ":",
]  # fmt: skip
hostile = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(FRAGMENTS), max_size=20).map(" ".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=20).map("".join),
)
SCHEMA = KeySchema(partition_name="a", partition_type="S", sort_name="b", sort_type="N")


@given(hostile, items, st.sampled_from([{"S": "x"}, {"N": "1"}, {"L": []}, {"SS": ["x"]}]))
def test_any_text_is_evaluated_or_refused_with_a_model_error(
    text: str, item: dict[str, Any], value: dict[str, Any]
) -> None:
    names, request_values = {"#x": "odd.name"}, {":v": value, ":w": {"N": "7"}}
    for attempt in (
        lambda: compile_condition(text, names, request_values).holds(item, request_values),
        lambda: compile_update(text, names, request_values).apply(item, {}, request_values),
        lambda: compile_projection(text, names).project(item),
        lambda: compile_key_condition(text, names, request_values).bind(SCHEMA, request_values),
    ):
        with suppress(ModelError):
            attempt()
