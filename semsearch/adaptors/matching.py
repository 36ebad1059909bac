"""Conditions with Python's meaning as filters, and searches by conditions that no filter says.

In Python `1 == 1.0 == True`, and a comparison with what is of another type is no error of the person who asks: a filter
as people write it (`semsearch.search.where_mapping`) tells types apart and refuses one that no document has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from semsearch.errors import FilterError
from semsearch.search.fields import composed, typed
from semsearch.search.where import (
    SIZES,
    And,
    Compare,
    Contains,
    Equal,
    Exists,
    Filter,
    Member,
    Not,
    Or,
    Size,
    Value,
    Within,
)
from semsearch.types import Document, Hit, Metadata

EVERYTHING: Final = And(())
NO_DOCUMENTS_AT_ALL: Final = Or(())
SIZE_OPERATORS: Mapping[str, Size] = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
FIRST_DEPTH, DEEPER = 64, 4  # hits that are looked at first, and how many times as many the next time


@dataclass(frozen=True, slots=True)
class Condition:
    """What documents must be: what `tree` allows, and of that what `holds` is true of, where the tree can't say all.

    `tree` never leaves out one that matches.
    """

    tree: Filter
    holds: Callable[[str, Metadata, Callable[[], Document]], bool] | None = None  # of id, metadata, and what reads it


def lacks(name: str) -> Filter:
    """The field is not there, or null."""
    return Or((Not(Exists(composed(name))), Equal(composed(name), Value("null", ""))))


def same(name: str, value: str | float | bool, *, element: bool = False) -> Filter:
    """The field, or an element of its list, equals a scalar as Python has it."""
    kind, name = Contains if element else Equal, composed(name)
    parts = tuple(kind(name, each) for each in _equal_values(value))
    return parts[0] if len(parts) == 1 else Or(parts)


def any_of(name: str, values: Iterable[str | float | bool]) -> Filter:
    """The field equals one of several scalars as Python has it."""
    return Member(composed(name), tuple(each for value in values for each in _equal_values(value)))


def sized(name: str, sign: str, value: str | float | bool) -> Filter:
    """The field is a number or a text, as `value` is, and is so much; truth values count as 0 and 1."""
    size, name = SIZE_OPERATORS[sign], composed(name)
    if isinstance(value, str):
        return Compare(name, size, Value(*typed(value))) if is_text(value) else NO_DOCUMENTS_AT_ALL
    compare = SIZES[size][1]
    truths = [Equal(name, Value("bool", truth)) for truth in (False, True) if compare(truth, value)]
    return Or((Compare(name, size, Value("number", _number(+value))), *truths))


def at_moment(name: str, sign: str, microseconds: int) -> Filter:
    """The field is a date that is so early or late, in microseconds since 1970; `sign` may be "==" too."""
    first: int | None = microseconds + (sign == ">")
    behind: int | None = microseconds + (sign in ("<=", "=="))
    if sign in (">", ">="):
        behind = None
    if sign in ("<", "<="):
        first = None
    return Within(composed(name), ((first, behind),))


def is_text(value: str) -> bool:
    """Whether a document can hold it."""
    return value.isprintable() or not any("\ud800" <= each <= "\udfff" or each == "\0" for each in value)


def _equal_values(value: str | float | bool) -> list[Value]:
    """All values that Python takes for this one; none where no document can hold it."""
    if isinstance(value, str):
        return [Value(*typed(value))] if is_text(value) else []
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return []
    values = [Value(*typed(value if isinstance(value, bool) else _number(value)))]
    if value in (0, 1):
        values.append(Value(*typed(int(value) if isinstance(value, bool) else bool(value))))
    return values


def _number(value: float) -> float:
    try:
        if math.isfinite(value):
            return value if -(2**63) <= value < 2**63 else float(value)
    except OverflowError:
        pass
    raise FilterError(f"a filter compares with a finite number, not {value!r:.60}.")


def found_where(ask: Callable[[int, Filter | None], Sequence[Hit]], k: int, condition: Condition | None) -> list[Hit]:
    """The `k` best hits that meet a condition, of `ask(depth, where)`, which gives the `depth` best of a filter."""
    where = None if condition is None or condition.tree == EVERYTHING else condition.tree
    if condition is None or condition.holds is None:
        return list(ask(k, where))
    depth = max(k, FIRST_DEPTH)
    while True:
        hits = ask(depth, where)
        good = [hit for hit in hits if condition.holds(hit.id, hit.metadata, partial(getattr, hit, "document"))]
        if len(good) >= k or len(hits) < depth:
            return good[:k]
        depth *= DEEPER
