"""Which words of a hit are the query's: what stands out on a screen, and what programs are told of it."""

from __future__ import annotations

from functools import cache

from semsearch.search.analysis import analysed, asked, places_of
from semsearch.search.function_words import ENGLISH
from semsearch.search.languages import Languages, of_script
from semsearch.search.query_syntax import parse
from semsearch.types import Span


@cache
def empty_terms(languages: Languages = ()) -> frozenset[str]:
    """The terms of function words; what is one in English may be none in a collection that holds no English."""
    if "en" not in of_script(languages, "Latin"):
        return frozenset()
    return frozenset(analysed(" ".join(sorted(ENGLISH)), languages).split())


class QueryWords:
    """The words of a query, as they are found in texts: by their stems, across the ways of writing them."""

    def __init__(self, query: str, *collections: Languages) -> None:
        """What the query excludes is none of its words; function words count only where there are no others.

        Args:
            query: As it was asked.
            collections: The languages of each collection that it was asked of, for the words of one are not another's.
        """
        text = parse(query).text
        self._terms = {languages: frozenset(asked(text, languages)) for languages in collections or ((),)}
        self._terms = {own: terms - empty_terms(own) or terms for own, terms in self._terms.items()}

    def within(self, text: str) -> list[Span]:
        """Where in `text` they stand, in their order; what touches is one.

        >>> QueryWords("how do vaccines work").within("Vaccination works.")
        [Span(start=0, end=11), Span(start=12, end=17)]
        """
        found: list[Span] = []
        places = {place for own, terms in self._terms.items() if terms for place in places_of(terms, text, own)}
        for start, end in sorted(places):
            if found and start <= found[-1].end:
                found[-1] = Span(found[-1].start, max(end, found[-1].end))
            else:
                found.append(Span(start, end))
        return found

    def best_line(self, text: str) -> int:
        r"""Where in `text` the line begins that has most of them, the first of several; 0 where none has any.

        >>> QueryWords("error E1102").best_line("what went wrong\nan error\nerror E1102: disk\n")
        25
        """
        best = most = start = 0
        for line in text.split("\n") if any(self._terms.values()) else ():
            count = max(len(terms.intersection(analysed(line, own).split())) for own, terms in self._terms.items())
            if count > most:
                best, most = start, count
            start += len(line) + 1
        return best
