"""Projection: the part of an item that a set of document paths names."""

from collections.abc import Mapping

from model.expressions.lexer import Kind
from model.expressions.operands import OperandParser, Trie, build_trie
from model.expressions.tree import AttributeValue, Item, Path, nested_heads


class Projection:
    """A compiled ProjectionExpression."""

    __slots__ = ("_names", "_trie", "nested", "paths", "used_names", "value_names")

    def __init__(self, paths: tuple[Path, ...], trie: Trie, used_names: tuple[str, ...]) -> None:
        """Take parsed paths that neither overlap nor conflict, and the `#names` they used."""
        self.paths = paths
        self.nested = nested_heads(paths)
        self.used_names = used_names
        self.value_names: tuple[str, ...] = ()
        self._trie = trie
        # Names only, if no path is nested: the frequent and fast case.
        self._names = None if self.nested else tuple(path.name for path in paths)

    def project(self, item: Item) -> Item:
        """Return a new item with what the paths find; it shares values with the old one."""
        if self._names is not None:
            return {name: item[name] for name in self._names if name in item}
        return project_item(self._trie, item)


class ProjectionParser(OperandParser):
    """Parses one projection expression."""

    __slots__ = ()

    def parse(self) -> Projection:
        """Read `path {, path}`. Raises ValidationError."""
        tokens = self.tokens
        paths: list[Path] = []
        while True:
            if not self.at_path():
                tokens.refuse()
            paths.append(self.path())
            if tokens.current.kind is Kind.END or not tokens.accept(","):
                break
        trie = build_trie(paths, self)
        self.finish()
        return Projection(tuple(paths), trie, tuple(self.used_names))


def project_item(trie: Trie, item: Item) -> Item:
    """Return what the paths of a trie find in an item."""
    found: Item = {}
    for name, child in trie.children.items():
        assert isinstance(name, str)
        value = item.get(name)
        part = None if value is None else _project(child, value)
        if part is not None:
            found[name] = part
    return found


def _project(trie: Trie, value: AttributeValue) -> AttributeValue | None:
    """Recurses once per element of a path, so at most 32 deep. None if nothing is found."""
    if trie.is_end:
        return value
    if trie.kind is str:
        within: Mapping[str, AttributeValue] | None = value.get("M")
        members = {} if within is None else project_item(trie, dict(within))
        return {"M": members} if members else None
    elements: list[AttributeValue] = value.get("L") or []
    # A projected list keeps the order of the elements and closes the gaps.
    indexes = sorted(index for index in trie.children if isinstance(index, int))
    parts = (
        _project(trie.children[index], elements[index])
        for index in indexes
        if index < len(elements)
    )
    kept = [part for part in parts if part is not None]
    return {"L": kept} if kept else None
