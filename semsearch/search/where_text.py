"""The short text form of a filter, as it is typed: `year >= 1990 and genres contains "Drama"`.

It becomes the mapping that `semsearch.search.where` reads.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from semsearch.errors import FilterError

GRAMMAR = r"""
?start: any
?any: all ("or"i all)*                          -> any
?all: one ("and"i one)*                         -> all
?one: "not"i one                                -> negated
    | "(" any ")"
    | field OPERATOR value                      -> compared
    | field "in"i values                          -> among
    | field "not"i "in"i values                   -> not_among
    | field "contains"i value                   -> contains
    | field "like"i value                       -> like
    | field "between"i value "and"i value         -> between
    | field "not"i "between"i value "and"i value  -> not_between
    | field ["in"i] ["the"i] "last"i [NUMBER] UNIT  -> last
    | field "exists"i                           -> exists
    | field "not"i "exists"i                    -> missing
values: ("(" [value ("," value)*] ")" | "[" [value ("," value)*] "]")
value: STRING | NUMBER | WORD | DATE
field: NAME | QUOTED
OPERATOR: ">=" | "<=" | "!=" | "<>" | "==" | "=" | ">" | "<"
UNIT: /(second|minute|hour|day|week|month|year)s?\b/i
DATE.2: /\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?)?(?![\w:.-])/i
WORD.2: /(true|false|null)\b/i
NAME: /(?!(and|or|not|in|contains|like|exists|true|false|null)\b)[^\W\d][\w.-]*/i
QUOTED: /`[^`]+`/
STRING: /"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'/
NUMBER: /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
%ignore /\s+/
"""

_OPERATORS = {"=": "$eq", "==": "$eq", "!=": "$ne", "<>": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
MAX_FILTER_DEPTH = 50  # levels of a filter
MAX_FILTER_TEXT = 1_000_000  # characters of a filter that is a text, and of a text in a filter
MAX_TOKENS = 30_000  # of a text: ten thousand values with their commas, and a thousand conditions
_MAX_DIGITS = 400  # more than any float has before its point, and fewer than Python refuses to read
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
EXAMPLE = """year >= 1990 and genres contains "Drama" and not (studio = "X" or rating in (1, 2))"""


def parse_where(text: str) -> dict[str, Any]:
    """The mapping that `text` stands for; text that begins with `{` is the mapping itself, as JSON.

    Comparisons `= != > >= < <=`, `between … and …`, `in (…)`, `not in (…)`, `contains` (of a list), `like` (a
    substring), `in the last 30 days`, `exists`, `not exists`; joined by `and`, `or`, `not` and parentheses. Texts stand
    in quotes, with a backslash before quotes and backslashes in them, dates in ISO form (`2024-05-01`, `2024-05`,
    `2024-05-01T12:00Z`), field names with spaces in backticks.

    Raises:
        FilterError: says at which character, and what could stand there.
    """
    if len(text) > MAX_FILTER_TEXT:
        raise FilterError(f"the filter has {len(text):,} characters; at most {MAX_FILTER_TEXT:,} are allowed.")
    if text.lstrip().startswith("{"):
        return _from_json(text)
    from lark.exceptions import UnexpectedInput

    try:
        interactive = _parser().parse_interactive(text)
        for count, _ in enumerate(interactive.iter_parse(), 1):
            if count > MAX_TOKENS:
                raise FilterError(f"the filter has more than {MAX_TOKENS:,} words, numbers and signs: ask in parts.")
        return _mapping(interactive.feed_eof(), 0)
    except UnexpectedInput as error:
        at_end = getattr(getattr(error, "token", None), "type", None) == "$END"
        place = len(text) if at_end else error.pos_in_stream or 0
        seen = "the end" if at_end else f"{text[place : place + 20]!r}"
        raise FilterError(
            f"the filter can't be read at character {place + 1}, at {seen}: {text!r:.200}. An example: {EXAMPLE}"
        ) from error


def _from_json(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text, parse_int=_integer, object_pairs_hook=_once))
    except RecursionError as error:
        raise FilterError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels.") from error
    except json.JSONDecodeError as error:
        raise FilterError(f"the filter begins like JSON but is none ({error}).") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members, none of them lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise FilterError(
                f"the filter names {name!r:.60} twice in one object, which means only the last: use $and."
            )
        found[name] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise FilterError(f"the number {digits:.20}… of {len(digits):,} digits does not fit 64 bits.")
    return int(digits)


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)


def _mapping(tree: Any, depth: int) -> dict[str, Any]:
    """A node of the parse tree, as the filter it stands for, inside of so many parentheses and nots."""
    if depth > MAX_FILTER_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels.")
    match tree.data:
        case "any":
            return _joined("$or", tree.children, depth + 1)
        case "all":
            return _joined("$and", tree.children, depth)
        case "negated":
            return {"$not": _mapping(tree.children[0], depth + 1)}
    name = str(tree.children[0].children[0]).strip("`")
    name = f"${name}" if name.startswith("$") else name  # which is no operator's
    match tree.data:
        case "compared":
            return {name: {_OPERATORS[tree.children[1]]: _value(tree.children[2])}}
        case "among" | "not_among":
            operator = "$in" if tree.data == "among" else "$nin"
            return {name: {operator: [_value(value) for value in tree.children[1].children]}}
        case "between" | "not_between":
            between = {name: {"$between": [_value(value) for value in tree.children[1:]]}}
            return between if tree.data == "between" else {"$and": [{name: {"$exists": True}}, {"$not": between}]}
        case "last":
            return {name: {"$last": " ".join(str(token) for token in tree.children[1:])}}
        case "contains" | "like":
            return {name: {f"${tree.data}": _value(tree.children[1])}}
    return {name: {"$exists": tree.data == "exists"}}


def _joined(operator: str, parts: list[Any], depth: int) -> dict[str, Any]:
    found = [_mapping(part, depth) for part in parts]
    return found[0] if len(found) == 1 else {operator: found}


def _escaped(escape: re.Match[str]) -> str:
    """What stands behind a backslash, which is needed before quotes and itself alone."""
    if escape[1] not in "\\\"'":
        raise FilterError(
            f"the filter has the escape {escape[0]!r:.20} in a text; a backslash stands before quotes and another "
            "backslash alone: write two for one."
        )
    return escape[1]


def _value(node: Any) -> str | int | float | bool | dict[str, str] | None:
    token = node.children[0]
    if token.type == "DATE":
        return {"$date": str(token)}
    if token.type == "STRING":
        return _ESCAPE.sub(_escaped, token[1:-1])
    if token.type == "WORD":
        return {"true": True, "false": False, "null": None}[token.lower()]
    return _integer(token) if token.lstrip("+-").isdigit() else float(token)
