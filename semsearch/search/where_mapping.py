"""Filters on metadata as people write them: a `where` is read and checked once, into the tree of `where.py`.

A mapping as people know it: `{"year": {"$gte": 1990}, "genres": {"$contains": "Drama"}}`, or the same as a text,
`year >= 1990 and genres contains "Drama"`. A field with a bare value means `$eq`; several fields, or several operators
of one, mean and.

Types never coerce, but for dates: a text in ISO form means the date where the field holds dates. A document without the
field fails every operator but `$ne` and `$exists: false`; an operand of a type that the field has in no document is an
error that names both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from semsearch.dates import last, span
from semsearch.errors import FilterError
from semsearch.metadata_values import LONG_UNITS, json_value
from semsearch.search.fields import Kind, composed, folded, listed_fields, typed
from semsearch.search.where import (
    SIZES,
    And,
    Compare,
    Contains,
    Equal,
    Exists,
    FieldCatalog,
    Filter,
    Like,
    Member,
    Not,
    Or,
    Value,
    Within,
)
from semsearch.search.where_text import MAX_FILTER_DEPTH, MAX_FILTER_TEXT, parse_where

MAX_CONDITIONS = 1_000  # of a filter
MAX_TREE = 4 * MAX_CONDITIONS  # of one that a program made, to which what means one condition may be a few
MAX_VALUES = 10_000  # of all its $in and $nin together
MAX_LIKE = 10_000  # characters

Where = str | Mapping[str, Any] | Filter
OPERATORS = ("$eq", *SIZES, "$ne", "$in", "$nin", "$between", "$last", "$exists", "$contains", "$like")


def parse(where: Where, fields: FieldCatalog) -> Filter:
    """The filter that `where` stands for, held against the `fields` that there are.

    A tree that a program made (`semsearch.search.where`) is taken as it is: what no document has matches nothing.

    Raises:
        FilterError: What can't be understood, and where in the filter.
    """
    if isinstance(where, Filter):
        _check_size(where)
        return where
    return _Reader(fields).mapping(parse_where(where) if isinstance(where, str) else where, "where", 0)


def settled(where: Any, depth: int = 0) -> Any:
    """`where` with lists for what can be gone through only once."""
    if depth > MAX_FILTER_DEPTH or isinstance(where, str | float | int):  # of too deep a one the parser tells
        return where
    if isinstance(where, Mapping):  # a look at a protocol costs most
        return {name: settled(value, depth + 1) for name, value in where.items()}
    return [settled(value, depth + 1) for value in where] if isinstance(where, list | tuple | Iterator) else where


@dataclass(slots=True)
class _Reader:
    """Reads one filter."""

    fields: FieldCatalog
    conditions: int = 0
    values: int = 0
    types: dict[tuple[str, bool], frozenset[Kind]] = field(default_factory=dict)

    def mapping(self, where: object, place: str, depth: int) -> Filter:
        if not isinstance(where, Mapping):
            like = "" if depth else ", or a text like 'year >= 1990'"
            raise FilterError(f"{place} must be a mapping of fields to conditions{like}, not {_shown(where)}.")
        _check_depth(place, depth)
        parts: list[Filter] = []
        for name, condition in where.items():
            here = f"{place}.{_named(name)}"
            if name in ("$and", "$or"):
                joined = tuple(
                    self.mapping(part, f"{here}[{i}]", depth + 1) for i, part in enumerate(_list(condition, here))
                )
                if not joined:
                    self.count(here)
                parts.append(And(joined) if name == "$and" else Or(joined))
            elif name == "$not":
                parts.append(Not(self.mapping(condition, here, depth + 1)))
            elif not isinstance(name, str) or (name.startswith("$") and not name.startswith("$$")):
                raise FilterError(
                    f"{here} is no operator that joins conditions; they are $and, $or and $not. A field whose name "
                    "begins with $ is written with two: $$price."
                )
            else:
                _check_text(name, here)
                parts.append(self.field(composed(name.removeprefix("$")), condition, here, depth))
        if not parts:
            self.count(place)
        return _all(parts)

    def field(self, name: str, condition: object, place: str, depth: int) -> Filter:
        _check_depth(place, depth)
        if not isinstance(condition, Mapping) or set(condition) == {"$date"}:
            condition = {"$eq": condition}
        if not condition:
            raise FilterError(f"{place} has no condition; the operators are {', '.join(OPERATORS)}.")
        parts: list[Filter] = []
        for operator_, operand in condition.items():
            here = f"{place}.{_named(operator_)}"
            if operator_ == "$not":
                parts.append(Not(self.field(name, operand, here, depth + 1)))
            elif operator_ not in OPERATORS:
                raise FilterError(f"{here} is no operator; they are {', '.join(OPERATORS)} and $not.")
            else:
                parts.append(self.condition(name, operator_, operand, here))
        return _all(parts)

    def count(self, place: str) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise FilterError(
                f"the filter has more than {MAX_CONDITIONS:,} conditions, at {place:.200}. Ask for many values of one "
                "field with $in."
            )

    def condition(self, name: str, operator_: str, operand: object, place: str) -> Filter:
        self.count(place)
        match operator_:
            case "$exists":
                if not isinstance(operand, bool):
                    raise FilterError(f"{place} takes true or false, not {_shown(operand)}.")
                return Exists(name) if operand else Not(Exists(name))
            case "$in":
                return self.member(name, operand, place)
            case "$nin":
                return And((Exists(name), Not(self.member(name, operand, place))))
            case "$eq":
                return self.equal(name, operand, place)
            case "$ne":
                return Not(self.equal(name, operand, place))
            case "$contains":
                self.check_type(name, "list", operand, place)
                return self.equal(name, operand, place, True)
            case "$like":
                return Like(name, self.like(name, operand, place))
            case "$between":
                return self.between(name, operand, place)
            case "$last":
                return self.last(name, operand, place)
        return self.size(name, operator_, operand, place)

    def between(self, name: str, operand: object, place: str) -> Filter:
        ends = _list(operand, place)
        if len(ends) != 2:
            raise FilterError(f"{place} takes two values, the least and the greatest, not {len(ends):,}.")
        least, greatest = (self.size(name, *end, place) for end in zip(("$gte", "$lte"), ends, strict=True))
        if _nothing_between(least, greatest):
            raise FilterError(
                f"{place} takes the least value first and the greatest second, of one type: nothing lies between "
                f"{_named_end(ends[0])} and {_named_end(ends[1])}."
            )
        return And((least, greatest))

    def size(self, name: str, operator_: str, operand: object, place: str) -> Filter:
        if (covered := self.date(name, operand, place)) is not None:
            first, behind = covered
            bounds = {"$gte": (first, None), "$gt": (behind, None), "$lt": (None, first), "$lte": (None, behind)}
            return Within(name, (bounds[operator_],))
        value = _scalar(operand, place)
        if value.kind not in ("number", "text"):
            raise FilterError(f"{place} compares by size and takes a number, a text or a date, not {_shown(operand)}.")
        self.check_type(name, value.kind, operand, place)
        return Compare(name, SIZES[operator_][0], value)

    def member(self, name: str, operand: object, place: str) -> Filter:
        values = _list(operand, place)
        self.values += len(values)
        if self.values > MAX_VALUES:
            so_far = "" if self.values == len(values) else f", the {self.values:,} of the filter so far with them"
            raise FilterError(
                f"{place} lists {len(values):,} values{so_far}; at most {MAX_VALUES:,} are allowed in a filter."
            )
        plain: list[Value] = []
        dates: list[tuple[int | None, int | None]] = []
        for value in values:
            covered = self.date(name, value, place)
            if covered is not None:
                dates.append(covered)
            if covered is None or isinstance(value, str):
                plain.append(self.value(name, value, place))
        among = Member(name, tuple(plain))
        return Or((among, Within(name, tuple(dates)))) if dates else among

    def equal(self, name: str, operand: object, place: str, element: bool = False) -> Filter:
        """The field, or an element of its list, is the operand; a text that is a date means both."""
        covered = self.date(name, operand, place, element)
        when = None if covered is None else Within(name, (covered,), element)
        if when is not None and not isinstance(operand, str):
            return when
        value = self.value(name, operand, place, element)
        same = Contains(name, value) if element else Equal(name, value)
        return same if when is None else Or((same, when))

    def date(self, name: str, operand: object, place: str, element: bool = False) -> tuple[int, int] | None:
        """What a date covers, as `semsearch.dates.span` says it; None of what is no date or means a text."""
        if isinstance(operand, str):
            covered = span(operand)
            return covered if covered is not None and "date" in self.types_of(name, element) else None
        text = _date_text(operand, place)
        if text is None:
            return None
        covered = _numpy_span(operand) or span(text)
        if covered is None:
            raise FilterError(
                f"{place}: {text!r:.60} is no date; they are written 2024-05-01, 2024-05 or 2024-05-01T12:00+02:00."
            )
        self.check_type(name, "date", text, place, element)
        return covered

    def last(self, name: str, operand: object, place: str) -> Filter:
        covered = last(said) if (said := _time_ago(operand)) is not None else None
        if covered is None:
            raise FilterError(
                f"{place} takes a time like '30 days' (seconds, minutes, hours, days, weeks, months or years, at least "
                f"one of them), or a timedelta, not {_shown(operand)}."
            )
        self.check_type(name, "date", operand, place)
        return Within(name, (covered,))

    def like(self, name: str, operand: object, place: str) -> str:
        if not isinstance(operand, str):
            raise FilterError(f"{place} looks for a substring and takes a text, not {_shown(operand)}.")
        _check_text(operand, place)
        if len(operand) > MAX_LIKE:
            raise FilterError(f"{place} looks for {len(operand):,} characters; at most {MAX_LIKE:,} are allowed.")
        self.check_type(name, "text", operand, place)
        return folded(operand)

    def value(self, name: str, operand: object, place: str, element: bool = False) -> Value:
        value = _scalar(operand, place)
        if value.kind != "null":
            self.check_type(name, value.kind, operand, place, element)
        return value

    def check_type(self, name: str, kind: Kind, operand: object, place: str, element: bool = False) -> None:
        """An operand of a type that the field has nowhere is a mistake, not an empty answer."""
        types = self.types_of(name, element)
        if kind in types or types == {"null"}:
            return
        if types:
            what = f"the elements of '{_named(name)}' are" if element else f"'{_named(name)}' holds"
            wants = "a list" if kind == "list" else f"a {kind}"
            hint = "; write a date as 2024-05-01" if kind == "number" and "date" in types else ""
            raise FilterError(
                f"{place}: {what} {' or '.join(sorted(types))}, but {_shown(operand)} asks for {wants}{hint}."
            )
        names = self.fields.names()
        if not element and name not in names:
            if not name:
                raise FilterError(f"{place}: the name of a field is empty; {listed_fields(name, names)}")
            raise FilterError(f"{place}: no document has the field '{_named(name)}'; {listed_fields(name, names)}")

    def types_of(self, name: str, element: bool) -> frozenset[Kind]:
        types = self.types.get((name, element))
        if types is None:
            types = self.types[name, element] = self.fields.types(name, element)
        return types


def _check_size(tree: Filter) -> None:
    """Refuse a tree that is larger than one that people write may be."""
    conditions, pending = 0, [(tree, 0)]
    while pending:
        part, depth = pending.pop()
        _check_depth("where", depth)
        if isinstance(part, And | Or):
            pending += [(inner, depth + 1) for inner in part.parts]
        elif isinstance(part, Not):
            pending.append((part.part, depth + 1))
        else:
            conditions += 1
    if conditions > MAX_TREE:
        raise FilterError(f"the filter has {conditions:,} conditions; at most {MAX_TREE:,} are allowed.")


def _all(parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _check_depth(place: str, depth: int) -> None:
    if depth > MAX_FILTER_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels, at {place:.200}.")


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"{place}: half a surrogate pair is no text.") from error
    if len(text) > MAX_FILTER_TEXT:
        raise FilterError(f"{place}: a text of {len(text):,} characters; at most {MAX_FILTER_TEXT:,} are allowed.")
    if "\0" in text:
        raise FilterError(f"{place}: it holds a NUL character, which no text has.")


def _date_text(operand: object, place: str) -> str | None:
    """The text of a date that can't be taken for a text; None of anything else."""
    if isinstance(operand, Mapping) and set(operand) == {"$date"}:
        operand = operand["$date"]
        if not isinstance(operand, str | date | np.datetime64):
            raise FilterError(f"{place}.$date takes a date as text, not {_shown(operand)}.")
        if isinstance(operand, str):
            return operand
    if not isinstance(operand, date | np.datetime64):
        return None
    if isinstance(operand, np.datetime64) and not np.isnat(operand) and np.datetime_data(operand)[0] in LONG_UNITS:
        return str(operand)
    try:
        return str(json_value(operand))
    except ValueError as error:
        raise FilterError(f"{place}: {error}.") from None


def _numpy_span(operand: object) -> tuple[int, int] | None:
    """What numpy's year, month or week covers, as `semsearch.dates.span` says it; None of anything else."""
    if isinstance(operand, Mapping):
        operand = operand["$date"]
    if not isinstance(operand, np.datetime64) or np.datetime_data(operand)[0] not in LONG_UNITS:
        return None
    days = [span(str(one.astype("datetime64[D]"))) for one in (operand, operand + 1)]
    return None if days[0] is None or days[1] is None else (days[0][0], days[1][0])


def _time_ago(operand: object) -> str | timedelta | None:
    """A time as `semsearch.dates.last` takes it; None of what is none."""
    if isinstance(operand, np.timedelta64):
        unit, count = np.datetime_data(operand)
        if unit in LONG_UNITS[:2] and not np.isnat(operand):
            return f"{operand.astype(int) * count} {'years' if unit == 'Y' else 'months'}"
        operand = operand.astype("timedelta64[us]").item() if unit != "generic" else None
    return operand if isinstance(operand, str | timedelta) else None


def _nothing_between(least: Filter, greatest: Filter) -> bool:
    """Whether no value can be as much as the one and as little as the other."""
    if isinstance(least, Within) and isinstance(greatest, Within):
        first, behind = least.ranges[0][0], greatest.ranges[0][1]
        return first is not None and behind is not None and first >= behind
    if not (isinstance(least, Compare) and isinstance(greatest, Compare)) or least.value.kind != greatest.value.kind:
        return True
    return bool(least.value.value > greatest.value.value)


def _scalar(operand: object, place: str) -> Value:
    if isinstance(operand, np.generic | Decimal | UUID | timedelta | time):
        with suppress(TypeError, ValueError):
            operand = json_value(operand)
    if operand is not None and not isinstance(operand, str | bool | int | float):
        raise FilterError(f"{place} takes a text, a number, a date, true, false or null, not {_shown(operand)}.")
    if isinstance(operand, float) and not math.isfinite(operand):
        raise FilterError(f"{place} takes a finite number, not {operand}.")
    if isinstance(operand, int) and not -(2**63) <= operand < 2**63:
        raise FilterError(f"{place}: {_shown(operand)} does not fit 64 bits.")
    if isinstance(operand, str):
        _check_text(operand, place)
    return Value(*typed(operand))


def _list(operand: object, place: str) -> Sequence[Any]:
    if isinstance(operand, str | bytes | Mapping) or not isinstance(operand, Iterable):
        raise FilterError(f"{place} takes a list, not {_shown(operand)}.")
    return operand if isinstance(operand, Sequence) else list(operand)


def _shown(value: object) -> str:
    try:
        return f"{value!r:.60}"
    except (ValueError, RecursionError):  # a number of too many digits to be written, or nested without end
        return f"a value of type {type(value).__name__} that is too large to be shown"


def _named_end(end: object) -> str:
    """An end of a range as a person has written it."""
    match end:
        case {"$date": str(text)}:
            return text[:60]
    return _shown(end)


def _named(name: object) -> str:
    """A name as a message can hold it."""
    if not isinstance(name, str):
        return _shown(name)
    return f"{name:.100}".encode(errors="backslashreplace").decode()
