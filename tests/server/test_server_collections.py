"""Collections over HTTP: what a server makes, lists, describes and drops."""

from support.named_hash import NAME

import semsearch
from semsearch.testing.encoder import HashEncoder


def test_a_collection_is_made_listed_described_and_dropped(server):
    info = server.ask("/v1/collections/animals")
    assert (info["documents"], info["dim"], info["metric"], info["encoder"]["name"]) == (3, 16, "cosine", "hash")
    server.ask("/v1/collections/animals", {"description": "three of them"}, method="PATCH")
    listed = server.ask("/v1/collections")["collections"]
    assert listed == [{"name": "animals", "description": "three of them", "documents": 3, "sparse": False}]
    assert server.ask("/v1/collections/animals", method="DELETE") == {"schema": 1, "collection": "animals"}
    assert server.ask("/v1/collections")["collections"] == []
    assert server.refused("/v1/collections/animals", status=404)["code"] == "collection_not_found"


def test_names_of_every_script(server):
    for name in ("Übersicht", "книги", "笔记"):
        made = server.ask("/v1/collections", {"name": name, "description": "d"}, 201)
        assert (made["name"], made["description"]) == (name, "d")
        assert server.ask(f"/v1/collections/{name}")["name"] == name


def test_what_can_not_be_made(server):
    assert server.refused("/v1/collections", {"name": "animals"}, 409)["code"] == "collection_exists"
    assert server.refused("/v1/collections", {"name": "../x"})["code"] == "invalid_request"
    assert server.refused("/v1/collections", {"name": "x", "metric": "far"})["param"] == "metric"
    assert server.refused("/v1/collections", {"name": "x", "dim": 0})["param"] == "dim"
    assert server.refused("/v1/collections", {"name": "x", "colour": "red"})["code"] == "unknown_parameter"
    assert server.refused("/v1/collections", {})["code"] == "missing_parameter"
    refused = server.refused("/v1/collections", {"name": "x", "encoder": "/etc/passwd"}, 403)
    assert refused["code"] == "model_not_served"
    assert server.ask("/v1/collections")["collections"][0]["name"] == "animals"


def test_a_collection_of_given_vectors(server):
    server.ask("/v1/collections", {"name": "given", "dim": 2, "metric": "dot"}, 201)
    documents = [{"id": "x", "text": "to the east"}, {"id": "y", "text": "to the north"}]
    put = {"documents": documents, "vectors": [[2, 0], [0, 3.5]]}
    assert server.ask("/v1/collections/given/documents", put)["added"] == 2
    found = server.ask("/v1/collections/given/search", {"vector": [0, 1], "k": 1})
    assert (found["query"], [hit["id"] for hit in found["hits"]], found["hits"][0]["score"]) == (None, ["y"], 3.5)
    wrong = server.refused("/v1/collections/given/documents", {**put, "vectors": [[1], [2]]}, 422)
    assert wrong["code"] == "dimension_mismatch"
    assert server.refused("/v1/collections/given/search", {"query": "east"})["code"] == "invalid_request"


def test_a_collection_made_with_a_programs_own_encoder_is_searched_by_vectors(serve, tmp_path):
    home = str(tmp_path / "served")
    with semsearch.create("own", home=home, encoder=HashEncoder()) as collection:
        collection.add([semsearch.Document("cat", "the cat sleeps")])
    vector = HashEncoder().encode_queries(["cat"])[0].tolist()
    with serve(home) as server:
        assert server.ask("/v1/collections/own/search", {"vector": vector})["hits"][0]["id"] == "cat"
        assert server.ask("/v1/collections/own/search", {"query": "cat", "mode": "lexical"})["hits"][0]["id"] == "cat"
        assert server.refused("/v1/collections/own/search", {"query": "cat"}, 409)["code"] == "model_mismatch"
        assert (
            server.refused("/v1/collections/own/documents", {"documents": [{"id": "x", "text": "y"}]}, 409)["code"]
            == "model_mismatch"
        )


def test_one_that_was_dropped_and_made_anew_elsewhere_is_opened_again(server, tmp_path, models):
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 3
    home = str(tmp_path / "served")
    semsearch.drop("animals", home=home)
    assert server.refused("/v1/collections/animals/count", {}, 404)["code"] == "collection_not_found"
    with semsearch.create("animals", home=home, encoder="hash") as collection:
        collection.add([semsearch.Document("fish", "fish swim")])
    assert server.ask("/v1/collections/animals/search", {"query": "fish"})["hits"][0]["id"] == "fish"
    semsearch.drop("animals", home=home)
    with semsearch.create("animals", home=home, encoder="hash") as collection:
        collection.add([semsearch.Document("cow", "cows give milk")])
    put = {"documents": [{"id": "ox", "text": "an ox"}]}
    first = server.post("/v1/collections/animals/documents", json=put)
    assert first.status_code in (200, 404)  # nothing was written into what is another collection, or it was noticed
    assert server.ask("/v1/collections/animals/documents", put)["added"] in (0, 1)
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 2


def test_a_damaged_collection_hides_no_other(server, tmp_path):
    server.ask("/v1/collections", {"name": "broken"}, 201)
    server.service.collections.forget("broken")
    (tmp_path / "served" / "broken" / "collection.sqlite").write_bytes(b"rubbish" * 1000)
    broken, other = sorted(server.ask("/v1/collections")["collections"], key=lambda one: one["name"], reverse=True)
    assert (other["documents"], broken["documents"]) == (3, None)
    assert "damaged" in broken["error"]
    assert str(tmp_path) not in broken["error"]
    for _ in range(2):  # the second is asked as the first was
        found = server.ask("/v1/search", {"query": "the cat sleeps on the warm sofa", "k": 1})
        assert found["hits"][0]["id"] == "cat"
        (note,) = (note for note in found["notes"] if note.startswith("broken is left out: "))
        assert "damaged" in note
        assert str(tmp_path) not in note
    named = {"query": "x", "collections": ["animals", "broken"]}
    assert server.refused("/v1/search", named, 500)["code"] == "collection_damaged"
    error = server.refused("/v1/collections/broken", status=500)
    assert error["code"] == "collection_damaged"
    assert str(tmp_path) not in error["message"]


def test_fields_and_what_the_server_has(server):
    fields = {one["name"]: one["types"] for one in server.ask("/v1/collections/animals/fields")["fields"]}
    assert fields == {"kind": ["text"], "legs": ["number"], "tags": ["list"]}
    about = server.ask("/v1/server")
    assert (about["encoders"], about["rerankers"], about["folders"], about["role"]) == (
        ["hash", "other"],
        [],
        [],
        "admin",
    )


def test_no_more_are_open_than_are_needed(serve, fill):
    with serve() as server:
        server.service.collections._most = 2
        for name in ("a", "b", "c", "d"):
            fill(server, name)
        assert len(server.service.collections) <= 2
        assert [server.ask(f"/v1/collections/{name}/count", {})["documents"] for name in "abcd"] == [3, 3, 3, 3]
        assert len(server.service.collections) <= 2


def test_a_model_of_the_server_may_be_named_with_its_owner(server):
    """As a client does, which knows it by its whole name."""
    made = {"name": "owned", "encoder": f"sentence-transformers/{NAME}"}
    assert server.ask("/v1/collections", made, 201)["name"] == "owned"
    server.ask("/v1/collections/owned/documents", {"documents": [{"id": "x", "text": "a cat"}]})
    assert server.ask("/v1/collections/owned/search", {"query": "cat"})["hits"][0]["id"] == "x"


def test_more_than_there_are_may_be_asked_for_from_afar(server):
    with semsearch.open("animals", home=server.url) as animals:
        for mode in ("dense", "lexical", "hybrid"):
            found = animals.search("cat", k=10**9, mode=mode)
            assert [hit.id for hit in found] == [hit.id for hit in animals.search("cat", k=3, mode=mode)], mode
