"""What every form of update does (Developer Guide, "Update expressions")."""

import copy
from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import check_update_keys, compile_update

KEY = {"pk": {"S": "k"}}
INVALID_PATH = "The document path provided in the update expression is invalid for update"
WRONG_TYPE = "An operand in the update expression has an incorrect data type"
NO_ATTRIBUTE = "The provided expression refers to an attribute that does not exist in the item"


def item() -> dict[str, Any]:
    return {
        "pk": {"S": "k"},
        "n": {"N": "5"},
        "s": {"S": "text"},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": ["AA=="]},
        "l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}]},
        "m": {"M": {"x": {"N": "1"}, "deep": {"M": {"y": {"L": [{"S": "z"}]}}}}},
    }


def apply(text: str, old: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Apply to `old` (or `item()`) and check that the old item was left alone."""
    before = item() if old is None else old
    untouched = copy.deepcopy(before)
    given = {f":{name}": value for name, value in values.items()}
    after = compile_update(text, None, given).apply(before, KEY, given)
    assert before == untouched
    return after


def refusal(text: str, old: dict[str, Any] | None = None, **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        apply(text, old, **values)
    return str(caught.value)


def changed(text: str, **values: Any) -> dict[str, Any]:
    """Apply to `item()` and return only what differs; None stands for a removed attribute."""
    before, after = item(), apply(text, **values)
    return {
        name: after.get(name)
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }


ONE = {"N": "1"}


def test_set_writes_values_paths_and_sums() -> None:
    assert changed("SET a = :v", v=ONE) == {"a": ONE}
    assert changed("SET n = :v", v={"S": "other type"}) == {"n": {"S": "other type"}}
    assert changed("SET a = m.deep.y[0]") == {"a": {"S": "z"}}
    assert changed("SET n = n + :v", v=ONE) == {"n": {"N": "6"}}
    assert changed("SET n = :v - n", v=ONE) == {"n": {"N": "-4"}}
    assert changed("SET a = n - m.x") == {"a": {"N": "4"}}
    assert changed("SET a = (n) + (:v), b = (n + :v)", v=ONE) == {
        "a": {"N": "6"},
        "b": {"N": "6"},
    }


def test_right_hand_sides_read_the_item_as_it_was() -> None:
    swapped = changed("SET n = s, s = n")

    assert swapped == {"n": {"S": "text"}, "s": {"N": "5"}}
    assert changed("SET a = n REMOVE n") == {"a": {"N": "5"}, "n": None}
    assert changed("SET l[0] = l[1], l[1] = l[0]")["l"] == {
        "L": [{"N": "1"}, {"N": "0"}, {"N": "2"}]
    }


def test_if_not_exists_keeps_what_is_there() -> None:
    assert changed("SET n = if_not_exists(n, :v)", v=ONE) == {}
    assert changed("SET c = if_not_exists(c, :v)", v=ONE) == {"c": ONE}
    assert changed("SET c = if_not_exists(c, :v) + :v", v=ONE) == {"c": {"N": "2"}}
    assert changed("SET c = if_not_exists(q, if_not_exists(q.r, n))") == {"c": {"N": "5"}}
    assert changed("SET m.z = if_not_exists(m.z, :v)", v=ONE)["m"]["M"]["z"] == ONE


def test_list_append_joins_in_the_order_given() -> None:
    three = [{"N": "0"}, {"N": "1"}, {"N": "2"}]

    assert changed("SET l = list_append(l, :v)", v={"L": [ONE]}) == {"l": {"L": [*three, ONE]}}
    assert changed("SET l = list_append(:v, l)", v={"L": [ONE]}) == {"l": {"L": [ONE, *three]}}
    assert changed(
        "SET q = list_append(if_not_exists(q, :e), :v)", e={"L": []}, v={"L": [ONE]}
    ) == {"q": {"L": [ONE]}}


def test_set_beyond_the_end_of_a_list_appends_in_the_order_of_indexes() -> None:
    after = apply("SET l[9] = :b, l[7] = :a, l[1] = :c", a={"S": "a"}, b={"S": "b"}, c={"S": "c"})

    assert after["l"] == {"L": [{"N": "0"}, {"S": "c"}, {"N": "2"}, {"S": "a"}, {"S": "b"}]}


def test_remove_takes_attributes_members_and_elements() -> None:
    assert changed("REMOVE n, s, gone") == {"n": None, "s": None}
    assert changed("REMOVE m.x")["m"] == {"M": {"deep": item()["m"]["M"]["deep"]}}
    assert changed("REMOVE m.gone") == {}
    assert changed("REMOVE l[9]") == {}


def test_removed_elements_are_counted_in_the_old_list() -> None:
    assert changed("REMOVE l[0], l[1]") == {"l": {"L": [{"N": "2"}]}}
    assert changed("REMOVE l[2], l[0]") == {"l": {"L": [{"N": "1"}]}}
    assert changed("SET l[2] = :v, l[5] = :v REMOVE l[0]", v=ONE) == {"l": {"L": [ONE, ONE, ONE]}}


def test_add_counts_and_unites() -> None:
    assert changed("ADD n :v, c :v", v=ONE) == {"n": {"N": "6"}, "c": ONE}
    assert changed("ADD n :v", v={"N": "-5.5"}) == {"n": {"N": "-0.5"}}
    assert changed("ADD ss :v", v={"SS": ["b", "c"]}) == {"ss": {"SS": ["a", "b", "c"]}}
    assert changed("ADD ns :v, q :v", v={"NS": ["3"]}) == {
        "ns": {"NS": ["1", "2", "3"]},
        "q": {"NS": ["3"]},
    }
    assert changed("ADD bs :v", v={"BS": ["/w=="]}) == {"bs": {"BS": ["AA==", "/w=="]}}
    assert changed("ADD m.x :v, m.fresh :v", v=ONE)["m"]["M"]["x"] == {"N": "2"}
    assert changed("ADD l[1] :v", v=ONE)["l"]["L"][1] == {"N": "2"}


def test_delete_takes_members_and_the_attribute_with_the_last_one() -> None:
    assert changed("DELETE ss :v", v={"SS": ["b", "z"]}) == {"ss": {"SS": ["a"]}}
    assert changed("DELETE ss :v", v={"SS": ["a", "b"]}) == {"ss": None}
    assert changed("DELETE gone :v, ns :w", v={"SS": ["a"]}, w={"NS": ["1"]}) == {
        "ns": {"NS": ["2"]}
    }


def test_sections_come_in_any_order_and_case() -> None:
    after = apply("delete ss :s Add n :v reMOVE s SET a = :v", v=ONE, s={"SS": ["a"]})

    assert after["ss"] == {"SS": ["b"]}
    assert after["n"] == {"N": "6"}
    assert "s" not in after
    assert after["a"] == ONE


def test_update_of_a_missing_item_makes_it_from_the_key() -> None:
    update = compile_update("SET a = :v ADD c :v", None, {":v": ONE})

    assert update.apply(None, KEY, {":v": ONE}) == {"pk": {"S": "k"}, "a": ONE, "c": ONE}
    assert KEY == {"pk": {"S": "k"}}


def test_update_copies_only_along_the_touched_paths() -> None:
    before = item()
    after = compile_update("SET m.x = :v", None, {":v": ONE}).apply(before, KEY, {":v": ONE})

    assert after["m"] is not before["m"]
    assert after["m"]["M"]["deep"] is before["m"]["M"]["deep"]
    assert after["l"] is before["l"]


@pytest.mark.parametrize(
    "text",
    [
        "SET q.x = :v", "SET s.x = :v", "SET l.x = :v", "SET m[0] = :v", "SET ss[0] = :v",
        "SET m.q.x = :v", "SET l[5].x = :v", "SET l[0][0] = :v", "ADD q.x :v", "ADD q[0] :v",
    ],
)  # fmt: skip
def test_path_whose_parent_is_missing_or_of_another_type_is_invalid(text: str) -> None:
    assert refusal(text, v=ONE) == INVALID_PATH


@pytest.mark.parametrize("text", ["REMOVE q.x", "REMOVE s.x", "REMOVE m[0]", "REMOVE q[0]"])
def test_remove_wants_the_parent_but_not_the_leaf(text: str) -> None:
    """Source: scylladb issue 10043."""
    assert refusal(text) == INVALID_PATH


@pytest.mark.parametrize(
    "text",
    ["SET a = q", "SET a = m.q", "SET a = l[3]", "SET a = q + :v", "SET a = if_not_exists(q, r)"],
)
def test_operand_that_is_missing_from_the_item_is_refused(text: str) -> None:
    assert refusal(text, v=ONE) == NO_ATTRIBUTE if ":v" in text else refusal(text) == NO_ATTRIBUTE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SET a = s + :v", ONE),
        ("SET a = :v - ss", ONE),
        ("SET a = list_append(n, :v)", {"L": []}),
        ("ADD s :v", ONE),
        ("ADD n :v", {"NS": ["1"]}),
        ("ADD ss :v", {"NS": ["1"]}),
        ("ADD ss :v", ONE),
        ("ADD m :v", ONE),
        ("DELETE ss :v", {"NS": ["1"]}),
        ("DELETE n :v", {"NS": ["1"]}),
    ],
)
def test_operand_of_the_wrong_type_in_the_item_is_refused(text: str, value: Any) -> None:
    assert refusal(text, v=value) == WRONG_TYPE


@pytest.mark.parametrize(
    ("text", "value", "sentence"),
    [
        (
            "SET a = n + :v",
            {"S": "1"},
            "Incorrect operand type for operator or function; "
            "operator or function: +, operand type: S",
        ),
        (
            "SET a = list_append(l, :v)",
            ONE,
            "Incorrect operand type for operator or function; "
            "operator or function: list_append, operand type: N",
        ),
        (
            "ADD n :v",
            {"S": "1"},
            "Incorrect operand type for operator or function; "
            "operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            "DELETE n :v",
            {"M": {}},
            "Incorrect operand type for operator or function; "
            "operator: DELETE, operand type: MAP, typeSet: ALLOWED_FOR_DELETE_OPERAND",
        ),
    ],
)
def test_value_of_the_wrong_type_is_refused_before_any_item_is_read(
    text: str, value: Any, sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        compile_update(text, None, {":v": value})

    assert str(caught.value) == f"Invalid UpdateExpression: {sentence}"


MISUSED = "The function is not allowed to be used this way in an expression; function: list_append"
OVERLAP = "Two document paths overlap with each other; must remove or rewrite one of these paths; "
CONFLICT = (
    "Two document paths conflict with each other; must remove or rewrite one of these paths; "
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The expression can not be empty;"),
        ("INVALID SYNTAX", 'Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
        ("set _a = :v", 'Syntax error; token: "_", near: "set _a"'),
        ("SET  REMOVE #Options", 'Syntax error; token: "REMOVE", near: "SET  REMOVE #Options"'),
        ("SET", 'Syntax error; token: "<EOF>", near: "SET"'),
        ("SET a", 'Syntax error; token: "<EOF>", near: "a"'),
        ("SET a = :v,", 'Syntax error; token: "<EOF>", near: ","'),
        ("SET a = :v b = :v", 'Syntax error; token: "b", near: ":v b ="'),
        ("SET a = :v + :v + :v", 'Syntax error; token: "+", near: ":v + :v"'),
        ("SET a = (:v", 'Syntax error; token: "<EOF>", near: ":v"'),
        ("SET a = f(:v", 'Syntax error; token: "<EOF>", near: ":v"'),
        ("SET a = f(:v + :v)", 'Syntax error; token: "+", near: ":v + :v"'),
        ("SET a = f()", 'Syntax error; token: ")", near: "()"'),
        ("ADD a b", 'Syntax error; token: "b", near: "a b"'),
        ("REMOVE a = :v", 'Syntax error; token: "=", near: "a = :v"'),
        ("DELETE :v a", 'Syntax error; token: ":v", near: "DELETE :v a"'),
        (
            "SET a = :v SET b = :v",
            'The "SET" section can only be used once in an update expression;',
        ),
        (
            "remove a remove b",
            'The "REMOVE" section can only be used once in an update expression;',
        ),
        ("SET name = :v", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("SET a = foo(:v)", "Invalid function name; function: foo"),
        (
            "SET a = size(b)",
            "The function is not allowed in an update expression; function: size",
        ),
        (
            "SET a = list_append(b)",
            "Incorrect number of operands for operator or function; "
            "operator or function: list_append, number of operands: 1",
        ),
        *(
            (f"SET a = {value}", MISUSED)
            for value in (
                "list_append(list_append(b, :v), :v)",
                "list_append(:v, (list_append(b, :v)))",
                "if_not_exists(b, list_append(b, :v))",
                "list_append(if_not_exists(b, list_append(b, :v)), :v)",
                "list_append(b, :v) + :v",
                ":v - list_append(b, :v)",
            )
        ),
        (
            "SET a = if_not_exists(:v, b)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        ("SET a = :v, a = :v", OVERLAP + "path one: [a], path two: [a]"),
        ("SET a = :v REMOVE a.b", OVERLAP + "path one: [a], path two: [a, b]"),
        ("SET a.b[0].c = :v REMOVE a.b", OVERLAP + "path one: [a, b, [0], c], path two: [a, b]"),
        ("SET b = :v, a.b = :v, a[1] = :v", CONFLICT + "path one: [a, b], path two: [a, [1]]"),
        (
            "SET a = :q",
            "An expression attribute value used in expression is not defined; attribute value: :q",
        ),
    ],
)
def test_meaningless_update_is_refused_with_its_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        compile_update(text, {"#Options": "Options"}, {":v": ONE})

    assert str(caught.value) == f"Invalid UpdateExpression: {sentence}"


def test_paths_side_by_side_do_not_overlap() -> None:
    compile_update("SET a.b = :v, a.c = :v, d[0] = :v, d[1].e = :v REMOVE f", None, {":v": ONE})


def test_key_attributes_may_not_be_updated() -> None:
    update = compile_update("SET a = :v REMOVE sk.part", None, {":v": ONE})

    check_update_keys(update, ("pk",))
    with pytest.raises(ValidationError) as caught:
        check_update_keys(update, ("pk", "sk"))
    assert str(caught.value) == (
        "One or more parameter values were invalid: "
        "Cannot update attribute sk. This attribute is part of the key"
    )


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("SET n = :v, fresh = :v", {"n": {"N": "5"}}, {"n": ONE, "fresh": ONE}),
        ("SET m.x = :w", {"m": {"M": {"x": ONE}}}, {"m": {"M": {"x": {"N": "9"}}}}),
        (
            "SET l[2] = :v, l[0] = :v",
            {"l": {"L": [{"N": "0"}, {"N": "2"}]}},
            {"l": {"L": [ONE, ONE]}},
        ),
        ("SET l[7] = :v", {}, {}),
        ("REMOVE n, m.x", {"n": {"N": "5"}, "m": {"M": {"x": ONE}}}, {}),
        ("REMOVE l[0]", {"l": {"L": [{"N": "0"}]}}, {"l": {"L": [{"N": "1"}]}}),
        ("REMOVE l[2]", {"l": {"L": [{"N": "2"}]}}, {}),
        ("REMOVE l[0], l[1]", {"l": {"L": [{"N": "0"}, {"N": "1"}]}}, {"l": {"L": [{"N": "2"}]}}),
        (
            "SET l[1] = :v REMOVE l[0]",
            {"l": {"L": [{"N": "0"}, {"N": "1"}]}},
            {"l": {"L": [ONE, {"N": "2"}]}},
        ),
    ],
)
def test_touched_parts_are_nested_as_in_the_item(
    text: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """UPDATED_OLD and UPDATED_NEW; an index means the list as it was, and the list as it is.

    Source: ExtendDB issue 98.
    """
    values = {":v": ONE, ":w": {"N": "9"}}
    update = compile_update(text, None, values)
    old = item()

    assert update.touched_before(old) == before
    assert update.touched_before(None) == {}
    assert update.touched_after(update.apply(old, KEY, values)) == after


@pytest.mark.parametrize(
    "value",
    ["(m).x", "((m).x)", "(m.deep).y[0]", "(m).deep.y[0]", "((m).deep).y[0]", "(m.deep.y)[0]"],
)
def test_part_of_a_path_may_be_in_parentheses(value: str) -> None:
    plain = value.replace("(", "").replace(")", "")
    assert changed(f"SET a = {value}") == changed(f"SET a = {plain}")
    assert changed(f"SET a = if_not_exists({value}, n)") == changed(f"SET a = {plain}")
    if plain == "m.x":
        assert changed(f"SET a = {value} + n") == changed("SET a = m.x + n")


@pytest.mark.parametrize("text", ["SET a = ((m)).x", "SET a = :v + ((m)).x", "SET a = ((m.x))"])
def test_doubled_parentheses_inside_of_a_path_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="The expression has redundant parentheses;"):
        compile_update(text, None, {":v": ONE})


@pytest.mark.parametrize("text", ["SET a = (:v).x", "SET a = (m + n).x", "SET (m).x = :v"])
def test_only_a_path_goes_on_after_parentheses(text: str) -> None:
    with pytest.raises(ValidationError, match="Syntax error"):
        compile_update(text, None, {":v": ONE})


def test_greatest_index_appends() -> None:
    for index in (3, 2**31, 2**32 - 2):
        assert changed(f"SET l[{index}] = :v", v=ONE)["l"]["L"][3] == ONE
    with pytest.raises(ValidationError) as caught:
        compile_update(f"SET l[{2**32 - 1}] = :v", None, {":v": ONE})
    assert str(caught.value) == (
        "Invalid UpdateExpression: "
        "List index is not within the allowable range; index: [4294967295]"
    )


@pytest.mark.parametrize("text", ["SET a = ((:v))", "SET a = :v + ((n))", "SET a = ((n)), b = :v"])
def test_doubled_parentheses_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="The expression has redundant parentheses;"):
        compile_update(text, None, {":v": ONE})


def test_parentheses_around_one_operand_are_fine() -> None:
    assert changed("SET a = ((n) + (:v))", v=ONE) == {"a": {"N": "6"}}
    assert changed("SET a = (n) - :v", v=ONE) == {"a": {"N": "4"}}
    assert changed("SET a = (if_not_exists(q, (:v)))", v=ONE) == {"a": ONE}
