"""Files that differ from good ones at random, for Hypothesis."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=6),
    st.sampled_from([[], {}, [[]], 10**350, "9" * 5000]),
)


def changed(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes changed, cut out and put in."""
    edit = st.tuples(st.integers(0, len(content)), st.integers(0, 8), st.binary(max_size=8))

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        result = bytearray(content)
        for place, removed, added in edits:
            result[place : place + removed] = added
        return bytes(result)

    return st.lists(edit, min_size=1, max_size=8).map(edited)


def changed_json(tree: Any) -> st.SearchStrategy[Any]:
    """Other values in one to three places of what was read from JSON."""
    change = st.tuples(st.sampled_from(list(_places(tree))), VALUES)

    def with_changes(changes: list[tuple[tuple, Any]]) -> Any:
        result = copy.deepcopy(tree)
        for (*folders, name), value in changes:
            inside = result
            for folder in folders:
                inside = inside[folder]
            inside[name] = copy.deepcopy(value)
        return result

    # From the deepest: a place is gone once what it lies in has another value.
    return st.lists(change, min_size=1, max_size=3).map(
        lambda changes: with_changes(sorted(changes, key=lambda it: -len(it[0])))
    )


def _places(tree: Any, above: tuple = ()) -> Iterator[tuple]:
    names = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for name in names:
        yield (*above, name)
        yield from _places(tree[name], (*above, name))
