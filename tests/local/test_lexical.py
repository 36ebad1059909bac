"""Search by words against BM25 by brute force, whatever the history of the collection and the text of the query."""

import dataclasses
import gc
import multiprocessing
import random
import tempfile
import threading
import tracemalloc
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fakes import HashEncoder

import semsearch
from semsearch.local.index import renewal
from semsearch.local.lexical import build as lexical_indexing
from semsearch.local.lexical import searcher as lexical
from semsearch.local.lexical.build import LexicalIndexing
from semsearch.local.lexical.postings import Postings
from semsearch.local.lexical.searcher import Lexical
from semsearch.search.analysis import analysed
from semsearch.search.query_syntax import Query, parse
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, B
from semsearch.types import Document

WORDS = ["running", "runs", "cat", "cats", "café", "cafe", "dog", "the", "zebra", "C++", "state-of-the-art", "naïve"]
STEMS = {"running": ["run"], "runs": ["run"], "cats": ["cat"], "café": ["cafe"], "C++": ["c"], "naïve": ["naiv"]}
STEMS["state-of-the-art"] = ["state", "of", "the", "art"]


POSTINGS = "semsearch.local.lexical.postings"
FUNCTION = {"the", "of", "it"}  # of these words, those that carry nothing


def stems(text):
    return [stem for word in text.split() for stem in STEMS.get(word, [word])]


def document(rng, identity, length=6):
    return Document(identity, " ".join(rng.choices(WORDS, k=length)), title=rng.choice(["", "cats", "the zebra"]))


def idf(holding, count):
    return np.log(1 + (count - holding + 0.5) / (holding + 0.5))


def bm25(query, units, wholes=None):
    """BM25 of each of `units`, a title and a text as lists of words, with the idf of `wholes`."""
    wholes = units if wholes is None else wholes
    mean = np.mean([len(title) + len(text) for title, text in units])
    empty = {word for word in query if word in FUNCTION}
    scores = np.zeros(len(units))
    for word in query:  # as often as it comes
        weight = idf(sum(word in title + text for title, text in wholes), len(wholes))
        if empty != set(query) and word in empty:
            weight *= max(0.1, 0.5 / len(set(query) - FUNCTION) ** 2)
        for place, (title, text) in enumerate(units):
            times = 2 * title.count(word) + text.count(word)
            length = K1 * (1 - B + B * (len(title) + len(text)) / mean)
            scores[place] += weight * times * (K1 + 1) / (times + length)
    return scores


def oracle(collection, query):
    """The scores of all passages that share a word with `query`, by key."""
    with collection.engine.store.read() as view:
        rows = view.connection.exec_driver_sql(
            "SELECT key, doc, title, passage_texts.text FROM passage_texts JOIN passages USING (key)"
        ).all()
    if not rows:
        return {}
    whole = {}
    for _, doc, title, text in rows:
        whole.setdefault(doc, (stems(title), []))[1].extend(stems(text))
    of_documents = dict(zip(whole, bm25(stems(query), list(whole.values())), strict=True))
    own = bm25(stems(query), [(stems(title), stems(text)) for _, _, title, text in rows], list(whole.values()))
    return {
        row[0]: (1 - DOCUMENT_SHARE) * score + DOCUMENT_SHARE * of_documents[row[1]]
        for row, score in zip(rows, own, strict=True)
        if score > 0
    }


def found(collection, query, k=10_000, allowed=None, own=None):
    with collection.engine.store.read() as view:
        keys, scores, _ = (own or Lexical(collection.engine.store)).search(view, parse(query), k, allowed)
    assert list(scores) == sorted(scores, reverse=True)
    assert (scores > 0).all()
    return dict(zip(keys.tolist(), scores.tolist(), strict=True))


def assert_right(collection, own=None):
    for query in ("running cats", "the", "C++ café zebra", "nothing of it", "the cats of the cats zebra"):
        assert found(collection, query, own=own) == pytest.approx(oracle(collection, query), rel=1e-5)


@pytest.fixture
def home(memory):
    return memory


@pytest.fixture
def few():
    """Build an index of words early."""
    with mock.patch.object(renewal, "TAIL_ROWS", 10):
        yield


def made(home, count=40, **options):
    collection = semsearch.create("words", encoder=HashEncoder(8), home=home, **options)
    rng = random.Random(1)
    collection.add([document(rng, f"d{i}", rng.randrange(1, 12)) for i in range(count)])
    return collection


def registered(collection):
    with collection.engine.store.read() as view:
        return view.snapshot.lexical


def test_as_brute_force_without_an_index(home):
    with made(home) as collection:
        assert registered(collection) is None
        assert_right(collection)


def test_as_brute_force_through_every_change(home, few):
    """Adds, updates, removals, a compaction and another model; one searcher sees them all."""
    rng = random.Random(2)
    with made(home) as collection:
        own = Lexical(collection.engine.store)
        first = registered(collection)
        assert first.rows == 40
        assert_right(collection, own)
        collection.add([document(rng, f"e{i}") for i in range(5)])
        assert registered(collection) == first
        assert_right(collection, own)
        collection.add([document(rng, f"d{i}") for i in range(3)])
        collection.remove(["d4", "e1"])
        assert_right(collection, own)
        collection.add([document(rng, f"f{i}") for i in range(20)])
        assert registered(collection).rows == 68
        assert_right(collection, own)
        collection.remove([f"d{i}" for i in range(30)])
        collection.compact()
        assert registered(collection).rows == len(collection)
        assert_right(collection, own)
        collection.reencode(HashEncoder(12, 1))
        assert_right(collection, own)
        assert collection.check(deep=True) == []
        assert len(list((collection.path / "indexes").glob("lexical-*"))) == 1


def test_passages_of_long_documents(home, few):
    rng = random.Random(3)
    with made(home, 3) as collection:
        with mock.patch("semsearch.ingest.ingestion.Encoding.planned", autospec=True) as planned:
            planned.side_effect = lambda self, records: lambda *_: split_in_three(self, records)
            collection.add([document(rng, f"long{i}", 30) for i in range(30)])
            collection.add([document(rng, f"long{i}", 30) for i in range(3)])
        assert collection.count_passages() > len(collection)
        assert_right(collection)


def split_in_three(self, records, *_):
    from semsearch.local.store.document_rows import Entry
    from semsearch.types import Span

    entries = []
    for record in records:
        words = record.document.text.split()
        cut = [len(" ".join(words[:n])) for n in (10, 20, 30)]
        spans = [Span(0, cut[0]), Span(cut[0] + 1, cut[1]), Span(cut[1] + 1, cut[2])]
        vectors = HashEncoder(8).encode_documents([record.document.text[s.start : s.end] for s in spans])
        entries.append(Entry(record, spans, vectors))
    return entries


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 25), min_size=1)), min_size=1, max_size=5))
def test_any_history(memory, steps):
    rng = random.Random(repr(steps))
    with (
        tempfile.TemporaryDirectory(dir=memory) as home,
        mock.patch.object(renewal, "TAIL_ROWS", 10),
        semsearch.create("words", encoder=HashEncoder(8), home=home) as collection,
    ):
        own = Lexical(collection.engine.store)
        for add, numbers in steps:
            if add:
                collection.add([document(rng, f"d{i}") for i in sorted(numbers)])
            else:
                collection.remove([f"d{i}" for i in sorted(numbers)])
            assert_right(collection, own)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            ['"', "-", ":", "AND", "NOT", "*", "^", "cat", "C++", "(", "\0", "NEAR(", "\ud800", "'", "-cat", "title:"]
        )
    ).map(" ".join)
)
def test_any_text_is_a_query(searchable, query):
    collection, own = searchable
    everything = found(collection, "running cat cafe dog the zebra C++ state naive", own=own)
    assert set(found(collection, query, own=own)) <= set(everything)
    with mock.patch.object(lexical, "SPLIT_ROWS", 0):
        assert set(found(collection, query)) <= set(everything)


@pytest.fixture(scope="module")
def searchable(tmp_path_factory):
    with made(tmp_path_factory.mktemp("searchable")) as collection:
        yield collection, Lexical(collection.engine.store)


@pytest.mark.parametrize(
    "query", ["AND", "cat OR", "title:cat", "NEAR(cat dog)", "cat*", "^cat", "'; DROP TABLE x", "{"]
)
def test_the_full_texts_own_language_is_only_words(searchable, query):
    collection, own = searchable
    assert found(collection, query, own=own) == pytest.approx(found(collection, analysed(query), own=own))


def test_the_best_k_of_equals_the_older(searchable):
    collection, own = searchable
    everything = oracle(collection, "the cats")
    ranked = sorted(everything, key=lambda key: (-np.float32(everything[key]), key))
    for k in (1, 5, len(ranked), 1000):
        assert list(found(collection, "the cats", k, own=own).values()) == pytest.approx(
            [everything[key] for key in ranked[:k]], rel=1e-5
        )
    assert found(collection, "the", 0, own=own) == {}
    with semsearch.create("equals", encoder=HashEncoder(8)) as equals:
        equals.add([Document(str(i), "the same words") for i in range(50)])
        assert list(found(equals, "same", 7)) == [1, 2, 3, 4, 5, 6, 7]


def test_only_what_is_allowed(searchable):
    collection, own = searchable
    with collection.engine.store.read() as view:
        allowed = view.snapshot.keys % 3 == 0
    expected = {key: score for key, score in oracle(collection, "the cats").items() if key % 3 == 0}
    assert found(collection, "the cats", allowed=allowed, own=own) == pytest.approx(expected, rel=1e-5)
    with mock.patch.object(lexical, "SPLIT_ROWS", 0):
        assert set(found(collection, "the cats", allowed=allowed)) == set(expected)


QUERIES = {
    "plain words": Query("plain words"),
    'say "exact phrase" now': Query("say exact phrase now", ("exact phrase",), ("exact phrase",)),
    'what does "hot water" do to tea leaves?': Query("what does hot water do to tea leaves?", ("hot water",)),
    'tea made with "hot water" and with "cold water"': Query(
        "tea made with hot water and with cold water", ("hot water", "cold water"), ("hot water", "cold water")
    ),
    'the tea that is made with "hot water" in a pot': Query(
        "the tea that is made with hot water in a pot", ("hot water",)
    ),
    '茶葉在熱水中會怎樣？"熱水"': Query('茶葉在熱水中會怎樣？"熱水"'),  # in the middle of a word, as far as spaces tell
    'what does +"hot water" do to tea leaves?': Query(
        "what does hot water do to tea leaves?", ("hot water",), ("hot water",), firm=True
    ),
    "cats -dogs": Query("cats", excluded=("dogs",)),
    'cats -"big dogs"': Query("cats", excluded=("big dogs",)),
    "how does grep -r work": Query("how does grep -r work"),
    "tar -xzf archive": Query("tar -xzf archive"),
    "git commit -m": Query("git commit -m"),
    "cats -dogs -birds": Query("cats", excluded=("dogs", "birds")),
    "Who wrote it? -Bob": Query("Who wrote it? -Bob"),
    "state-of-the-art": Query("state-of-the-art"),
    "cooled to -40 degrees": Query("cooled to -40 degrees"),
    "this - that -- other": Query("this - that -- other"),
    'a 5" disk and a 3" one': Query('a 5" disk and a 3" one'),
    'never "closed': Query('never "closed'),
    "“smart quotes”": Query("smart quotes", ("smart quotes",), ("smart quotes",)),
    "-only": Query("", excluded=("only",)),
    '""': Query(""),
    'cats "…"': Query("cats …"),
    '"the cats" +"—" -"!"': Query("the cats —", ("the cats",), ("the cats",)),
    "C++ -c": Query("C++ -c"),
    "首都 -日本": Query("首都", excluded=("日本",)),
    "首都 -日": Query("首都", excluded=("日",)),
    '首都 +"日本"': Query("首都 日本", ("日本",), ("日本",), firm=True),
}


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_taken_apart(query):
    assert parse(query) == QUERIES[query]


def test_phrases_are_required_and_exclusions_kept_out(home):
    texts = ["the cats run home", "cats and the dogs", "run the cats", "a dog that runs", "nothing"]
    with semsearch.create("phrases", encoder=HashEncoder(8), home=home) as collection:
        collection.add([Document(str(i), text) for i, text in enumerate(texts, start=1)])
        assert set(found(collection, '"the cats"')) == {1, 3}
        assert found(collection, '"the cat" home') == {}, "exactly, where other words find by their stems"
        assert set(found(collection, "cats -dogs")) == {1, 3}
        assert set(found(collection, 'cats -"the cats"')) == {2}
        assert set(found(collection, 'runs -home "the cats"')) == {3}
        assert set(found(collection, '"!!" dog')) == {2, 4}  # nothing but punctuation requires nothing
        assert found(collection, "-dogs") == {}
        assert found(collection, '"cats the"') == {}


def test_an_exclusion_is_of_the_whole_document(home):
    with (
        made(home, 1) as collection,
        mock.patch("semsearch.ingest.ingestion.Encoding.planned", autospec=True) as planned,
    ):
        planned.side_effect = lambda self, records: lambda *_: split_in_three(self, records)
        collection.add([Document("long", " ".join(["cat"] * 29 + ["dog"])), Document("other", " ".join(["cat"] * 30))])
        with collection.engine.store.read() as view:
            docs = dict(zip(view.snapshot.keys.tolist(), view.snapshot.docs.tolist(), strict=True))
        assert len({docs[key] for key in found(collection, "cat -dog")} - {1}) == 1


@pytest.mark.parametrize("harm", ["flip", "lose", "manifest", "cut"])
def test_a_damaged_index_is_not_believed(home, few, caplog, harm):
    with made(home) as collection:
        folder = collection.path / "indexes" / registered(collection).folder
    file = folder / ("manifest.json" if harm == "manifest" else "rows.npy")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "lose":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if harm == "cut" else content)
    with semsearch.open("words", home=home, encoder=HashEncoder(8)) as collection:
        own = Lexical(collection.engine.store)
        assert_right(collection, own)
        assert "semsearch repair words" in caplog.text
        assert len(caplog.records) == 1
        with mock.patch.object(lexical, "SPLIT_ROWS", 0):  # as for a large collection: SQLite answers
            other = Lexical(collection.engine.store)
            assert set(found(collection, "cats", own=other)) == set(oracle(collection, "cats"))
        assert [problem.part for problem in collection.check()] == ["words"]
        assert "built the index of words anew" in collection.repair()
        assert collection.check() == []
        assert_right(collection)


def test_sqlite_ranks_alike(searchable):
    """What answers for an index that is not there holds long passages back more, and knows another idf; little else."""
    collection, own = searchable
    for query in ("zebra", "naïve"):
        with mock.patch.object(lexical, "SPLIT_ROWS", 0):
            by_sqlite = list(found(collection, query))
        ours = list(found(collection, query, own=own))
        assert set(by_sqlite) == set(ours)
        apart = [abs(by_sqlite.index(key) - ours.index(key)) for key in ours]
        assert max(apart) <= 2
        assert by_sqlite[:3] == ours[:3]


def test_a_reader_keeps_its_snapshot(home, few):
    with made(home) as collection, collection.engine.store.read() as view:
        own = Lexical(collection.engine.store)
        before = own.search(view, parse("the cats"), 100)
        rng = random.Random(5)
        collection.add([document(rng, f"g{i}") for i in range(30)])  # builds anew and takes the old files away
        assert found(collection, "the", own=own)
        for searcher in (own, Lexical(collection.engine.store)):
            keys, scores, _ = searcher.search(view, parse("the cats"), 100)
            assert keys.tolist() == before[0].tolist()
            assert scores == pytest.approx(before[1])


def test_threads_share_it(home, few):
    with made(home) as collection:
        own = Lexical(collection.engine.store)
        expected = found(collection, "the cats")
        wrong = []

        def search():
            for _ in range(20):
                if found(collection, "the cats", own=own) != expected:
                    wrong.append(1)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_searches_on(home, few):
    with made(home) as collection:
        own = Lexical(collection.engine.store)
        expected = found(collection, "the cats", own=own)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=lambda: queue.put(found(collection, "the cats", own=own)))
        child.start()
        assert queue.get() == expected
        child.join()


@pytest.mark.parametrize("limit", ["TOKENIZED_PASSAGES", "TOKENIZED_LETTERS"])
def test_postings_are_the_counts(memory, limit):
    rng = random.Random(6)
    entries = [(i, rng.choice(["", "cats the"]), " ".join(rng.choices(WORDS, k=9))) for i in range(50)]
    with mock.patch(f"semsearch.local.lexical.postings.{limit}", 7 if limit == "TOKENIZED_PASSAGES" else 200):
        postings = Postings.made(entries, 60)
    assert len(postings) == 60
    postings.save(memory)
    for read in (postings, Postings.load(memory)):
        for word in ("cat", "the", "art", "zzz"):
            where = read.of(word)
            pairs = zip(read.rows[where].tolist(), read.titles[where].tolist(), read.texts[where].tolist(), strict=True)
            counts = [(i, Counter(stems(a))[word], Counter(stems(b))[word]) for i, a, b in entries]
            assert list(pairs) == [entry for entry in counts if entry[1] + entry[2]]
    assert postings.lengths[:50].tolist() == [[len(stems(a)), len(stems(b))] for _, a, b in entries]
    assert not postings.lengths[50:].any()


def held(call):
    """Bytes that `call` holds at most on the way to what it gives."""
    gc.collect()
    tracemalloc.start()
    try:
        made = call()
        return tracemalloc.get_traced_memory()[1], made
    finally:
        tracemalloc.stop()


def test_splitting_holds_no_object_for_each_passage(home):
    with semsearch.create("plain", encoder=None, dim=2, home=home) as collection:
        vectors = np.full((12_000, 2), 0.5, dtype=np.float32)
        collection.add([Document(str(n), "cat") for n in range(12_000)], vectors, maintain=False)
        few = mock.patch(f"{POSTINGS}.TOKENIZED_PASSAGES", 256), mock.patch.object(lexical, "PLACED_PASSAGES", 256)
        with collection.engine.store.read() as view, few[0], few[1]:
            lexical.postings_of(view, 0)  # what is remembered of words and statements is none of it
            most, postings = held(lambda: lexical.postings_of(view, 0))
    assert len(postings.rows) == 12_000
    assert most < 60 * 12_000  # 16 bytes of it stay; a dictionary of the keys alone would take 100


def test_splitting_holds_the_words_of_few_batches_as_strings(few):
    words = [f"w{n:04}" for n in range(1_000)]
    entries = [(n, "", " ".join(words[n % 10 :: 10])) for n in range(2_000)]
    with mock.patch(f"{POSTINGS}.TOKENIZED_PASSAGES", 20):
        Postings.made(entries, 2_000)
        most, postings = held(lambda: Postings.made(iter(entries), 2_000))
    whole = Postings.made(entries, 2_000)
    for field in dataclasses.fields(Postings):
        assert np.array_equal(getattr(postings, field.name), getattr(whole, field.name)), field.name
    assert len(postings.rows) == 200_000
    assert most < 30 * 200_000  # of it 8 stay; the words of a hundred batches as strings would take 60 more


def test_building_takes_over_what_is_known(home, few):
    with made(home) as collection:
        rng = random.Random(7)
        with mock.patch.object(lexical_indexing, "postings_of", wraps=lexical_indexing.postings_of) as split:
            collection.add([document(rng, f"h{i}") for i in range(20)])
        assert [call.args[1] for call in split.call_args_list] == [40]
        assert_right(collection)


def test_a_compaction_erases_words(home, few):
    with made(home) as collection:
        collection.add([Document("secret", "the unmistakable xyzzyplugh"), Document("other", "the rest")])
        collection.add([Document(f"more{i}", "the rest") for i in range(20)])
        folder = collection.path
        assert b"xyzzyplugh" in next(folder.glob("indexes/lexical-*/letters.npy")).read_bytes()
        collection.remove(["secret"])
        assert found(collection, "xyzzyplugh") == {}
        collection.compact()
        assert registered(collection).rows == len(collection)
    assert [file for file in folder.rglob("*") if file.is_file() and b"xyzzyplugh" in file.read_bytes()] == []


def test_reindexing_builds_what_is_missing(home):
    with made(home) as collection:
        assert registered(collection) is None
        with mock.patch.object(renewal, "TAIL_ROWS", 10):
            collection.reindex("exact")
            assert registered(collection).rows == 40
            assert collection.info()["index"]["backend"] == "exact"
            number = registered(collection).number
            collection.reindex("hnsw", {})
        assert registered(collection).number == number  # nothing new to cover
        assert_right(collection)


def test_nothing_to_index(home):
    with semsearch.create("empty", encoder=HashEncoder(8), home=home) as collection:
        assert LexicalIndexing(collection.engine.store, Lexical(collection.engine.store)).rebuild() is None
        assert found(collection, "the") == {}


def test_a_broken_index_of_words_is_said_and_built_anew_by_the_next_writer(home, caplog):
    def opened():
        return semsearch.open("words", home=home, encoder=HashEncoder())

    documents = [Document(str(i), f"cats and {i} dogs") for i in range(50)]
    with mock.patch.object(renewal, "TAIL_ROWS", 10):
        with semsearch.create("words", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            assert collection.info()["index"]["words"]["rows"] == 50
            assert {hit.found for hit in collection.search("cats", mode="lexical")} == {("lexical",)}
            folder = next((collection.path / "indexes").glob("lexical-*"))
        largest = max(folder.iterdir(), key=lambda file: file.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
        with mock.patch.object(lexical, "SPLIT_ROWS", 10), opened() as collection:
            hits = collection.search("cats", mode="lexical")
            assert {hit.found for hit in hits} == {("fulltext",)}, "a hit says which engine scored it"
            assert "damaged" in collection.info()["index"]["words"]["state"]
            assert "until the next writer has built it anew" in caplog.text
        with opened() as collection:  # a writer that has not searched
            collection.add([Document("new", "one more")])
            assert collection.info()["index"]["words"]["rows"] == len(collection) == 51
            assert {hit.found for hit in collection.search("cats", mode="lexical")} == {("lexical",)}
            assert collection.check(deep=True) == []


def test_passages_without_a_row_hold_no_word():
    keys = np.array([1, 3, 4])
    snapshot = mock.Mock(keys=keys, rows_of=lambda asked: np.searchsorted(keys, asked))
    passages = [(key, f"title {key}", f"text {key}") for key in (1, 2, 3, 4, 9)]
    found = list(lexical._in_rows(passages, snapshot, 1))
    assert found == [(-1, "title 1", "text 1"), (0, "title 3", "text 3"), (1, "title 4", "text 4")]


@settings(max_examples=300)
@example(100, 2, 1000, 5, 0)  # the two best in two parts
@given(
    st.integers(1, 300),
    st.integers(1, 60),
    st.sampled_from([0, 1, 4, 1000]),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
def test_the_best_rows_are_those_of_a_sort(rows, k, distinct, parts, seed):
    """Of equals the first, however few rows score, and however many are looked at together."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct + 1, rows).astype(np.float32) / 3
    keys = np.cumsum(rng.integers(1, 4, rows))
    with mock.patch.object(lexical, "PARTS", parts), mock.patch.object(lexical, "PARTED", 1 + parts % 2):
        found, theirs = lexical._best(keys, scores, k)
    expected = [row for row in sorted(range(rows), key=lambda row: (-scores[row], row)) if scores[row] > 0][:k]
    assert found.tolist() == keys[expected].tolist()
    assert theirs.tolist() == scores[expected].tolist()
