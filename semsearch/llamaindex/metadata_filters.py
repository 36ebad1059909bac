"""LlamaIndex's filters as conditions on stored nodes, with the meaning of its own in-memory store, and nested.

A field that is missing or null meets `!=` and `nin` alone; `not` means that none of the filters is met; texts are
looked into letter by letter. A comparison with what is of another type, an error there, is not met here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from semsearch.adaptors.matching import EVERYTHING, NO_DOCUMENTS_AT_ALL, Condition, any_of, lacks, same, sized
from semsearch.errors import FilterError
from semsearch.search.fields import composed, folded
from semsearch.search.where import And, Equal, Filter, Like, Not, Or, Value
from semsearch.types import Metadata

MAX_FILTER_LEVELS = 50
SIZED = {
    FilterOperator.GT: operator.gt,
    FilterOperator.GTE: operator.ge,
    FilterOperator.LT: operator.lt,
    FilterOperator.LTE: operator.le,
}
NEGATED = (FilterOperator.NE, FilterOperator.NIN)

TreePart = tuple[Filter, bool]  # what never leaves out one that is met, and whether it says all


def condition_of_filters(filters: MetadataFilters | None, *further: Filter) -> Condition | None:
    """What `filters` and `further` ask for together; None where nothing is asked for.

    Raises:
        FilterError: What can't be understood of them.
    """
    tree, exact = (EVERYTHING, True) if filters is None else _tree(filters, 0)
    parts = [part for part in (tree, *further) if part != EVERYTHING]
    whole = EVERYTHING if not parts else parts[0] if len(parts) == 1 else And(tuple(parts))
    if exact:
        return None if whole == EVERYTHING else Condition(whole)
    assert filters is not None, "nothing is exact"
    return Condition(whole, lambda identity, metadata, read: is_met(filters, metadata))


def is_met(filters: MetadataFilters, metadata: Metadata) -> bool:
    """Whether a node's metadata meet filters, as LlamaIndex's own store has it."""
    if not filters.filters:
        return True
    met = (
        is_met(part, metadata) if isinstance(part, MetadataFilters) else _leaf_is_met(part, metadata)
        for part in filters.filters
    )
    if filters.condition == FilterCondition.OR:
        return any(met)
    return not any(met) if filters.condition == FilterCondition.NOT else all(met)


def _leaf_is_met(leaf: MetadataFilter, metadata: Metadata) -> bool:
    found, sign, value = metadata.get(leaf.key), leaf.operator, leaf.value
    if sign == FilterOperator.IS_EMPTY:
        return found is None or found == "" or found == []
    if found is None:
        return sign in NEGATED
    if sign in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE) and not (
        isinstance(found, str) and isinstance(value, str)
    ):
        return False
    try:
        return bool(_MEANINGS[sign](found, value))
    except TypeError:  # of another type
        return False


_MEANINGS: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: operator.eq,
    FilterOperator.NE: operator.ne,
    **SIZED,
    FilterOperator.IN: lambda found, value: found in value,
    FilterOperator.NIN: lambda found, value: found not in value,
    FilterOperator.CONTAINS: lambda found, value: value in found,
    FilterOperator.ANY: lambda found, value: any(one in found for one in value),
    FilterOperator.ALL: lambda found, value: all(one in found for one in value),
    FilterOperator.TEXT_MATCH: lambda found, value: value in found,
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda found, value: value.lower() in found.lower(),
}


def _tree(filters: MetadataFilters, depth: int) -> TreePart:
    if depth > MAX_FILTER_LEVELS:
        raise FilterError(f"the filters are nested deeper than {MAX_FILTER_LEVELS} levels.")
    if not filters.filters:
        return EVERYTHING, True
    found = [_tree(part, depth + 1) if isinstance(part, MetadataFilters) else _leaf(part) for part in filters.filters]
    parts, exact = tuple(part for part, _ in found), all(says_all for _, says_all in found)
    if filters.condition == FilterCondition.NOT:
        return (Not(Or(parts)), True) if exact else (EVERYTHING, False)
    return (Or(parts) if filters.condition == FilterCondition.OR else And(parts)), exact


def _leaf(leaf: MetadataFilter) -> TreePart:
    name, sign, value = leaf.key, leaf.operator, leaf.value
    several = isinstance(value, Sequence) and not isinstance(value, str)
    if sign == FilterOperator.IS_EMPTY:
        return Or((lacks(name), Equal(composed(name), Value("text", "")), _is(name, "list"))), False
    if sign in NEGATED:
        positive = FilterOperator.EQ if sign == FilterOperator.NE else FilterOperator.IN
        met, exact = _leaf(leaf.model_copy(update={"operator": positive}))
        return (Not(met), True) if exact else (EVERYTHING, False)
    if sign == FilterOperator.EQ:
        return _equal_to(name, value, several)
    if sign in SIZED:
        if value is None or several:
            raise FilterError(f"'{sign.value}' on '{name}' compares with a number or a text, not {value!r:.60}.")
        return sized(name, sign.value, value), True  # type: ignore[arg-type]
    if value is None:
        raise FilterError(f"'{sign.value}' on '{name}' needs a value.")
    return _within(sign, name, value, several)


def _equal_to(name: str, value: Any, several: bool) -> TreePart:
    if several:
        return _is(name, "list"), False
    return NO_DOCUMENTS_AT_ALL if value is None else same(name, value), True


def _within(sign: FilterOperator, name: str, value: Any, several: bool) -> TreePart:
    """What looks into lists and texts."""
    if sign in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        if not isinstance(value, str):
            raise FilterError(f"'{sign.value}' on '{name}' looks for a text, not {value!r:.60}.")
        return _holding(name, value), False
    if sign == FilterOperator.CONTAINS:
        return (EVERYTHING, False) if several else _containing(name, value)
    if isinstance(value, str):  # Python looks into the text: letters, or a substring
        return EVERYTHING, False
    if not several:
        raise FilterError(f"'{sign.value}' on '{name}' takes a list, not {value!r:.60}.")
    if sign == FilterOperator.IN:
        return any_of(name, value), True
    found = [_containing(name, one) for one in value]
    parts, exact = tuple(part for part, _ in found), all(says_all for _, says_all in found)
    if sign == FilterOperator.ANY:
        return Or(parts), exact
    return And((Not(lacks(name)), *parts)), exact and bool(parts)


def _is(name: str, kind: Any) -> Filter:
    """The field is a list or a map."""
    return Equal(composed(name), Value(kind, ""))


def _containing(name: str, value: str | float) -> TreePart:
    """A list with that element; where it is a text, also a text that it stands in, or a map with that name."""
    element = same(name, value, element=True)
    if not isinstance(value, str):
        return element, True
    return Or((element, _holding(name, value), _is(name, "object"))), False


def _holding(name: str, text: str) -> Filter:
    """The field is a text in which another stands, whatever its capitals and accents: more than those that are met."""
    return Like(composed(name), folded(text)) if text.isascii() else EVERYTHING
