"""Searches over HTTP answer what the collection in Python answers, with every option."""

import json

import pytest
from support.named_hash import NamedHash, until

import semsearch
from semsearch import wire
from semsearch.search.request import OPTIONS
from semsearch.search.where_mapping import parse
from semsearch.server.facets import facets
from semsearch.server.search_routes import HowToSearch
from semsearch.testing.memory import MemoryHome

SEARCH = "/v1/collections/animals/search"


@pytest.fixture
def direct(server):
    """The same collection, without the server."""
    with semsearch.open("animals", home=server.service.home) as collection:
        yield collection


def hits(found):
    """As clients get them."""
    return json.loads(wire.dumps([wire.hit(hit) for hit in found]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 1},
        {"where": "legs = 4"},
        {"where": {"tags": {"$contains": "sky"}}},
        {"mode": "lexical"},
        {"mode": "hybrid", "dense_weight": 0.3},
        {"exact": True, "group_by": None},
        {"mmr_lambda": 0.5, "candidates": 3},
        {"context": 1},
        {"min_score": 0.1},
        {"explain": True},
    ],
    ids=str,
)
def test_every_option_is_that_of_python(server, direct, options):
    body = {"query": "the cat in the park", **options}
    found = server.ask(SEARCH, body)
    expected = direct.search("the cat in the park", **options)
    assert found["hits"] == hits(expected)
    assert found["notes"] == list(expected.notes)
    assert set(found["timings_ms"]) >= {"encode", "search"}


def test_no_option_of_python_is_left_out():
    assert set(HowToSearch.model_fields) == {"k", *OPTIONS}


def test_several_questions_and_vectors(server, direct, models):
    queries = ["the cat", "a bird", "the dog"]
    answers = server.ask(SEARCH, {"queries": queries, "k": 2})["answers"]
    assert [answer["hits"] for answer in answers] == [hits(found) for found in direct.search_many(queries, 2)]
    assert [answer["query"] for answer in answers] == queries
    vectors = models["hash"].encode_queries(queries)
    answers = server.ask(SEARCH, {"vectors": vectors.tolist(), "k": 2})["answers"]
    assert [answer["hits"] for answer in answers] == [hits(found) for found in direct.search_many(queries, 2)]
    found = server.ask(SEARCH, {"query": "the bird", "vector": vectors[1].tolist(), "mode": "hybrid"})
    assert found["hits"] == hits(direct.search("the bird", vector=vectors[1], mode="hybrid"))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "invalid_request", "query"),
        ({"query": ""}, "invalid_request", None),
        ({"query": "x", "queries": ["y"]}, "invalid_request", "queries"),
        ({"query": "x", "limit": 3}, "unknown_parameter", "limit"),
        ({"query": "x", "k": 0}, "invalid_parameter", "k"),
        ({"query": "x", "k": 10**9}, "invalid_parameter", "k"),
        ({"query": "x", "k": "3"}, "invalid_parameter", "k"),
        ({"query": "x", "mode": "magic"}, "invalid_parameter", "mode"),
        ({"query": "x", "mmr_lambda": 2}, "invalid_parameter", "mmr_lambda"),
        ({"query": "x", "dense_weight": 0.5}, "invalid_request", None),
        ({"query": "x", "where": "legs >"}, "invalid_filter", "where"),
        ({"query": "x", "where": {"nofield": 1}}, "invalid_filter", "where"),
        ({"vector": [1.0]}, "dimension_mismatch", None),
        ({"vector": []}, "dimension_mismatch", None),
        ({"vector": ["a"]}, "invalid_parameter", "vector.0"),
        ({"queries": ["x"] * 10_001}, "invalid_parameter", "queries"),
        ({"query": "x", "rerank": True}, "model_not_served", "rerank"),
        ({"query": "x", "rerank": "/etc"}, "model_not_served", "rerank"),
        ({"vector": [0.0] * 16, "mode": "lexical"}, "invalid_request", None),
    ],
    ids=str,
)
def test_what_can_not_be_asked_is_said(server, body, code, param):
    answer = server.post(SEARCH, json=body)
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert answer.status_code in (400, 403, 422)


def test_several_collections_give_one_order(server, fill):
    fill(server, "more")
    found = server.ask("/v1/search", {"query": "the cat sleeps", "k": 4})
    assert [(hit["collection"], hit["id"]) for hit in found["hits"][:2]] == [("animals", "cat"), ("more", "cat")]
    one = server.ask("/v1/search", {"query": "the cat sleeps", "collections": ["more"], "k": 1})
    assert [hit["collection"] for hit in one["hits"]] == ["more"]
    assert server.refused("/v1/search", {"query": "x", "collections": ["more", "more"]})["param"] == "collections"
    assert server.refused("/v1/search", {"query": "x", "collections": []})["param"] == "collections"
    assert server.refused("/v1/search", {"query": "x", "collections": ["nobody"]}, 404)
    assert server.refused("/v1/search", {"vector": [0.0] * 16})["code"] == "invalid_request"
    assert server.refused("/v1/search", {})["param"] == "query"
    assert server.ask("/v1/search", {"queries": []})["answers"] == []
    assert server.refused("/v1/search", {"query": "x", "mode": "lexical"})["code"] == "invalid_request"


def test_matches_are_where_the_words_are(server):
    (hit,) = server.ask(SEARCH, {"query": "sleeping cats", "mode": "lexical", "k": 1, "matches": True})["hits"]
    assert [hit["text"][start - hit["start"] : end - hit["start"]] for start, end in hit["matches"]["text"]] == [
        "cat",
        "sleeps",
    ]


def test_the_like_of_documents(server, direct):
    found = server.ask("/v1/collections/animals/similar", {"ids": ["cat"], "k": 1, "unlike": ["dog"]})
    assert found["hits"] == hits(direct.similar(["cat"], 1, unlike=["dog"]))
    by_text = server.ask("/v1/collections/animals/similar", {"queries": ["a bird"], "against": ["a cat"], "k": 1})
    assert by_text["hits"][0]["id"] == "a/bird"
    assert server.refused("/v1/collections/animals/similar", {"ids": ["nobody"]}, 404)["code"] == "document_not_found"
    assert server.refused("/v1/collections/animals/similar", {})["code"] == "invalid_request"


def test_counts_by_field_under_a_filter(server):
    path = "/v1/collections/animals/facets"
    assert server.ask(path, {"fields": ["legs", "tags", "nothing"]})["facets"] == {
        "legs": [{"value": 4, "documents": 2}, {"value": 2, "documents": 1}],
        "tags": [{"value": "sky", "documents": 1}, {"value": "song", "documents": 1}],
        "nothing": [],
    }
    assert server.ask(path, {"fields": ["legs"], "where": 'kind = "pet"'})["facets"]["legs"] == [
        {"value": 4, "documents": 2}
    ]
    assert server.ask(path, {"fields": ["legs"], "limit": 1})["facets"]["legs"] == [{"value": 4, "documents": 2}]
    assert server.refused(path, {"fields": []})["param"] == "fields"
    assert server.ask("/v1/collections/animals/count", {"where": "legs < 4"})["documents"] == 1


def test_counts_are_the_same_whoever_counts(tmp_path):
    """An engine that counts by itself, and one whose documents are read for it."""
    documents = [
        semsearch.Document(f"d{n}", f"text {n}", metadata=metadata)
        for n, metadata in enumerate(
            [
                {"a": 1, "b": ["x", "x", "y"], "c": True},
                {"a": 1.0, "b": "x", "c": False, "deep": {"er": "é"}},
                {"a": True, "b": [1, "1", None], "deep": {"er": "e\u0301"}},
                {"a": "1", "b": [], "c": None, "day": "2024-05-01"},
            ]
        )
    ]
    counted = []
    for home in (str(tmp_path), MemoryHome()):
        with semsearch.create("counted", home=home, encoder=NamedHash()) as collection:
            collection.add(documents)
            with collection.engine.view() as view:
                where = parse("c = true or day exists", view.fields())
                counted.append(
                    [
                        facets(view, name, only, 10)
                        for name in ("a", "b", "c", "day", "deep.er")
                        for only in (None, where)
                    ]
                )
        semsearch.drop("counted", home=home)
    assert counted[0] == counted[1]
    assert counted[0][2] == [("x", 2), (1, 1), ("1", 1), ("y", 1)]
    assert counted[0][8] == [("é", 2)]


def test_where_a_hit_stands_is_told_whole_only_to_the_owner(server, tmp_path):
    from semsearch.server.keys import Grant

    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text("the zebra grazes")
    with semsearch.open("animals", home=server.service.home) as collection:
        collection.add_from(folder)
    (hit,) = server.ask(SEARCH, {"query": "zebra", "k": 1})["hits"]
    assert hit["place"]["path"] == str(folder / "a.txt")
    assert server.service.shown_path(hit["place"]["path"], Grant("me", "read")) == hit["place"]["path"]
    server.service.keyring = object()
    assert server.service.shown_path(hit["place"]["path"], Grant("me", "read")) == "a.txt"
    assert server.service.shown_path(hit["place"]["path"], Grant("me", "admin")) == hit["place"]["path"]


# -------------------------------------------------------------------------------------------------------------- batches


def ask_together(server, bodies, ask=None):
    """The answers to requests that are sent while the model is held up by the first."""
    from concurrent.futures import ThreadPoolExecutor

    model = server.service.collections.open_now()[0]._model.get()
    model.batches.clear()
    while model.begun.acquire(blocking=False):
        pass
    model.may_go.clear()
    ask = ask or server.ask
    with ThreadPoolExecutor(len(bodies)) as pool:
        first = pool.submit(ask, SEARCH, bodies[0])
        assert model.begun.acquire(timeout=30)
        rest = [pool.submit(ask, SEARCH, body) for body in bodies[1:]]
        yield model, rest
        model.may_go.set()
        yield [first.result(30), *(one.result(30) for one in rest)]


def test_questions_of_different_clients_are_encoded_and_searched_together(server, direct):
    questions = ["first", *(f"the cat {i}" for i in range(20))]
    going = ask_together(server, [{"query": question} for question in questions])
    model, _ = next(going)
    until(lambda: sum(len(waiting) for waiting in server.service.searches._waiting.values()) == 20)
    answers = next(going)
    assert [sorted(batch) for batch in model.batches] == [["first"], sorted(questions[1:])]
    for question, answer in zip(questions, answers, strict=True):
        assert answer["hits"] == hits(direct.search(question)), "each gets its own"


def test_searches_that_differ_in_their_options_are_encoded_together_too(server, direct):
    bodies = [{"query": "first"}, *({"query": f"the cat {k}", "k": k} for k in (1, 2, 3))]
    going = ask_together(server, bodies)
    model, _ = next(going)
    until(lambda: len(server.service.queues.of(model, "query")._jobs) == 4)
    answers = next(going)
    assert [sorted(batch) for batch in model.batches] == [["first"], ["the cat 1", "the cat 2", "the cat 3"]]
    assert [len(answer["hits"]) for answer in answers] == [3, 1, 2, 3]


def test_one_that_can_not_be_answered_fails_alone(server):
    asked = ["first", "the cat", "x" * 1_000_001, "the dog"]

    def ask(path, body):
        return server.post(path, json=body).json()

    going = ask_together(server, [{"query": query} for query in asked], ask)
    next(going)
    until(lambda: sum(map(len, server.service.searches._waiting.values())) == 3)
    _, cat, refused, dog = next(going)
    assert "characters" in refused["error"]["message"]
    assert [answer["hits"][0]["id"] for answer in (cat, dog)] == ["cat", "dog"]


def test_who_hung_up_is_left_out(server):
    import socket

    model = server.service.collections.open_now()[0]._model.get()
    server.ask(SEARCH, {"query": "warm"})
    while model.begun.acquire(blocking=False):
        pass
    model.batches.clear()
    model.may_go.clear()

    def asked(query):
        client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
        body = json.dumps({"query": query}).encode()
        client.sendall(
            f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return client

    first = asked("first")
    assert model.begun.acquire(timeout=30)
    second = asked("second")
    until(lambda: sum(map(len, server.service.searches._waiting.values())) == 1)
    second.close()
    until(lambda: any(note.get("hung_up") for note in server.noted))
    model.may_go.set()
    with first:
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.ask(SEARCH, {"query": "third"})["query"] == "third"
    assert [batch for batch in model.batches if "second" in batch] == []


def test_too_many_at_once_are_told_to_come_again(serve, fill):
    with serve(max_waiting=2) as server:
        fill(server)
        server.service.instruments.batch(1, 1)
        going = ask_together(server, [{"query": "first"}, {"query": "second", "k": 1}])
        next(going)
        until(lambda: server.service._waiting == 2)
        answer = server.post(SEARCH, json={"query": "third", "k": 2})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")
        assert int(answer.headers["retry-after"]) >= 1
        assert server.get("/livez").status_code == 200
        assert server.get("/readyz").status_code == 200
        assert [len(answer["hits"]) for answer in next(going)] == [3, 1]
