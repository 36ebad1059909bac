"""What every engine must do, as tests that a third party's engine inherits.

    class TestMine(EngineContract):
        maintained = False

        @pytest.fixture
        def home(self, tmp_path):
            return MyHome(f"mine://{tmp_path}")

`home` is empty at the beginning of each test. Every test goes through `Collection`, as people do, or through the
protocols of `semsearch.engine`.
"""

# ruff: noqa: D102  (a test's name says what it holds)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import semsearch
from semsearch import models
from semsearch.collection import Collection
from semsearch.engine import JOINED, BackedUp, Engine, Indexed, Maintained, SparseStore
from semsearch.errors import (
    CollectionClosed,
    CollectionExists,
    CollectionNotFound,
    DataError,
    DimensionMismatch,
    DocumentChanged,
    FilterError,
    ModelMismatch,
    UsageError,
)
from semsearch.home import Home
from semsearch.ingest.scan import scan
from semsearch.ingest.source import ReadReport, Source
from semsearch.records import Entry, Record
from semsearch.search.where_mapping import parse as parse_filter
from semsearch.testing.encoder import HashEncoder, SparseWords
from semsearch.testing.filters import TABLES
from semsearch.types import Document, Hit, Metric, Span, Vectors
from semsearch.vectors import brute_force, normalise

ANIMALS = [
    Document("cat", "the cat sleeps on the warm sofa", metadata={"legs": 4, "kind": "pet"}),
    Document("dog", "the dog runs in the park", title="Dogs", metadata={"legs": 4, "kind": "pet"}),
    Document("bird", "a bird sings in the old tree", metadata={"legs": 2, "tags": ["sky", "song"]}),
]
COLLECTION_NAMES = ["notes", "Übersicht", "книги", "笔记", "a.b_c-d", "x" * 60]
VOCABULARY = ["cat", "dog", "bird", "fish", "tree", "park", "sofa", "song"]


def ids(hits: Sequence[Hit]) -> list[str]:
    """Of the documents of hits, in their order."""
    return [hit.id for hit in hits]


def in_passages(document: Document, *words: int) -> Entry:
    """A document of several passages of so many words each, with vectors of `HashEncoder`."""
    spans, start = [], 0
    parts = document.text.split(" ")
    for count in words:
        text = " ".join(parts[:count])
        spans.append(Span(start, start + len(text)))
        parts, start = parts[count:], start + len(text) + 1
    texts = [document.text[span.start : span.end] for span in spans]
    return Entry(Record.of(document), spans, HashEncoder().encode_documents(texts))


class EngineContract:
    """Inherit, and give the fixture `home`."""

    indexed: ClassVar[bool] = True  # it is `Indexed`: its approximate index can be chosen and set to a recall
    maintained: ClassVar[bool] = True  # it is `Maintained`: looked after through semsearch

    @pytest.fixture
    def home(self) -> Home:
        """An empty home."""
        raise NotImplementedError("give the fixture 'home'")

    @pytest.fixture
    def animals(self, home: Home) -> Iterator[Collection]:
        """A collection of three documents."""
        with semsearch.create("animals", home=home, encoder=HashEncoder()) as collection:
            collection.add(ANIMALS)
            yield collection

    @pytest.fixture
    def again(self, home: Home, animals: Collection) -> Iterator[Collection]:
        """The same collection, opened a second time."""
        with semsearch.open("animals", home=home, encoder=HashEncoder()) as collection:
            yield collection

    # ------------------------------------------------------------------ where documents are from

    def test_a_hit_knows_its_file_and_its_line(self, animals: Collection, tmp_path: Path) -> None:
        for name, text in (("a.txt", "one\ntwo\n"), ("b.txt", "four\n\nthree\n")):
            (tmp_path / name).write_text(text)
            animals.add_from(Source.of(tmp_path / name, "text", {"unit": "line"}))
        hits = {hit.text: hit.place for hit in animals.search("two", k=10)}
        found = {text: (Path(place.path).name, place.line) for text, place in hits.items() if place is not None}
        assert found == {"one": ("a.txt", 1), "two": ("a.txt", 2), "four": ("b.txt", 1), "three": ("b.txt", 3)}
        assert animals.engine.origins.of(["cat", "nobody"]) == {}

    # ------------------------------------------------------------------ a home

    @pytest.mark.parametrize("name", COLLECTION_NAMES)
    def test_a_collection_is_made_listed_opened_and_dropped(self, home: Home, name: str) -> None:
        assert semsearch.list_collections(home=home) == []
        semsearch.create(name, home=home, encoder=HashEncoder()).close()
        assert semsearch.list_collections(home=home) == [name]
        assert name in home
        with pytest.raises(CollectionExists, match="already"):
            semsearch.create(name, home=home, encoder=HashEncoder())
        with semsearch.open(name, home=home, encoder=HashEncoder()) as collection:
            assert collection.name == name
            assert collection.location
            assert len(collection) == 0
        semsearch.drop(name, home=home)
        assert semsearch.list_collections(home=home) == []
        with pytest.raises(CollectionNotFound, match="no collection"):
            semsearch.open(name, home=home)
        with pytest.raises(CollectionNotFound):
            semsearch.drop(name, home=home)

    def test_one_that_was_made_for_nothing_is_dropped_unless_somebody_else_began_to_fill_it(self, home: Home) -> None:
        with semsearch.create("mine", home=home, encoder=HashEncoder()) as collection:
            assert home.drop_unused(collection.engine)
        with semsearch.create("shared", home=home, encoder=HashEncoder()) as collection:
            with semsearch.open("shared", home=home, encoder=HashEncoder()) as other:
                other.engine.set(JOINED, True)
            assert not home.drop_unused(collection.engine)
        with semsearch.create("filled", home=home, encoder=HashEncoder()) as collection:
            collection.add(["a sheep"])
            assert not home.drop_unused(collection.engine)
        assert semsearch.list_collections(home=home) == ["filled", "shared"]

    def test_collections_in_one_home_are_apart(self, home: Home) -> None:
        with (
            semsearch.create("one", home=home, encoder=HashEncoder()) as one,
            semsearch.create("two", home=home, encoder=HashEncoder()) as two,
        ):
            one.add(ANIMALS[:1])
            two.add(ANIMALS[1:])
            assert (one.ids(), two.ids()) == (["cat"], ["dog", "bird"])
            assert ids(one.search("the dog runs")) == ["cat"]

    @pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "-x", "a\nb"])
    def test_what_can_not_be_a_name(self, home: Home, name: str) -> None:
        with pytest.raises(UsageError, match="can't name"):
            semsearch.create(name, home=home, encoder=HashEncoder())
        with pytest.raises(UsageError, match="can't name"):
            semsearch.open(name, home=home)

    def test_opened_or_made(self, home: Home) -> None:
        for expected in (0, 3):
            with semsearch.open("animals", home=home, create=True, encoder=HashEncoder()) as collection:
                assert len(collection) == expected
                collection.add(ANIMALS)

    def test_close_is_final_for_this_opening_alone(self, animals: Collection, again: Collection) -> None:
        again.close()
        again.close()
        for asked in (lambda: again.search("cat"), lambda: len(again), lambda: again.add(ANIMALS), again.info):
            with pytest.raises(CollectionClosed, match="animals"):
                asked()
        assert ids(animals.search("the cat sleeps", k=1)) == ["cat"]

    def test_it_says_of_itself_what_holds(self, animals: Collection) -> None:
        engine: Engine = animals.engine
        assert isinstance(engine, Indexed) == self.indexed
        assert isinstance(engine, Maintained) == self.maintained
        info = animals.info()
        assert (info["name"], info["documents"], info["passages"]) == ("animals", 3, 3)
        assert (info["dim"], info["metric"], info["engine"]) == (16, "cosine", engine.capabilities.engine)
        assert engine.bytes() > 0
        assert (info["index"] is not None) == self.indexed
        assert set(engine.versions) == {"schema", "analysis", "encoding"}

    # ------------------------------------------------------------------ documents

    def test_documents_are_kept_as_they_were(self, home: Home) -> None:
        odd = [
            Document("zwölf/🦊", "Füchse jagen nachts; שלום", title="Füchse", metadata={"ü": ["é", 1, True, None]}),
            Document("long", "word " * 50_000, metadata={"deep": {"deeper": {"number": 1.5}}}),
            Document("lines", "one\ntwo\r\nthree\ttabs\u2028separator"),
            Document("0", "0", metadata={"big": 2**62, "small": -1e-300, "no": False}),
        ]
        with semsearch.create("odd", home=home, encoder=HashEncoder()) as collection:
            assert collection.add(odd).added == 4
            assert list(collection) == odd
            assert collection.get(["0", "nothing", "zwölf/🦊"]) == [odd[3], None, odd[0]]
            assert collection.ids() == [document.id for document in odd]
        with semsearch.open("odd", home=home, encoder=HashEncoder()) as collection:
            assert list(collection) == odd
            assert "long" in collection
            assert "short" not in collection
            assert collection.search("Füchse jagen", k=1)[0].document == odd[0]

    def test_new_changed_and_unchanged_documents(self, animals: Collection) -> None:
        encoder: Any = animals.encoder
        calls = encoder.calls
        same = animals.add(ANIMALS)
        assert (same.added, same.changed, same.unchanged) == (0, 0, 3)
        moved = replace(ANIMALS[0], metadata={"legs": 3})
        assert animals.add([moved]).changed == 1
        assert encoder.calls == calls, "metadata alone encodes nothing"
        assert animals.get(["cat"]) == [moved]
        written = animals.add([Document("cat", "a tiger hunts"), Document("fish", "fish swim")])
        assert (written.added, written.changed) == (1, 1)
        assert ids(animals.search("tiger hunts", k=1)) == ["cat"]
        assert ids(animals.search("the cat sleeps on the warm sofa", k=4))[0] != "cat"
        assert animals.ids() == ["cat", "dog", "bird", "fish"]
        assert (len(animals), animals.count_passages()) == (4, 4)

    def test_the_last_of_an_id_wins(self, animals: Collection) -> None:
        assert animals.add([Document("x", "first text"), Document("x", "second text")]).added == 1
        assert [document and document.text for document in animals.get(["x"])] == ["second text"]
        assert len(animals) == 4

    def test_keys_are_told_from_what_is_none(self, animals: Collection) -> None:
        with animals.engine.view() as view:
            before = [key for own in view.keys_of(animals.ids()).values() for key in own]
        animals.remove(["dog"])
        with animals.engine.view() as view:
            there = {key for own in view.keys_of(animals.ids()).values() for key in own}
            asked = np.array([*before, -1, 0, 2**62], dtype=np.int64)
            assert view.present(asked).tolist() == [key in there for key in asked.tolist()]

    def test_removed_documents_are_gone_and_may_come_again(self, animals: Collection) -> None:
        assert animals.remove(["cat", "unknown"]) == 1
        for mode in ("dense", "lexical", "hybrid"):
            assert "cat" not in ids(animals.search("the cat sleeps on the warm sofa", mode=mode))
        assert animals.get(["cat"]) == [None]
        assert animals.remove(animals.ids({"legs": 4})) == 1
        animals.add(ANIMALS[:1])
        assert ids(animals.search("the cat sleeps on the warm sofa", k=1)) == ["cat"]
        assert animals.ids() == ["bird", "cat"]

    def test_keys_are_never_used_again(self, animals: Collection) -> None:
        def keys() -> set[int]:
            with animals.engine.view() as view:
                return {key for own in view.keys_of(animals.ids()).values() for key in own}

        ever = keys()
        for number in range(3):
            animals.add([Document("cat", f"another text {number}")])
            new = keys() - ever
            assert len(new) == 1
            ever |= new
        animals.remove(["cat"])
        animals.add(ANIMALS[:1])
        assert len(keys() - ever) == 1

    def test_metadata_is_changed_without_encoding(self, animals: Collection) -> None:
        encoder: Any = animals.encoder
        calls = encoder.calls
        assert animals.update_metadata(["cat", "bird", "unknown"], {"seen": True}) == 2
        assert animals.update_metadata(["dog"], {"only": 1}, replace=True) == 1
        assert encoder.calls == calls
        assert animals.ids({"seen": True}) == ["cat", "bird"]
        assert [document and document.metadata for document in animals.get(["dog"])] == [{"only": 1}]
        assert animals.add(ANIMALS).changed == 3, "back to what they were"
        with pytest.raises(DataError, match="'cat'"):
            animals.update_metadata(["cat"], {"bad": float("nan")})

    def test_bad_documents_cost_nothing_but_themselves(self, animals: Collection) -> None:
        bad = [Document("", "text"), Document("x", " \n "), Document("x", "half \ud800 pair")]
        for document in bad:
            with pytest.raises(DataError):
                animals.add([document])
        told: list[DataError] = []
        changes = animals.add([bad[0], Document("good", "good text"), *bad[1:]], on_error=told.append)
        assert (changes.added, changes.skipped, len(told)) == (1, 3, 3)
        assert len(animals) == 4

    # ------------------------------------------------------------------ vectors and scores

    @pytest.mark.parametrize("metric", list(Metric))
    def test_scores_and_their_order_are_the_oracles(self, home: Home, metric: Metric) -> None:
        generator = np.random.default_rng(0)
        vectors = generator.standard_normal((200, 12)).astype(np.float32)
        vectors[50:60] = vectors[49]  # ties go to the smaller key: to the document that came first
        queries = np.concatenate([vectors[[49, 7]], generator.standard_normal((8, 12)).astype(np.float32)])
        with semsearch.create("given", home=home, encoder=None, dim=12, metric=metric) as collection:
            collection.add([Document(str(i), f"text {i}") for i in range(200)], vectors=vectors)
            with collection.engine.view() as view:
                keys, kept = view.arrays()
                assert view.vectors(keys[::-1].copy()).tobytes() == kept[::-1].tobytes()
            with patch("semsearch.scratch.IN_MEMORY_BYTES", 0), collection.engine.view() as view:
                assert view.arrays()[1].tobytes() == kept.tobytes(), "however many there are"
            if metric != Metric.COSINE:
                assert kept.tobytes() == vectors.tobytes(), "bit for bit"
            asked = normalise(queries) if metric == Metric.COSINE else queries
            truth = brute_force(keys, kept, asked, 15, metric)
            for exact in (True, False):
                answers = collection.search_many(vectors=queries, k=15, exact=exact)
                assert [[hit.key for hit in hits] for hits in answers] == truth.keys.tolist()
                assert [[hit.score for hit in hits] for hits in answers] == truth.scores.tolist()
            for query, hits in zip(queries, answers, strict=True):
                assert collection.search(vector=query, k=15) == hits, "alone as among many"

    def test_vectors_that_do_not_fit_are_refused(self, home: Home) -> None:
        documents = [Document(str(i), f"document {i}") for i in range(4)]
        with semsearch.create("given", home=home, encoder=None, dim=4, metric="dot") as collection:
            assert collection.add(documents, vectors=np.eye(4) * 3).added == 4
            assert collection.add(documents[:2], vectors=np.eye(4)[:2]).changed == 2, "other vectors are a change"
            assert collection.add(documents[:2], vectors=np.eye(4)[:2]).unchanged == 2
            for wrong in (np.eye(5)[:4], np.eye(4)[:3]):
                with pytest.raises(DimensionMismatch):
                    collection.add(documents, vectors=wrong)
            with pytest.raises(DataError, match="NaN"):
                collection.add(documents, vectors=np.full((4, 4), np.nan))
            with pytest.raises(DimensionMismatch):
                collection.search(vector=np.ones(5))
            assert len(collection) == 4

    def test_vectors_of_another_model_are_refused(self, animals: Collection) -> None:
        entry = in_passages(Document("new", "a text"), 2)
        with pytest.raises(ModelMismatch, match="another model"):
            animals.engine.put([entry], model="somebody else's")
        with pytest.raises(DimensionMismatch, match="'new'"):
            animals.engine.put([entry._replace(vectors=np.ones((1, 3), dtype=np.float32))])
        assert len(animals) == 3

    # ------------------------------------------------------------------ passages

    @pytest.fixture
    def chapters(self, animals: Collection) -> Collection:
        """The animals, and two documents of three and two passages."""
        book = Document("book", "cat cat sofa dog dog dog bird bird bird", title="Book")
        leaf = Document("leaf", "fish fish cat cat")
        animals.engine.put([in_passages(book, 3, 3, 3), in_passages(leaf, 2, 2)])
        return animals

    def test_k_counts_documents_by_their_best_passage(self, chapters: Collection) -> None:
        assert (len(chapters), chapters.count_passages()) == (5, 8)
        hits = chapters.search("cat", k=2)
        assert ids(hits) == ["leaf", "book"]
        assert [(hit.start, hit.end, hit.text) for hit in hits] == [(10, 17, "cat cat"), (0, 12, "cat cat sofa")]
        assert [hit.document.text[hit.start : hit.end] for hit in hits] == [hit.text for hit in hits]
        assert (hits[1].title, hits[1].passage.size) == ("Book", 39)
        assert len({*ids(chapters.search("cat", k=10))}) == 5
        assert ids(chapters.search("dog", k=1)) == ["book"]

    def test_passages_where_they_are_asked_for(self, chapters: Collection) -> None:
        hits = chapters.search("cat", k=8, group_by=None)
        assert len(hits) == 8
        assert len({hit.key for hit in hits}) == 8
        assert ids(hits[:2]) == ["leaf", "book"]

    def test_the_neighbours_of_a_passage(self, chapters: Collection) -> None:
        (hit,) = chapters.search("dog", k=1, context=1, group_by=None)
        assert hit.text == "dog dog dog"
        assert hit.context is not None
        assert (hit.context.start, hit.context.text) == (0, "cat cat sofa dog dog dog bird bird bird")
        (hit,) = chapters.search("fish", k=1, context=5)
        assert hit.context is not None
        assert hit.context.text == "fish fish cat cat", "never beyond its document"

    def test_a_document_is_replaced_and_removed_whole(self, chapters: Collection) -> None:
        chapters.engine.put([in_passages(Document("book", "sofa sofa song song"), 2, 2)])
        assert chapters.count_passages() == 7
        assert "dog dog dog" not in [hit.text for hit in chapters.search("dog", k=8, group_by=None)]
        chapters.remove(["book"])
        assert chapters.count_passages() == 5

    @pytest.mark.parametrize("size", [10, 200_000])
    def test_the_document_of_a_hit_is_the_one_that_was_found(self, chapters: Collection, size: int) -> None:
        """It may be read when it is asked for; by then it is as it was found, or an error: never another text."""
        tale = Document("tale", "🦊 fox fox " + "e\u0301\r\n" * size + " song song", "Tale", metadata={"n": 1})

        def found() -> list[Hit]:
            return [hit for hit in chapters.search("fox", k=20, group_by=None, context=1) if hit.id == "tale"]

        chapters.engine.put([in_passages(tale, 3, 1, 2)])
        assert len(found()) == 3
        assert found() == found()
        changes: list[Callable[[], object]] = [
            lambda: None,
            lambda: chapters.update_metadata(["tale"], {"n": 2}),
            lambda: chapters.engine.put([in_passages(replace(tale, text="another tale " * size), 2)]),
            lambda: chapters.remove(["tale"]),
        ]
        for change in changes:
            chapters.engine.put([in_passages(tale, 3, 1, 2)])
            chapters.update_metadata(["tale"], {"n": 1}, replace=True)
            hits = found()
            change()
            for hit in hits:
                assert (hit.id, hit.title, hit.metadata, hit.passage.size) == ("tale", "Tale", {"n": 1}, len(tale.text))
                assert hit.text == tale.text[hit.start : hit.end]
                assert hit.context is not None
                for passage in (hit.passage, hit.context):
                    try:
                        document = passage.document
                    except DocumentChanged:
                        assert change in changes[2:]
                    else:
                        assert document == tale

    def test_everything_is_streamed_with_its_vectors(self, chapters: Collection, tmp_path: Path) -> None:
        with chapters.engine.view() as view:
            batches = list(view.stored())
            passages = [passage for own, _ in batches for passage in own]
            vectors = np.concatenate([own for _, own in batches])
        assert [passage.id for passage in passages][3:] == ["book"] * 3 + ["leaf"] * 2
        assert vectors.shape == (8, 16)
        assert chapters.export(tmp_path / "out") == 8
        assert np.load(tmp_path / "out" / "vectors.npy").tobytes() == vectors.tobytes()

    # ------------------------------------------------------------------ words

    def test_words_find_the_documents_that_hold_them(self, animals: Collection) -> None:
        assert set(ids(animals.search("park tree", mode="lexical"))) == {"dog", "bird"}
        assert ids(animals.search("Dogs", mode="lexical")) == ["dog"], "in a title, too"
        assert ids(animals.search("CAT", mode="lexical")) == ["cat"]
        assert animals.search("zebra", mode="lexical") == []
        hits = animals.search("park", mode="lexical")
        assert hits[0].scores["lexical"] == hits[0].score > 0
        animals.add([Document("fish", "a fish in the park pond")])
        assert set(ids(animals.search("park", mode="lexical"))) == {"dog", "fish"}, "found as soon as committed"
        assert set(ids(animals.search("park", mode="lexical", where={"legs": 4}))) == {"dog"}

    def test_a_rarer_word_weighs_more(self, home: Home) -> None:
        documents = [Document(f"d{i}", "common words here") for i in range(20)]
        with semsearch.create("words", home=home, encoder=HashEncoder()) as collection:
            collection.add([*documents, Document("rare", "rare words here")])
            assert ids(collection.search("common rare", k=3, mode="lexical"))[0] == "rare"
            assert ids(collection.search("words", k=5, mode="lexical")) == ["d0", "d1", "d2", "d3", "d4"]

    def test_phrases_and_exclusions(self, animals: Collection) -> None:
        found = animals.search('"warm sofa"', mode="lexical")
        assert (ids(found), found.notes) == (["cat"], ('every answer holds "warm sofa".',))
        assert animals.search('+"sofa warm"', mode="lexical") == []
        loosened = animals.search('"sofa warm"', mode="lexical")
        assert ids(loosened) == ["cat"]
        assert loosened.notes[0].startswith('nothing holds "sofa warm": these are answers without it.')
        assert ids(animals.search('the "the park"', mode="hybrid")) == ["dog"]
        assert "dog" not in ids(animals.search("the -park", mode="hybrid"))
        assert "dog" in ids(animals.search("the park", mode="hybrid"))

    def test_words_of_every_script(self, home: Home) -> None:
        """As `semsearch.search.analysis` has them: in documents, queries, phrases and exclusions."""
        texts = {
            "ja": "彼女は日本語を話す",
            "th": "ฉันเรียนภาษาไทย",
            "hi": "वह हिन्दी बोलता है",
            "he": "שָׁלוֹם",
            "tr": "İSTANBUL",
        }
        with semsearch.create("scripts", home=home, encoder=HashEncoder()) as collection:
            collection.add([Document(language, text) for language, text in texts.items()])
            asked = {"日本語": "ja", "ภาษา": "th", "हिन्दी": "hi", "שלום": "he", "istanbul": "tr", '+"日本"': "ja"}
            assert {query: ids(collection.search(query, mode="lexical")) for query in asked} == {
                query: [language] for query, language in asked.items()
            }
            assert collection.search("話す -日本", mode="lexical") == []
            assert collection.search('+"本日"', mode="lexical") == []

    def test_words_are_those_of_the_languages(self, home: Home) -> None:
        """In documents, queries, phrases and exclusions; what changes them changes all that is there."""
        texts = {"many": "die Häuser der Stadt", "one": "ein Haus am Wald", "none": "running in the woods"}
        with semsearch.create("german", home=home, encoder=HashEncoder(), language="de") as collection:
            assert collection.languages == ("de",)
            collection.add([Document(identity, text) for identity, text in texts.items()])

            def found(query: str) -> list[str]:
                return sorted(ids(collection.search(query, mode="lexical")))

            assert found("Häusern") == ["many", "one"]
            assert found('+"ein Haus"') == ["one"]
            assert found("Stadt Wald -Hauses") == []
            assert found("run") == []
            assert collection.engine.set_languages(("fr",), found=True) is False
            assert collection.change_language("German,English") == ("en", "de")
            assert found("run") == ["none"]
            assert found("Häusern") == ["many", "one"]
            assert collection.change_language("en") == ("en",)
            assert found("Häusern") == []
            collection.remove(["many"])
            collection.add([Document("more", "houses and Häuser")])
            assert found("Häuser") == ["more"]
        with semsearch.open("german", home=home, encoder=HashEncoder()) as again:
            assert again.languages == ("en",)
            assert ids(again.search("house", mode="lexical")) == ["more"]

    def test_languages_that_are_found_are_taken_once(self, home: Home) -> None:
        with semsearch.create("found", home=home, encoder=HashEncoder()) as collection:
            assert collection.languages is None
            assert collection.info()["languages"] is None
            assert collection.engine.set_languages((), found=True) is True
            assert collection.languages == ()
            assert collection.engine.set_languages(("de",), found=True) is False
            assert collection.languages == ()

    @pytest.mark.parametrize("mode", ["lexical", "hybrid"])
    def test_a_quotation_in_prose_is_no_order(self, home: Home, mode: str) -> None:
        """It counts for more, and nothing is ruled out; so with the options of commands."""
        texts = ["the cold war ended", "a war in the cold months, the cold ended", "grep -r searches", "birds ended"]
        with semsearch.create("prose", home=home, encoder=HashEncoder()) as collection:
            collection.add([Document(f"d{i}", text) for i, text in enumerate(texts)])
            asked = 'who was it that said how the "cold war" had ended?'
            found = collection.search(asked, mode=mode)
            assert {*ids(found)} >= {"d0", "d1", "d3"}
            assert found.notes == ()
            by_words = {hit.id: hit.scores["lexical"] for hit in found if "lexical" in hit.scores}
            without = collection.search(asked.replace('"', ""), mode="lexical")
            assert by_words["d0"] > {hit.id: hit.score for hit in without}["d0"], "its phrase counts"
            assert by_words["d1"] == pytest.approx({hit.id: hit.score for hit in without}["d1"])
            assert ids(collection.search("how does grep -r work", mode="lexical")) == ["d2"]
            assert {*ids(collection.search("ended -birds", mode=mode))} & {"d3"} == set()
            assert collection.search("ended -birds", mode=mode).notes == ('left out is what holds "birds".',)

    def test_words_that_nothing_holds_are_told_in_hybrid(self, animals: Collection) -> None:
        found = animals.search("xylophone", mode="hybrid")
        assert len(found) == 3
        assert found.notes == ("no word of the query is found: these are answers by meaning alone.",)

    def test_both_together_hold_what_either_finds(self, animals: Collection) -> None:
        hits = animals.search("bird park", mode="hybrid")
        assert {*ids(hits)} == {"cat", "dog", "bird"}
        by_words = {hit.id for hit in hits if "lexical" in hit.scores}
        assert by_words == {"dog", "bird"}
        assert all(hit.scores["fused"] == hit.score and "dense" in hit.scores for hit in hits)
        queries = ["bird park", "the warm sofa", "a song"]
        assert animals.search_many(queries, mode="hybrid") == [animals.search(q, mode="hybrid") for q in queries]

    # ------------------------------------------------------------------ sparse vectors

    def test_sparse_vectors_are_kept_or_said_not_to_be(
        self, animals: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(models, "_sparse_encoders", lambda name, revision, compute: SparseWords(name))
        engine = animals.engine
        assert engine.capabilities.sparse == isinstance(engine, SparseStore)
        if not engine.capabilities.sparse:
            with pytest.raises(UsageError, match="keeps no sparse vectors"):
                animals.search("the cat", mode="sparse")
            with pytest.raises(UsageError, match="keeps no sparse vectors"):
                animals.add_sparse("words")
            assert ids(animals.search("the cat", mode="hybrid")), "which does without them"
            return
        with pytest.raises(UsageError, match="has no sparse vectors"):
            animals.search("the cat", mode="sparse")
        assert animals.add_sparse("words") == 3
        animals.add([Document("fish", "a fish in the sea", metadata={"legs": 0})])
        animals.remove(["cat"])
        encoder = SparseWords("words")
        there = list(animals.documents())
        stored = encoder.encode_documents([f"{one.title} {one.text}" for one in there])
        for query in ("the park", "a fish sings", "zebra"):
            scores = encoder.encode_queries([query]).dot(stored)[0].tolist()
            truth = {one.id: score for one, score in zip(there, scores, strict=True) if score > 0}
            hits = animals.search(query, mode="sparse")
            assert {hit.id: hit.score for hit in hits} == truth, "the very products, and nothing that shares no word"
            assert [hit.score for hit in hits] == sorted(truth.values(), reverse=True)
            assert all(hit.scores == {"sparse": hit.score} for hit in hits)
        assert ids(animals.search("a fish sings in the", mode="sparse", where={"legs": 2})) == ["bird"]
        fused = animals.search("a fish sings", mode="hybrid", explain=True)
        assert all("sparse" in hit.scores for hit in fused)
        assert all(hit.explanation is not None and hit.explanation.terms is not None for hit in fused)
        animals.remove_sparse()
        with pytest.raises(UsageError, match="has no sparse vectors"):
            animals.search("the cat", mode="sparse")

    # ------------------------------------------------------------------ filters

    @pytest.mark.parametrize("number", range(len(TABLES)))
    def test_filters_are_as_the_truth_table_has_them(self, home: Home, number: int) -> None:
        table = TABLES[number]
        with semsearch.create("films", home=home, encoder=HashEncoder()) as collection:
            collection.add([Document(str(i), f"film {i}", metadata=own) for i, own in enumerate(table.metadata)])
            for where, places in table.allows:
                expected = [str(place) for place in sorted(places)]
                assert list(collection.ids(where)) == expected, where
                assert collection.count(where) == len(expected)
                assert sorted(ids(collection.search("film", k=100, where=where)), key=int) == expected, where
                assert sorted(ids(collection.search("film", k=100, where=where, mode="lexical")), key=int) == expected
            for where, message in table.refuses:
                with pytest.raises(FilterError, match=message):
                    collection.search("film", where=where)

    def test_never_fewer_than_the_filter_allows(self, home: Home) -> None:
        documents = [Document(str(i), f"text number {i}", metadata={"n": i}) for i in range(300)]
        with semsearch.create("many", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            for least, k in ((0, 300), (290, 50), (299, 5), (150, 100)):
                hits = collection.search("text number 7", k=k, where={"n": {"$gte": least}})
                assert len(hits) == min(k, 300 - least)

    # ------------------------------------------------------------------ one state, several hands

    def test_a_reader_sees_what_a_writer_commits(self, animals: Collection, again: Collection) -> None:
        assert len(again.search("the")) == 3
        animals.add([Document("new", "the newcomer")])
        animals.remove(["cat"])
        assert {*ids(again.search("the"))} == {"dog", "bird", "new"}
        assert {*ids(again.search("newcomer", mode="lexical"))} == {"new"}
        again.add([Document("back", "and back")])
        assert len(animals) == 4

    def test_a_view_is_one_state(self, animals: Collection, again: Collection) -> None:
        if animals.engine.capabilities.snapshot != "collection":
            pytest.skip("this engine's views are one state of each document, not of the collection")
        with again.engine.view() as view:
            before = view.version
            queries = HashEncoder().encode_queries(["the cat sleeps"])
            animals.add([Document("cat", "the cat is another")])
            animals.remove(["dog"])
            (found,) = view.dense(queries, 5, allowed=None, exact=True, grouped=True)
            passages = view.passages_of(found.keys)
            assert {passage.text for passage in passages if passage} == {document.text for document in ANIMALS}
            assert [document.id for document in view.documents()] == ["cat", "dog", "bird"]
            assert view.version == before
        with again.engine.view() as view:
            assert view.version != before

    def test_threads_search_while_one_writes(self, animals: Collection) -> None:
        errors: list[BaseException] = []
        done = threading.Event()

        def search() -> None:
            try:
                while not done.is_set():
                    hits = animals.search("the cat sleeps on the warm sofa", k=5)
                    assert ids(hits)[0] == "cat"
                    assert all(hit.document.text[hit.start : hit.end] == hit.text for hit in hits)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(20):
            animals.add([Document(f"n{number % 5}", f"number {number}")])
        done.set()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(animals) == 8

    def test_two_writers_take_turns(self, animals: Collection, again: Collection) -> None:
        errors: list[BaseException] = []

        def write(collection: Collection, name: str) -> None:
            try:
                for number in range(10):
                    collection.add([Document(f"{name}{number}", f"{name} wrote {number}")], maintain=False)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=given) for given in ((animals, "one"), (again, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(animals) == len(again) == 23

    def test_settings_are_kept_for_all(self, home: Home, animals: Collection, again: Collection) -> None:
        value = {"numbers": [1, 2.5, None], "text": "ü"}
        animals.engine.set("mine", value)
        assert again.engine.settings["mine"] == value
        animals.engine.set("mine", None)
        assert again.engine.settings["mine"] is None

    # ------------------------------------------------------------------ sources

    def test_a_folder_is_kept_in_step(self, home: Home, tmp_path: Path) -> None:
        folder = tmp_path / "notes"
        folder.mkdir()
        for name in ("a", "b", "c"):
            (folder / f"{name}.txt").write_text(f"text of {name}")
        with semsearch.create("notes", home=home, encoder=HashEncoder()) as collection:
            assert collection.add_from(folder).added == 3
            assert [source["path"] for source in collection.sources] == [str(folder)]
            (folder / "a.txt").write_text("another text")
            (folder / "b.txt").unlink()
            (folder / "d.txt").write_text("text of d")
            ((_, preview),) = collection.plan_sync()
            assert (preview.added, preview.changed, preview.removed) == (["d.txt"], ["a.txt"], ["b.txt"])
            synced = collection.sync(most=1)
            assert (synced.changes.added, synced.changes.changed, synced.removed, synced.kept) == (1, 1, 1, 0)
            assert {*collection.ids()} == {"a.txt", "c.txt", "d.txt"}
            again = collection.sync()
            assert (again.changes.added, again.changes.changed, again.removed) == (0, 0, 0)
            assert again.changes.unchanged == 3

    def test_what_two_sources_give_goes_with_the_last(self, home: Home, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / f"{name}.jsonl").write_text(
                f'{{"id": "both", "text": "shared"}}\n{{"id": "{name}", "text": "own"}}\n'
            )
        with semsearch.create("notes", home=home, encoder=HashEncoder()) as collection:
            for name in ("one", "two"):
                collection.add_from(scan(Source.of(tmp_path / f"{name}.jsonl"), ReadReport()))
            collection.add([Document("by hand", "without a source")])
            (tmp_path / "one.jsonl").write_text('{"id": "one", "text": "own"}\n')
            assert collection.sync(most=1).removed == 0
            assert "both" in collection
            (tmp_path / "two.jsonl").write_text('{"id": "two", "text": "own"}\n')
            assert collection.sync(most=1).removed == 1
            assert {*collection.ids()} == {"one", "two", "by hand"}

    # ------------------------------------------------------------------ the rest of a collection

    def test_the_like_of_documents(self, animals: Collection) -> None:
        animals.add([Document("kitten", "the cat sleeps on the sofa"), Document("fish", "fish swim")])
        assert ids(animals.similar(["cat"], k=2))[0] == "kitten"
        assert "dog" not in ids(animals.similar(["cat"], k=10, unlike=["dog"]))
        with pytest.raises(UsageError, match="no document 'zebra'"):
            animals.similar(["zebra"])

    def test_scores_get_a_meaning(self, home: Home) -> None:
        generator = np.random.default_rng(0)
        documents = [Document(f"d{i}", " ".join(generator.choice(VOCABULARY, 4))) for i in range(60)]
        with semsearch.create("notes", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            calibration = collection.calibrate()
            assert calibration is not None
            assert calibration.passages == 60
            hits = collection.search("cat dog bird fish", k=60)
            assert all(hit.percentile is not None for hit in hits)
            assert collection.search("cat", k=60, min_percentile=1.0) == []

    def test_an_index_is_set_to_a_recall_and_never_wrong(self, home: Home) -> None:
        if not self.indexed:
            pytest.skip("this engine is not Indexed: its searches are exact")
        generator = np.random.default_rng(1)
        vectors = generator.standard_normal((1500, 16)).astype(np.float32)
        with semsearch.create("many", home=home, encoder=None, dim=16) as collection:
            collection.add([Document(str(i), f"text {i}") for i in range(1500)], vectors=vectors)
            certificate = collection.reindex("hnsw", recall=0.9)
            assert certificate is not None
            assert certificate.met
            assert certificate.recall >= 0.9
            collection.remove([str(i) for i in range(0, 1500, 3)])
            collection.add([Document("fresh", "fresh")], vectors=vectors[:1])
            collection.load_index()
            queries = generator.standard_normal((50, 16)).astype(np.float32)
            found = collection.search_many(vectors=queries, k=10)
            truth = collection.search_many(vectors=queries, k=10, exact=True)
            shared = [len({*ids(a)} & {*ids(b)}) for a, b in zip(found, truth, strict=True)]
            assert np.mean(shared) >= 8.5
            assert collection.search(vector=vectors[0], k=1)[0].id == "fresh"
            for ours, true in zip(found, truth, strict=True):
                exact = {hit.key: hit.score for hit in true}
                assert all(exact.get(hit.key, hit.score) == hit.score for hit in ours)
            assert collection.tune(0.5).met

    def test_exact_search_is_certified_on_the_questions_that_are_given(self, animals: Collection) -> None:
        if not self.indexed:
            pytest.skip("this engine is not Indexed: its searches are exact")
        certificate = animals.reindex("exact", recall=0.9, k=1, queries=["cat", "dog", "a bird", "a fish"])
        assert certificate is not None
        assert (certificate.source, certificate.certified) == ("queries", 1)

    def test_looking_after_it_changes_no_answer(self, animals: Collection, tmp_path: Path) -> None:
        if not self.maintained:
            pytest.skip("this engine is not Maintained: its database has tools of its own")
        animals.remove(["dog"])
        before = animals.search("the cat", mode="hybrid")
        assert animals.check(deep=True) == []
        assert animals.repair() == []
        animals.compact()
        assert animals.search("the cat", mode="hybrid") == before
        if isinstance(animals.engine, BackedUp):
            assert animals.backup(tmp_path / "animals.backup") > 0
        else:
            with pytest.raises(UsageError, match="back it up with"):
                animals.backup(tmp_path / "animals.backup")
        assert animals.reencode(HashEncoder(dim=8, salt=1)) == 2
        assert animals.info()["dim"] == 8
        assert {*ids(animals.search("the cat"))} == {"cat", "bird"}

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(["add", "remove", "relabel"]), st.integers(0, 11), st.sampled_from(VOCABULARY)),
            max_size=20,
        )
    )
    def test_any_sequence_of_writes_against_a_dictionary(
        self, home: Home, steps: Sequence[tuple[str, int, str]]
    ) -> None:
        if "random" in home:
            semsearch.drop("random", home=home)
        model: dict[str, Document] = {}
        with semsearch.create("random", home=home, encoder=HashEncoder()) as collection:
            for what, number, word in steps:
                identity = f"d{number}"
                if what == "add":
                    model[identity] = Document(identity, f"{word} {number}", metadata={"n": number})
                    collection.add([model[identity]])
                elif what == "remove":
                    assert collection.remove([identity]) == (model.pop(identity, None) is not None)
                else:
                    assert collection.update_metadata([identity], {"n": word}) == (identity in model)
                    if identity in model:
                        model[identity] = replace(model[identity], metadata={"n": word})
            assert {document.id: document for document in collection} == model
            for word in VOCABULARY:
                expected = {identity for identity, document in model.items() if word in document.text}
                assert {*ids(collection.search(word, k=20, mode="lexical"))} == expected
                where = {"n": word}
                with collection.engine.view() as view:
                    try:
                        allowed = view.ids(parse_filter(where, view.fields()))
                    except FilterError:  # no document has a text there
                        allowed = []
                assert {*allowed} == {i for i, document in model.items() if document.metadata["n"] == word}
            self._nearest(collection, model)

    def _nearest(self, collection: Collection, model: dict[str, Document]) -> None:
        """Answers by meaning are those of brute force over the model."""
        names = list(model)
        vectors: Vectors = HashEncoder().encode_documents([model[name].text for name in names])
        queries = HashEncoder().encode_queries(VOCABULARY)
        truth = brute_force(np.arange(len(names)), vectors, queries, 5, Metric.COSINE) if names else None
        for row, hits in enumerate(collection.search_many(VOCABULARY, k=5)):
            expected = [] if truth is None else [score for score in truth.scores[row].tolist() if score > -np.inf]
            assert [hit.score for hit in hits] == expected
