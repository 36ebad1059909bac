"""Which words of a text are the query's: by their stems, in every script, without what says nothing."""

from itertools import pairwise

import pytest

from semsearch.search.matches import QueryWords


def found(query, text):
    return [text[span.start : span.end] for span in QueryWords(query).within(text)]


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("how do vaccines work", "Vaccination works, how odd.", ["Vaccination", "works"]),
        ("to be or not to be", "be that as it may, not to be", ["be", "not", "to", "be"]),  # nothing else is in it
        ("jaguar -car", "the car and the Jaguar's jaguars", ["Jaguar", "jaguars"]),
        ('"hot water" kettle', "water that is hot", ["water", "hot"]),
        ("Fußball", "FUSSBALL und Füße", ["FUSSBALL"]),
        ("straße", "Die Strasse. Die Straßen", ["Strasse"]),
        ("首都", "日本の首都は東京", ["首都"]),
        ("東京都", "東京都と東京", ["東京都", "東京"]),
        ("café", "CAFE\u0301, cafes", ["CAFE\u0301", "cafes"]),
        ("🦊 fox", "a 🦊 and foxes", ["🦊", "foxes"]),
        ("foxes İstanbul", "ﬀ İİİ fox in İstanbul", ["fox", "İstanbul"]),  # capitals that grow when they are small
        ("", "anything", []),
        ("…", "…", []),
        ("\udcff", "x", []),
    ],
)
def test_words_of_the_query(query, text, words):
    assert found(query, text) == words


def test_places_are_in_order_and_apart():
    spans = QueryWords("東京 京都 都").within("東京都 東京 京都")
    assert all(a.end < b.start for a, b in pairwise(spans))


def test_words_are_those_of_any_of_the_collections_that_were_asked():
    words = QueryWords("Haus runs", ("de",), ("en",))
    assert [(span.start, span.end) for span in words.within("Die Häuser, running")] == [(4, 10), (12, 19)]
    assert words.best_line("nothing\nHäuser") == 8
    assert QueryWords("Haus").best_line("nothing\nHäuser") == 0
