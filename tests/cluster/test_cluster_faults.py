"""What can go wrong with a cluster becomes one sentence, and nothing is half done: on a real server of either kind."""

import json
import threading
from collections import Counter
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("orjson", reason="the extra 'opensearch' is not installed")

import semsearch
from semsearch.cluster import document_frequencies, nearest_documents, word_candidates
from semsearch.cluster import engine as cluster_engine
from semsearch.cluster.cluster_filters import UNFILTERED, DocumentFilter
from semsearch.cluster.cluster_view import ClusterView
from semsearch.cluster.dialects import ClusterAnswer, RequestTimeout
from semsearch.cluster.document_store import DocumentStore
from semsearch.cluster.index_layout import identity_of
from semsearch.cluster.index_totals import IndexTotals
from semsearch.cluster.second_index import SecondIndex
from semsearch.engine import StateMoved
from semsearch.errors import (
    CollectionError,
    CollectionLocked,
    CollectionNotFound,
    DocumentChanged,
    EngineUnreachable,
    FilterError,
    StorageError,
    UsageError,
)
from semsearch.search import engine_recall
from semsearch.search.fields import VALUED, fields_of
from semsearch.search.query_syntax import parse
from semsearch.search.where import Compare, Value
from semsearch.server.facets import facets, most_frequent
from semsearch.testing.encoder import HashEncoder
from semsearch.testing.engines import in_passages
from semsearch.types import Document, Metric

pytestmark = pytest.mark.cluster
CATS = [Document(f"c{number}", f"cat number {number}", metadata={"n": number}) for number in range(6)]


@pytest.fixture
def cats(url):
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as collection:
        collection.add(CATS)
        yield collection


def opened(url):
    return semsearch.open("cats", home=url, encoder=HashEncoder())


def test_a_server_that_is_not_there():
    with pytest.raises(EngineUnreachable, match="can't be reached") as told:
        semsearch.list_collections(home="opensearch://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(told.value)
    assert "Bounded" not in str(told.value)  # a class of ours


def test_an_index_of_somebody_else_under_the_name(server, url):
    server.ask("PUT", "/foreign", {"mappings": {"properties": {"a": {"type": "keyword"}}}})
    try:
        place = url.replace(url.partition("prefix=")[2].partition("&")[0], "foreign")
        for ask in (semsearch.list_collections, lambda home: semsearch.create("x", home=home, encoder=HashEncoder())):
            with pytest.raises(UsageError, match="that is not semsearch's"):
                ask(home=place)
    finally:
        server.ask("DELETE", "/foreign")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"settings": {"index": {"final_pipeline": "nowhere"}}}, None),
        ({"mappings": {"properties": {"more": {"type": "keyword"}}}}, None),
        ({"mappings": {"_routing": {"required": True}}}, "_routing"),
        ({"mappings": {"_source": {"enabled": False}}}, "_source"),
    ],
)
def test_an_administrators_template(server, url, template, words):
    prefix = url.partition("prefix=")[2].partition("&")[0]
    body = {"index_patterns": [f"{prefix}-*"], "priority": 900, "template": template}
    assert "error" not in server.ask("PUT", "/_index_template/theirs", body)
    overruled = words == "_source" and url.startswith("opensearch")  # what is asked for itself goes before templates
    try:
        if words is None or overruled:
            with semsearch.create("own", home=url, encoder=HashEncoder()) as collection:
                collection.add(CATS)
                assert len(collection.search("cat", mode="hybrid", k=10)) == 6
        else:
            with pytest.raises(UsageError, match=f"template .*{words}"):
                semsearch.create("own", home=url, encoder=HashEncoder())
            assert semsearch.list_collections(home=url) == []
            assert "error" not in server.ask("GET", "/_cluster/health")
    finally:
        server.ask("DELETE", "/_index_template/theirs")


def test_a_collection_that_is_dropped_or_made_anew_while_it_is_open(url, cats):
    cats.search("cat")
    semsearch.drop("cats", home=url)
    for ask in (lambda: cats.search("cat"), lambda: cats.add([Document("x", "more")]), lambda: len(cats)):
        with pytest.raises(CollectionNotFound, match="dropped"):
            ask()
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as again:
        with pytest.raises(CollectionNotFound, match="dropped"):
            cats.add([Document("x", "more")])
        assert len(again) == 0


def test_no_write_makes_an_index(server, cats):
    store = cats.engine._store(cats.engine._read())
    server.ask("DELETE", f"/{quote(store.index)}")
    with pytest.raises(CollectionNotFound):
        cats.engine.put([in_passages(Document("x", "more words"), 2)])
    assert "error" in server.ask("GET", f"/{quote(store.index)}")


def test_what_a_newer_semsearch_made_is_neither_read_nor_written(url, cats):
    for field in ("schema", "analysis", "encoding"):
        cats.engine._state.change(lambda state, field=field: {**state.source, field: state.source[field] + 1})
        for ask in (lambda: cats.add(CATS), lambda: cats.search("cat"), lambda: opened(url)):
            with pytest.raises(CollectionError, match="newer semsearch"):
                ask()
        cats.engine._state.change(lambda state, field=field: {**state.source, field: state.source[field] - 1})


def test_what_an_older_semsearch_kept_is_made_anew(cats):
    cats.engine._state.change(lambda state: {**state.source, "schema": 1})
    with pytest.raises(CollectionError, match="semsearch repair"):
        cats.add([Document("new", "a new cat")])
    assert [problem.part for problem in cats.check()] == ["words"]
    assert cats.repair() == ["made the words anew"]
    assert cats.check(deep=True) == []
    assert cats.add([Document("new", "a new cat")]).added == 1
    assert len(cats.search("cat", mode="lexical", k=10)) == 7


def test_an_answer_that_was_lost_is_no_second_write(cats, monkeypatch):
    """The bulk was done, and the connection went before the answer came: the client sends it again."""
    sent = DocumentStore._send

    def twice(self, lines):
        list(sent(self, lines))
        yield from sent(self, lines)

    monkeypatch.setattr(DocumentStore, "_send", twice)
    changed = [replace(CATS[0], text="another cat"), Document("new", "a new one")]
    written = cats.add(changed)
    assert (written.added, written.changed, len(cats)) == (1, 1, 7)
    assert cats.remove(["new", "c1"]) == 2
    assert cats.update_metadata(["c2"], {"n": 7}) == 1
    assert cats.ids({"n": 7}) == ["c2"]
    assert cats.check(deep=True) == []


def test_several_writers_of_the_same_documents(url, cats):
    errors = []

    def write(number):
        try:
            with opened(url) as own:
                for turn in range(3):
                    own.add([Document(f"c{n}", f"cat {n} of {number} at {turn}") for n in range(6)], maintain=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (len(cats), cats.count_passages()) == (6, 6)
    with cats.engine.view() as view:
        keys = [key for own in view.keys_of(cats.ids()).values() for key in own]
    assert len({*keys}) == 6
    assert cats.check(deep=True) == []


def test_numbers_are_given_once(url, cats):
    given = []

    def reserve():
        with opened(url) as own:
            given.extend(own.engine._state.reserve("keys", 3) for _ in range(5))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*given}) == 20
    assert all(b - a >= 3 for a, b in zip(sorted(given), sorted(given)[1:], strict=False))


def test_who_holds_others_out_is_waited_for(url, cats, monkeypatch):
    monkeypatch.setattr("semsearch.cluster.collection_state.WAITED", 0.1)
    with opened(url) as other:
        with cats.engine.hold():
            assert cats.add([Document("own", "my own")]).added == 1
            with pytest.raises(CollectionLocked, match="keeps writers out"):
                other.add([Document("x", "more")])
            assert len(other.search("cat", k=10)) == 7, "readers wait for nobody"
        assert other.add([Document("x", "more")]).added == 1


def test_a_change_of_model_that_is_broken_off_goes_on(cats, monkeypatch):
    """At each step the collection is as it was, writers write, and the same call finishes it."""
    new = HashEncoder(dim=8, salt=1)
    for step in ("_copied", "block", "_switch"):
        with monkeypatch.context() as patched:
            patched.setattr(SecondIndex, step, lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                cats.reencode(new)
        assert cats.info()["dim"] == 16
        assert len(cats.search("cat", k=10)) == 6
        assert cats.add([replace(CATS[0], text=f"changed before {step}")]).changed == 1
    assert cats.reencode(new) >= 1
    assert (cats.info()["dim"], len(cats)) == (8, 6)
    assert "changed before _switch" in {document.text for document in cats}
    assert cats.check(deep=True) == []


def test_who_reads_while_the_index_is_replaced_reads_on(cats):
    with cats.engine.view() as view:
        cats.change_language("de")
        assert len(view.ids(None)) == 6
        assert view.settings["languages"] != ["de"]
    assert len(cats.search("cat", mode="lexical", k=10)) == 6


def test_a_document_that_is_written_anew_within_a_search(cats):
    """Its keys are others then: the search begins again, and whoever reads a view is told in a sentence."""
    with cats.engine.view() as view:
        keys = np.array(view.keys_of(["c1"])["c1"], dtype=np.int64)
        cats.engine.put([in_passages(Document("c1", "another cat"), 2)], again=True)
        cats.engine.refresh()
        for ask in (view.vectors, view.docs_of, lambda own: view.context_of(own, 1)):
            with pytest.raises(DocumentChanged, match="written anew"):
                ask(keys)
    with cats.engine.prompt_view() as view, pytest.raises(StateMoved):
        view.vectors(keys)


def test_a_search_is_told_of_a_new_state_by_the_request_that_it_sends(url, cats, monkeypatch):
    """It is asked beside the candidates, and what another process changed decides from then on."""
    dialect, paths = cats.engine._connection.dialect, []
    send = dialect.send

    def noted(method, path, body, lines):
        paths.append(path.partition("?")[0])
        return send(method, path, body, lines)

    cats.search("cat", mode="lexical")
    monkeypatch.setattr(dialect, "send", noted)
    for how in ({"mode": "lexical"}, {"mode": "dense"}):
        paths.clear()
        assert len(cats.search("cat", k=10, **how)) == 6
        assert paths[0] == "/_msearch"
        assert not [path for path in paths if "/_doc/" in path]
    with opened(url) as other:
        other.change_language("de")
        other.add([Document("new", "the cat")])
    paths.clear()
    assert len(cats.search("cat", mode="lexical", k=10)) == 7
    assert [path for path in paths if "/_doc/" in path]  # what is there is not what the search went by
    paths.clear()
    assert len(cats.search("cat", mode="lexical", k=10)) == 7
    assert not [path for path in paths if "/_doc/" in path]


def test_a_state_that_searches_do_not_see_yet_is_read(url, cats, server):
    """As one that an older semsearch wrote, which did not wait for that."""
    home = quote(cats.engine._state._home)
    with opened(url) as other:
        other.search("cat", mode="lexical")
        server.ask("PUT", f"/{home}/_settings", {"index": {"refresh_interval": "-1"}})
        state = other.engine._read()
        source = {**state.source, "version": state.source["version"] + 1}
        assert other.engine._connection.put(cats.engine._state._home, other.engine._state._id, source, state.stored)
        assert other.engine._read().source["version"] == source["version"]  # which is what the search goes by now
        assert len(other.search("cat", mode="lexical", k=10)) == 6


def test_check_finds_what_others_did_and_repair_mends_it(server, cats):
    index = quote(cats.engine._read().index)
    server.ask("PUT", f"/{index}/_doc/stranger?refresh=true", {"title": "of somebody else"})
    changed = {"doc": {"words": "wnothing", "kv": [], "kinds": []}}
    server.ask("POST", f"/{index}/_update/{identity_of('c1')}?refresh=true", changed)
    server.ask("POST", f"/{index}/_update/{identity_of('c2')}?refresh=true", {"doc": {"p": []}})
    server.ask("PUT", f"/{index}/_settings", {"index": {"blocks": {"write": True}}})
    found = {(problem.part, problem.what.partition(" ")[0]) for problem in cats.check(deep=True)}
    assert found == {("documents", "1"), ("words", "the"), ("vectors", "document"), ("database", "it")}
    assert len(cats.repair()) == 4
    assert cats.check(deep=True) == []
    assert len(cats.search("cat", k=10)) == 6
    assert cats.ids({"n": 1}) == ["c1"]


def test_walks_with_a_filter_go_through_what_it_leaves_out(server, cats):
    """Elasticsearch's default goes around it, and found 0.8 of the nearest of 137,351 questions."""
    connection, index = cats.engine._connection, cats.engine._read().index
    name = "index.dense_vector.hnsw_filter_heuristic"
    if connection.dialect.flavour != "elasticsearch":
        assert connection.dialect.changeable_settings == {}
        return

    def of(index):
        said = connection.ask("GET", f"{quote(index)}/_settings", options={"flat_settings": "true"}).body
        return said[index]["settings"].get(name)

    assert of(index) == "fanout"
    connection.ask("PUT", f"{quote(index)}/_settings", {name: None})  # as an older semsearch made it
    assert of(index) is None
    (problem,) = cats.check()
    assert (problem.part, problem.what) == ("index", "searches with a filter may miss some of the nearest passages")
    assert cats.repair() == ["had searches with a filter look at more of the graph"]
    assert (of(index), cats.check()) == ("fanout", [])
    cats.reencode(HashEncoder(24))
    assert of(cats.engine._read().index) == "fanout"


@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_what_several_questions_find_is_read_once(url, monkeypatch, index):
    read, reading = [], nearest_documents.StoredVectors.of

    def counted(hits, dim):
        read.extend(hit["_source"]["num"] for hit in hits)
        return reading(hits, dim)

    monkeypatch.setattr(nearest_documents.StoredVectors, "of", counted)
    monkeypatch.setattr(nearest_documents, "READ_COST", 1e9)  # else all are read at once
    vectors = np.random.default_rng(4).standard_normal((400, 8)).astype(np.float32)
    with semsearch.create("many", home=url, encoder=None, dim=8, index=index) as collection:
        collection.add([Document(str(number), f"text {number}") for number in range(400)], vectors=vectors)
        if index == "hnsw":
            collection.reindex("hnsw")
        collection.search(vector=vectors[0])
        read.clear()
        found = collection.search_many(vectors=vectors[:7], k=40)
        assert len(read) == len(set(read)) < 400
        one_by_one = [collection.search(vector=vector, k=40) for vector in vectors[:7]]
        assert [[(h.id, h.score) for h in hits] for hits in found] == [
            [(h.id, h.score) for h in hits] for hits in one_by_one
        ]
        assert len(read) > 7 * 40


@pytest.mark.parametrize("index", ["exact", "hnsw"])
@pytest.mark.parametrize("questions", [1, 3])
def test_a_document_that_is_written_anew_while_it_is_read_is_read_anew(url, monkeypatch, index, questions):
    reading, shown, calls = nearest_documents.StoredVectors.of, ClusterView.passages_of, []

    def replaced(hits, dim):
        read = reading(hits, dim)
        if not calls:
            calls.append(len(hits))
            other.add([Document("0", "another text")], vectors=vectors[:1])
        return read

    def counted(view, keys):
        calls.append(len(keys))
        assert len(calls) < 20, "it is proposed again and again"
        return shown(view, keys)

    monkeypatch.setattr(ClusterView, "passages_of", counted)

    vectors = np.random.default_rng(4).standard_normal((40, 8)).astype(np.float32)
    with (
        semsearch.create("many", home=url, encoder=None, dim=8, index=index) as collection,
        semsearch.open("many", home=url) as other,
    ):
        collection.add([Document(str(number), f"text {number}") for number in range(40)], vectors=vectors)
        if index == "hnsw":
            collection.reindex("hnsw")
        monkeypatch.setattr(nearest_documents.StoredVectors, "of", replaced)
        # a walk for one question brings the text with the vector, both of them as they were
        text = "text 0" if (index, questions) == ("hnsw", 1) else "another text"
        for hits in collection.search_many(vectors=vectors[[0] * questions], k=3):
            assert (hits[0].id, hits[0].document.text) == ("0", text)


def test_no_graph_is_built_for_a_collection_that_is_searched_exactly(url):
    """Where the server can do without; another index moves it into one with a graph, and back."""
    flat = url.startswith("elasticsearch")

    def kind(collection):
        connection, index = collection.engine._connection, collection.engine._read().index
        (said,) = connection.ask("GET", f"{index}/_mapping").body.values()
        field = said["mappings"]["properties"]["p"]["properties"]["v"]
        return field["index_options"]["type"] if flat else field["method"]["name"]

    vectors = np.random.default_rng(4).standard_normal((300, 8)).astype(np.float32)
    with semsearch.create("many", home=url, encoder=None, dim=8, index="exact") as collection:
        collection.add([Document(str(number), f"text {number}") for number in range(300)], vectors=vectors)
        assert kind(collection) == ("flat" if flat else "hnsw")
        truth = collection.search_many(vectors=vectors[:20], k=10)
        index = collection.engine._read().index
        for wanted, mapped, way in (("hnsw", "hnsw", "index"), ("exact", "flat" if flat else "hnsw", "exact")):
            collection.reindex(wanted)
            assert (collection.engine._read().index != index) is flat
            index = collection.engine._read().index
            assert kind(collection) == mapped
            assert collection.info()["index"]["backend"] == wanted
            found = collection.search_many(vectors=vectors[:20], k=10)
            assert {hit.found for hits in found for hit in hits} == {(way,)}
            assert [[(h.id, h.score) for h in hits] for hits in found] == [
                [(h.id, h.score) for h in hits] for hits in truth
            ]
        assert collection.check() == []
    with semsearch.create("empty", home=url, encoder=None, dim=8, index="exact") as collection:
        collection.reindex("hnsw")
        collection.add([Document("one", "text")], vectors=vectors[:1])
        assert kind(collection) == "hnsw"
        assert collection.search(vector=vectors[0])[0].id == "one"


@pytest.mark.parametrize("metric", list(Metric))
def test_exact_is_exact_in_slices_and_streamed(url, monkeypatch, metric):
    """Also where a document has more passages than a slice takes, and with ties at the cut."""
    monkeypatch.setattr(nearest_documents, "SLICE_PASSAGES", 60)
    generator = np.random.default_rng(4)
    vectors = generator.standard_normal((400, 8)).astype(np.float32)
    vectors[150:200] = vectors[149]
    queries = np.concatenate([vectors[[149]], generator.standard_normal((9, 8)).astype(np.float32)])
    with semsearch.create("many", home=url, encoder=None, dim=8, metric=metric) as collection:
        documents = [Document(str(number), f"text {number}", metadata={"n": number}) for number in range(400)]
        collection.add(documents, vectors=vectors)
        for where in (None, {"n": {"$gte": 100}}):
            with collection.engine.view() as view:
                assert len(view.nearest._sliced(UNFILTERED)) > 1
                few = DocumentFilter(({"range": {"num": {"lte": 40}}},))
                assert [passages for _, _, passages in view.nearest._sliced(few)] == [40]
            monkeypatch.setattr(nearest_documents, "SCAN_COST", 1.0)
            monkeypatch.setattr(nearest_documents, "READ_COST", 0.0)
            many = collection.search_many(vectors=queries, k=30, exact=True, where=where)
            monkeypatch.setattr(nearest_documents, "SCAN_COST", -1.0)
            assert many == collection.search_many(vectors=queries, k=30, exact=True, where=where)
        collection.reindex("hnsw")
        walked = collection.search_many(vectors=queries, k=10)
        assert {hit.found for hits in walked for hit in hits} == {("index",)}
        truth = collection.search_many(vectors=queries, k=10, exact=True)
        assert [[(h.id, h.score) for h in hits] for hits in walked] == [
            [(h.id, h.score) for h in hits] for hits in truth
        ]
        few = collection.search(vector=queries[0], k=5, where={"n": {"$in": [3, 5, 7]}})
        assert {hit.id for hit in few} == {"3", "5", "7"}


@pytest.mark.parametrize("odd", ["'; DROP", "a%s", "\\", '"', "*", "n?", ".", "{x}", "x" * 690])
def test_nothing_of_a_filter_is_taken_for_a_pattern(url, odd):
    with semsearch.create("odd", home=url, encoder=HashEncoder()) as collection:
        collection.add([Document("d", "text", metadata={odd: odd, "n": 1}), Document("e", "text", metadata={"n": 2})])
        assert collection.ids({odd: odd}) == ["d"]
        assert collection.ids({odd: {"$ne": odd}}) == ["e"]
        assert collection.ids({odd: {"$gte": odd}}) == ["d"]
        assert collection.ids({odd: {"$lt": odd}}) == []
        assert collection.get([odd]) == [None]


def test_long_texts_are_filtered_by_all_of_them(url):
    long = "a" * 40_000
    with semsearch.create("long", home=url, encoder=HashEncoder()) as collection:
        collection.add(
            [Document(end, "text", metadata={"t": long + end, "n": 2**60 + n}) for n, end in enumerate("xy")]
        )
        assert collection.ids({"t": long + "y"}) == ["y"]
        assert collection.ids({"t": {"$like": "ay"}}) == ["y"]
        assert collection.ids({"n": 2**60 + 1}) == ["y"]
        assert collection.ids({"n": {"$gt": 2**60}}) == ["y"]
        with pytest.raises(FilterError, match="first 700 bytes"):
            collection.ids({"t": {"$gt": long}})


def test_more_words_than_a_server_takes_clauses(cats):
    query = " ".join(["cat", *(f"word{number}" for number in range(3000))])
    assert len(cats.search(query, mode="lexical", k=10)) == 6


def test_words_are_counted_without_what_was_removed(url, tmp_path):
    """The server's own statistics count it until it merges: scores are those of a folder with the same documents."""
    texts = [f"cat {'dog ' * (n % 5)} bird{n % 7} fish" for n in range(60)]
    documents = [Document(f"d{n}", text, title="Cats" if n % 4 == 0 else "") for n, text in enumerate(texts)]
    book = in_passages(Document("book", "cat cat dog bird1 bird1 fish", title="Book"), 3, 3)
    found = []
    for home in (url, str(tmp_path)):
        with semsearch.create("words", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            collection.engine.put([book])
            collection.remove([f"d{n}" for n in range(0, 60, 3)])
            for query in ("cat dog", "bird1 fish", '"dog bird2" cat', "cats"):
                hits = collection.search(query, mode="lexical", k=15)
                found.append((query, [(hit.id, pytest.approx(hit.score, rel=2e-6)) for hit in hits]))
    half = len(found) // 2
    assert found[:half] == found[half:]


def asked(monkeypatch, collection, part):
    """The bodies of the requests from now on whose path has a part."""
    dialect = collection.engine._connection.dialect
    send, bodies = dialect.send, []

    def noted(method, path, body, lines):
        if part in path:
            bodies.append(body)
        return send(method, path, body, lines)

    monkeypatch.setattr(dialect, "send", noted)
    return bodies


def test_the_first_candidates_by_words_prove_themselves_or_are_followed(url, tmp_path, monkeypatch):
    """Also where much was removed, of one word more than of others, so that the server weighs them wrongly."""
    monkeypatch.setattr(word_candidates, "LEAST_PAGE", 5)
    generator = np.random.default_rng(6)
    words = [f"word{n}" for n in range(12)]
    chances = 1 / np.arange(1, 13)
    texts = [" ".join(generator.choice(words, 6, p=chances / chances.sum())) for _ in range(240)]
    documents = [Document(str(n), text) for n, text in enumerate(texts)]
    removed = [one.id for n, one in enumerate(documents) if "word2" in one.text and n % 8]
    documents += [Document(f"wordless{n}", "?!") for n in range(len(removed) + 10)]
    queries = [" ".join(generator.choice(words, 3, replace=False)) for _ in range(25)]
    found, counts = [], []
    for home in (str(tmp_path), url):
        with semsearch.create("words", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            collection.remove(removed)
            requests = asked(monkeypatch, collection, "_msearch") if home == url else []
            for query in queries:
                before = len(requests)
                hits = collection.search(query, mode="lexical", k=3)
                counts.append(len(requests) - before)
                found.append([pytest.approx(hit.score, rel=2e-6) for hit in hits])
    assert found[: len(queries)] == found[len(queries) :]
    # one request finds them, one tells of the words that were removed; what is not proven then is asked on
    assert min(counts[len(queries) :]) <= 2 < max(counts)


def test_a_stranger_with_words_is_no_hit(server, url, cats):
    """Neither beside documents nor where there are none."""
    index = quote(cats.engine._read().index)
    server.ask("POST", f"/{index}/_doc?refresh=true", {"words": "wcat wcat wcat"})
    assert sorted(hit.id for hit in cats.search("cat", mode="lexical", k=10)) == [one.id for one in CATS]
    cats.remove([one.id for one in CATS])
    assert cats.search("cat", mode="lexical") == []


def test_texts_that_come_along_are_kept_up_to_a_number(cats, monkeypatch):
    monkeypatch.setattr(nearest_documents, "TEXTS_KEPT", 2)
    cats.reindex("hnsw")
    with cats.engine.view() as view:
        _, vectors = view.arrays()
        view.nearest.search(vectors[:1], 3, UNFILTERED, exact=False, grouped=False)
        assert len(view.nearest.sources) == 2
        assert all("p" not in source for source in view.nearest.sources.values())
    found = cats.search_many([one.text for one in CATS], k=6)
    assert [{hit.document.text for hit in hits} for hits in found] == [{one.text for one in CATS}] * 6


def test_where_nothing_was_removed_words_are_asked_about_once(cats, monkeypatch):
    cats.add([Document("wordless", "?!")])
    requests = asked(monkeypatch, cats, "_msearch")
    assert len(cats.search("number 1 2", mode="lexical", k=3)) == 3  # no document has all of these
    assert len(requests) == 1


def test_what_words_count_is_asked_again_only_where_something_changed(url, tmp_path, cats, monkeypatch):
    """Whoever changed it, and however many documents there are of it then."""
    with semsearch.create("cats", home=tmp_path, encoder=HashEncoder()) as folder, opened(url) as other:
        folder.add(CATS)
        requests = asked(monkeypatch, cats, "_msearch")

        def found(query):
            """How many words were counted, once the scores are those of the folder."""
            before = len(requests)
            here, there = (
                {hit.id: pytest.approx(hit.score, rel=2e-6) for hit in one.search(query, mode="lexical", k=9)}
                for one in (folder, cats)
            )
            assert here == there
            return sum(body.count(b'"query":{"term":{"words"') for body in requests[before:])

        assert [found(query) for query in ("cat number 1", "cat number 1", "cat number 2", "number 2")] == [3, 0, 1, 0]
        for one in (folder, other):  # as many documents, passages and words as before
            one.add([Document("c1", "dog number 1")])
        assert [found(query) for query in ("cat number 1", "number 1 cat", "cat 2")] == [3, 0, 1]
        for one in (folder, other):
            one.remove(["c3"])
        with cats.engine.view() as view:
            assert view.totals.words.documents == len(CATS) - 1  # from here on it is known what there is
            other.add([Document("short-lived", "cat cat")])
            assert len(view.lexical(parse("cat number"), 9, allowed=None, grouped=True).keys) == len(CATS)
        other.remove(["short-lived"])  # all is as it was, and what was counted meanwhile was never of this state
        assert [found(query) for query in ("cat number 1", "number 1 cat")] == [3, 0]
    monkeypatch.setattr(document_frequencies, "MOST_FREQUENCIES", 3)
    counts = document_frequencies.DocumentFrequencies()
    for number in range(6):
        counts.learn("state", {f"w{number}": number})
    assert counts.latest == ("state", {"w3": 3, "w4": 4, "w5": 5})


def test_what_is_taken_for_granted_is_asked_again_where_it_moved(url, cats, monkeypatch):
    """An index in place of another, while a search goes on in the old one."""
    with opened(url) as other:
        cats.search("cat", mode="lexical")  # knows the state from here on
        index = cats.engine._read().index
        states = asked(monkeypatch, cats, "_doc/")
        other.change_language("de")
        assert other.engine._read().index != index
        assert len(cats.search("cat", mode="lexical", k=6)) == 6
        assert [hit.id for hit in cats.search("number 3", mode="lexical", k=1)] == ["c3"]
        assert len(states) == 1  # of the first search, which began again
        other.add([Document("new", "a dog")])
        assert [hit.id for hit in cats.search("dog", mode="lexical", k=1)] == ["new"]


def test_an_index_that_is_gone_is_no_error_where_another_took_its_place(server, url, cats):
    with opened(url) as other:
        cats.search("cat", mode="lexical")
        known = cats.engine._latest
        other.change_language("de")
        server.ask("DELETE", f"/{quote(known.index)}")  # as somebody does in the end
        for mode in ("lexical", "hybrid"):
            cats.engine._latest = known
            assert len(cats.search("cat", mode=mode, k=6)) == 6


def test_words_of_a_title_alone_weigh_as_in_a_folder(url, tmp_path):
    documents = [Document("a", "on the mat", "cats"), Document("b", "cats on a mat"), Document("c", "mats", "the mat")]
    found = []
    for home in (str(tmp_path), url):
        with semsearch.create("titles", home=home, encoder=HashEncoder()) as collection:
            collection.add(documents)
            hits = collection.search("cats mat", mode="lexical", k=3)
            found.append([(hit.id, pytest.approx(hit.score, rel=2e-6)) for hit in hits])
    assert found[0] == found[1]
    assert {one for one, _ in found[0]} == {"a", "b", "c"}


def test_short_texts_come_with_the_words(cats, monkeypatch):
    """All candidates' where no vectors lie between, else those of the first."""
    cats.search("cat", mode="lexical")
    later = asked(monkeypatch, cats, "/_search")
    assert {hit.document.text for hit in cats.search("cat", mode="lexical", k=6)} == {one.text for one in CATS}
    assert len(cats.search("cat", mode="lexical", k=2)) == 2
    assert not later
    monkeypatch.setattr(word_candidates, "TEXTS_ALONG", 5)
    assert len(cats.search("cat", mode="lexical", k=6)) == 6
    assert len(later) == 1


def test_what_a_filter_leaves_is_compared_once(cats, monkeypatch):
    cats.reindex("hnsw")
    cats.search("cat", k=1, where={"n": {"$gte": 4}})  # knows the fields from here on
    requests = asked(monkeypatch, cats, "_msearch")
    few = cats.search("cat", k=5, where={"n": {"$gte": 4}})
    assert len(few) == len(cats.ids({"n": {"$gte": 4}})) < 5
    assert len([body for body in requests if b'"knn"' in body]) == 1


def test_a_walk_that_ends_too_soon_is_followed(cats, monkeypatch):
    cats.reindex("hnsw")
    searches = IndexTotals.searches

    def ended(self, bodies, **how):
        said = searches(self, bodies, **how)
        for one in said:
            del one["hits"]["hits"][2:]
        return said

    monkeypatch.setattr(IndexTotals, "searches", ended)
    assert len(cats.search("cat", k=5)) == 5
    assert len(cats.search("cat", k=2)) == 2


def test_a_load_has_two_requests_under_way_and_no_more(cats, monkeypatch):
    documents = [Document(f"many{n}", f"text {n} " * 600) for n in range(60)]
    good = cats.engine._connection.good_size
    monkeypatch.setattr(good, "bytes", 70_000)
    monkeypatch.setattr(good, "took", lambda seconds: None)
    dialect = cats.engine._connection.dialect
    send, lock, together = dialect.send, threading.Lock(), threading.Barrier(2)
    under_way, most, sent = 0, 0, 0

    def counted(method, path, body, lines):
        nonlocal under_way, most, sent
        if "_bulk" not in path:
            return send(method, path, body, lines)
        with lock:
            sent += 1
            first = sent <= 2
            under_way += 1
            most = max(most, under_way)
        if first:
            together.wait(60)
        try:
            if sent == 4:
                raise RequestTimeout("nothing came")
            return send(method, path, body, lines)
        finally:
            with lock:
                under_way -= 1

    monkeypatch.setattr(dialect, "send", counted)
    assert cats.add(documents).added == 60
    assert most == 2
    assert sent > 4
    assert len(cats) == 66
    assert cats.check(deep=True) == []


def test_a_load_that_is_refused_has_nothing_under_way_any_more(cats, monkeypatch):
    documents = [Document(f"many{n}", f"text {n} " * 20) for n in range(60)]
    monkeypatch.setattr(cats.engine._connection.good_size, "bytes", 8000)
    dialect = cats.engine._connection.dialect
    send, lock, under_way, refused = dialect.send, threading.Lock(), [], []

    def failing(method, path, body, lines):
        if "_bulk" not in path:
            return send(method, path, body, lines)
        with lock:
            under_way.append(path)
            bad = not refused and len(under_way) == 2
            if bad:
                refused.append(path)
        try:
            if bad:
                return ClusterAnswer(403, {"error": {"type": "security_exception", "reason": "no permissions"}})
            return send(method, path, body, lines)
        finally:
            with lock:
                under_way.pop()

    monkeypatch.setattr(dialect, "send", failing)
    with pytest.raises(StorageError, match="no right"):
        cats.add(documents)
    assert under_way == []
    assert cats.add(documents).unchanged + len(cats.ids()) >= 60
    assert len(cats) == 66


def test_a_vector_of_more_components_than_a_server_takes(url, server):
    most = 16_000 if server.flavour == "opensearch" else 4096
    with pytest.raises(UsageError, match="components"):
        semsearch.create("wide", home=url, encoder=None, dim=most + 1)
    assert "wide" not in semsearch.list_collections(home=url)


def test_what_is_declared(cats):
    assert cats.engine.capabilities.snapshot == "document"
    assert "_snapshot" in cats.engine.capabilities.tools
    assert json.dumps(cats.info())
    assert cluster_engine.WALK_DEPTHS[0] == nearest_documents.LEAST_DEPTH


def test_a_merge_may_take_longer_than_a_request(cats, monkeypatch):
    """Servers go on with it when nobody waits for the answer any more."""
    monkeypatch.setattr(cluster_engine, "MERGE_PAUSE", 0.1)
    cats.remove(["c1", "c2"])
    dialect = cats.engine._connection.dialect
    send = dialect.send

    def impatient(method, path, body, lines):
        answer = send(method, path, body, lines)
        if "_forcemerge" in path:
            raise RequestTimeout("Read timed out")
        return answer

    monkeypatch.setattr(dialect, "send", impatient)
    assert cats.compact().bytes_after > 0
    assert len(cats.search("cat", k=10)) == 4


def test_a_recall_is_certified_again_behind_a_merge(cats, monkeypatch):
    cats.reindex("hnsw", recall=0.9)
    before = cats.info()["index"]["contract"]
    assert before["passages"] == 6
    certified, measured = engine_recall.certified, []

    def noted(*arguments, **how):
        measured.append(certified(*arguments, **how))
        return measured[-1]

    monkeypatch.setattr(engine_recall, "certified", noted)
    cats.remove(["c1"])
    measured.clear()
    cats.compact()
    contract = cats.info()["index"]["contract"]
    assert len(measured) == 1
    assert (contract["passages"], contract["met"]) == (5, True)


def test_values_are_counted_by_the_server_as_documents_have_them(url):
    """Those of lists, of every type, long ones, under a filter: as by reading all documents."""
    long = "a" * 2000
    values = [1, 1.0, True, "1", "", "x*y", [1, 2, 2], ["1", "x"], [], None, {"b": 3}, long + "b", [long + "c"], 2**60]
    documents = [Document(str(n), "text", metadata={"a": one, "n": n % 3}) for n, one in enumerate([*values, *values])]
    with semsearch.create("counted", home=url, encoder=HashEncoder()) as collection:
        collection.add(documents)
        with collection.engine.view() as view:
            for where in (None, Compare("n", "$gte", Value("number", 1))):
                for name in ("a", "a.b", "n", "nothing"):
                    counts = Counter()
                    for document in documents:
                        if where is None or document.metadata["n"] >= 1:
                            own = {(k, v) for f, _, k, v in fields_of(document.metadata) if f == name and k in VALUED}
                            counts.update(own)
                    for most in (100, 3):
                        assert facets(view, name, where, most) == most_frequent(counts, most), (name, where)
