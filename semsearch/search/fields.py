"""Metadata as filters see it: fields under dotted names, each with a type and a value.

A map gives its own field, of type object, and those within it under `name.inner`; a list gives its own, of type list,
and its elements one by one. A text that is a date in ISO form gives two: itself, and the moment, of type date. Every
engine keeps these fields, in whatever way it finds them fast. Names and texts are in Unicode's form NFC, so that é is
one letter however it was typed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from semsearch.dates import moment

Kind = Literal["number", "text", "bool", "null", "list", "object", "date"]
FIELD_KINDS: Mapping[type, Kind] = {str: "text", int: "number", float: "number", bool: "bool", type(None): "null"}
VALUED: tuple[Kind, ...] = ("text", "number", "bool")  # types whose values tell documents apart


def fields_of(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool, Kind, Any]]:
    """Name, whether it is an element of a list, type and value of each field; lists and maps in a list have none."""
    for name, value in metadata.items():
        full = composed(prefix + name)
        if type(value) is str:  # these nearly always, and isinstance with a Mapping is slow
            yield full, False, "text", composed(value)
            if (when := moment(value)) is not None:
                yield full, False, "date", when
        elif (kind := FIELD_KINDS.get(type(value))) is not None:
            yield full, False, kind, "" if value is None else value
        elif isinstance(value, Mapping):
            yield full, False, "object", ""
            yield from fields_of(value, full + ".")
        elif isinstance(value, list | tuple):
            yield full, False, "list", ""
            for element in value:
                if type(element) is str:
                    yield full, True, "text", composed(element)
                    if (when := moment(element)) is not None:
                        yield full, True, "date", when
                elif not isinstance(element, Mapping | list | tuple):
                    yield full, True, *typed(element)
        else:
            yield full, False, *typed(value)


def typed(value: str | bool | float | None) -> tuple[Kind, Any]:
    """The type of a scalar, and what of it is compared."""
    if isinstance(value, str):
        return "text", composed(value)
    if value is None:
        return "null", ""
    return ("bool" if isinstance(value, bool) else "number"), value


def in_text(value: str | float | bool) -> str:
    """A value as a filter writes it, without quotes."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def composed(text: str) -> str:
    """A text in the form NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """A text without capitals, accents and the points of scripts that are mostly written without them.

    Marks that are letters of their own stay, as in the search by words: the vowel signs of India, й, が.
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFD", text)
    bare = _marks().sub(lambda mark: mark[1] or "", apart).casefold()
    return unicodedata.normalize("NFC", bare)


@cache
def _marks() -> Any:
    import regex  # takes a while to import, and few filters fold

    return regex.compile(
        r"([иИуУ]\u0306|[іІ]\u0308|[гГкК]\u0301)"
        r"|[[\p{Script=Inherited}\p{Arabic}\p{Hebrew}\p{Syriac}]&&\p{M}--[\u3099\u309a]]",
        regex.V1,
    )


def listed_fields(name: str, names: Sequence[str]) -> str:
    """What to say behind the sentence that there is no such field: those there are, and which one may be meant."""
    from difflib import get_close_matches

    near = [] if name in names else get_close_matches(name, names, n=1)
    known = ", ".join(f"{known:.100}" for known in names[:30]) + (", …" if len(names) > 30 else "")
    said = f"there are: {known}." if names else "no document has any metadata."
    said += f" Did you mean '{near[0]:.100}'?" if near else ""
    return said.encode(errors="backslashreplace").decode()


class MemoryFields:
    """The catalog of the fields of documents that are in memory: a `semsearch.search.where.FieldCatalog`."""

    def __init__(self, metadata: Iterable[Mapping[str, Any]]) -> None:
        """Catalog the fields of the `metadata` of each document."""
        self._types: dict[tuple[str, bool], set[Kind]] = {}
        self._values: dict[str, dict[Kind, set[Any]]] = {}
        for entry in metadata:
            for name, element, kind, value in fields_of(entry):
                self._types.setdefault((name, element), set()).add(kind)
                if kind in VALUED:
                    self._values.setdefault(name, {}).setdefault(kind, set()).add(value)

    def names(self) -> Sequence[str]:
        """The names of fields, sorted."""
        return sorted({name for name, _ in self._types})

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """The types that the field, or the elements of its lists, have in any document."""
        return frozenset(self._types.get((name, element), ()))

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """Values of the field, and elements of its lists, whose text begins so: sorted, at most `most` of a type."""
        known = self._values.get(name, {})
        found: list[str | float | bool] = []
        for kind in VALUED:
            found += [value for value in sorted(known.get(kind, ())) if in_text(value).startswith(begins)][:most]
        return found
