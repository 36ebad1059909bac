"""What can be typed behind a command of the interactive query: words, numbers of hits, fields and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from semsearch.controls import one_line
from semsearch.search.fields import in_text

if TYPE_CHECKING:
    from semsearch.cli.repl import Session

OFFERED = 50  # values that are offered
_JOINT = re.compile(r"""\b(?:and|or|not)\s+(?=\S|$)|(?<!\bin\s)(?<!\bin)\(""", re.IGNORECASE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|["\'].*$', re.DOTALL)
_FIELD = r"(?:`(?P<quoted>[^`]*)`|(?P<name>[^\W\d][\w.-]*))"
_AT_FIELD = re.compile(r"`?[\w.\- ]*$")
_AT_OPERATOR = re.compile(rf"{_FIELD}\s+(?P<begun>[^\s\"']*)$")
_AT_VALUE = re.compile(
    rf"{_FIELD}\s*(?:=|==|!=|<>|>=|<=|>|<|\bcontains\s|\blike\s|\bin\s*[(\[](?:[^)\]]*,)?)\s*(?P<begun>[^,]*)$",
    re.IGNORECASE,
)
_PLAIN_NAME = re.compile(r"(?!(?:and|or|not|in|contains|like|exists|true|false|null)$)[^\W\d][\w.-]*", re.IGNORECASE)


class Offer(NamedTuple):
    """Something that can stand in the place of the last `replaced` characters."""

    text: str
    replaced: int
    told: str = ""  # beside it


Completing: TypeAlias = "Callable[[Session, str], Iterable[Offer]]"


def nothing(session: Session, typed: str) -> Iterable[Offer]:
    """Offers nothing."""
    return ()


def choices(*words: str) -> Completing:
    """Offers these words."""

    def offered(session: Session, typed: str) -> Iterator[Offer]:
        return begun_with(typed, words)

    return offered


def begun_with(typed: str, words: Iterable[str]) -> Iterator[Offer]:
    """Those of `words` that begin as is typed."""
    return (Offer(word, len(typed)) for word in words if word.startswith(typed) and word != typed)


def listed(words: Callable[[Session], Sequence[str]], *others: str) -> Completing:
    """Offers words in a list with commas between, none of them twice; `others` stand alone."""

    def offered(session: Session, typed: str) -> Iterator[Offer]:
        before, comma, last = typed.rpartition(",")
        there = {part.strip() for part in before.split(",")}
        last = last.lstrip()
        yield from begun_with(last, (word for word in words(session) if word not in there))
        if not comma:
            yield from begun_with(typed, others)

    return offered


def hits(session: Session, typed: str) -> Iterator[Offer]:
    """Offers the numbers of the hits of the last answer."""
    for hit in session.answer.hits if session.answer else ():
        if str(hit.rank).startswith(typed):
            yield Offer(str(hit.rank), len(typed), one_line(hit.title or hit.id)[:60])


def filters(session: Session, typed: str) -> Iterator[Offer]:
    """Offers fields, then what can be said of them, then the values that they have."""
    yield from begun_with(typed, ("off",))
    place = 0
    blind = _STRING.sub(lambda text: "_" * len(text[0]), typed)  # what a text says joins nothing
    for joint in _JOINT.finditer(blind):
        place = joint.end()
    if blind.endswith(" ") and _done(typed[place:]):
        yield from begun_with("", ("and", "or"))
        return
    condition = typed[place:].lstrip()
    signs: list[Offer] = []
    if (at := _AT_OPERATOR.match(condition)) is not None:
        signs = list(begun_with(at["begun"], _operators(session, at["quoted"] or at["name"])))
    if signs:
        yield from signs
    elif (at := _AT_VALUE.match(condition)) is not None:
        yield from _values(session, at["quoted"] or at["name"], at["begun"].lstrip())
    elif _AT_FIELD.match(condition):
        names = (name if _PLAIN_NAME.fullmatch(name) else f"`{name}`" for name in session.collection.fields())
        yield from begun_with(condition, names)


def _done(condition: str) -> bool:
    """Whether a condition is whole, so that another may follow."""
    from semsearch.errors import FilterError
    from semsearch.search.where_text import parse_where

    try:
        parse_where(condition.strip().rstrip(")"))
    except FilterError:
        return False
    return True


def _operators(session: Session, field: str) -> list[str]:
    """What can be said of a field of its types."""
    if not session.collection.has_field(field):
        return []
    kinds = session.collection.field_types(field)
    found = ["contains"] if "list" in kinds else []
    if kinds - {"list", "object"}:
        found += ["=", "!=", "in"]
    if "number" in kinds:
        found += ["<", "<=", ">", ">="]
    if "text" in kinds:
        found += ["like"]
    return [*found, "exists"]


def _values(session: Session, field: str, begun: str) -> Iterator[Offer]:
    if not session.collection.has_field(field):
        return
    for value in session.collection.values(field, begins=begun.lstrip("\"'"), most=OFFERED):
        if not isinstance(value, str):
            yield Offer(in_text(value), len(begun))
        elif one_line(value) == value:  # else it can't be typed in a line
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            yield Offer(f'"{quoted}"', len(begun))
