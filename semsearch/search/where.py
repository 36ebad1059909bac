"""The short text form of a filter, as it is typed: `year >= 1990 and genres contains "Drama"`.

It becomes the mapping that `semsearch.local.store.filters` reads; nothing of it ever becomes SQL.
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
    | field "exists"i                           -> exists
    | field "not"i "exists"i                    -> missing
values: ("(" [value ("," value)*] ")" | "[" [value ("," value)*] "]")
value: STRING | NUMBER | WORD
field: NAME | QUOTED
OPERATOR: ">=" | "<=" | "!=" | "<>" | "==" | "=" | ">" | "<"
WORD.2: /(true|false|null)\b/i
NAME: /(?!(and|or|not|in|contains|like|exists|true|false|null)\b)[^\W\d][\w.-]*/i
QUOTED: /`[^`]+`/
STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/
NUMBER: /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
%ignore /\s+/
"""

_OPERATORS = {"=": "$eq", "==": "$eq", "!=": "$ne", "<>": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
EXAMPLE = """year >= 1990 and genres contains "Drama" and not (studio = "X" or rating in (1, 2))"""


def parse_where(text: str) -> dict[str, Any]:
    """The mapping that `text` stands for; text that begins with `{` is the mapping itself, as JSON.

    Comparisons `= != > >= < <=`, `in (…)`, `not in (…)`, `contains` (of a list), `like` (a substring), `exists`,
    `not exists`; joined by `and`, `or`, `not` and parentheses. Texts stand in quotes, field names with spaces in
    backticks.

    Raises:
        FilterError: says at which character, and what could stand there.
    """
    if text.lstrip().startswith("{"):
        try:
            mapping = json.loads(text)
        except ValueError as error:
            raise FilterError(f"the filter begins like JSON but is none ({error}).") from error
        return dict(mapping)
    from lark.exceptions import LarkError, UnexpectedInput

    try:
        return _mapping(_parser().parse(text))
    except UnexpectedInput as error:
        at_end = getattr(getattr(error, "token", None), "type", None) == "$END"
        place = len(text) if at_end else error.pos_in_stream or 0
        seen = "the end" if at_end else f"'{text[place : place + 20]}'"
        raise FilterError(
            f"the filter can't be read at character {place + 1}, at {seen}: {text!r:.200}. An example: {EXAMPLE}"
        ) from error
    except (LarkError, RecursionError) as error:
        raise FilterError(f"the filter can't be read ({type(error).__name__}). An example: {EXAMPLE}") from error


@cache
def _parser() -> Any:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)


def _mapping(tree: Any) -> dict[str, Any]:
    """A node of the parse tree, as the filter it stands for."""
    match tree.data:
        case "any":
            return _joined("$or", tree.children)
        case "all":
            return _joined("$and", tree.children)
        case "negated":
            return {"$not": _mapping(tree.children[0])}
    name = str(tree.children[0].children[0]).strip("`")
    match tree.data:
        case "compared":
            return {name: {_OPERATORS[tree.children[1]]: _value(tree.children[2])}}
        case "among" | "not_among":
            operator = "$in" if tree.data == "among" else "$nin"
            return {name: {operator: [_value(value) for value in tree.children[1].children]}}
        case "contains" | "like":
            return {name: {f"${tree.data}": _value(tree.children[1])}}
    return {name: {"$exists": tree.data == "exists"}}


def _joined(operator: str, parts: list[Any]) -> dict[str, Any]:
    return _mapping(parts[0]) if len(parts) == 1 else {operator: [_mapping(part) for part in parts]}


def _value(node: Any) -> str | int | float | bool | None:
    token = node.children[0]
    if token.type == "STRING":
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
    if token.type == "WORD":
        return {"true": True, "false": False, "null": None}[token.lower()]
    return int(token) if token.lstrip("+-").isdigit() else float(token)
