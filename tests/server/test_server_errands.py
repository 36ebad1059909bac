"""Long work that is asked of a server as of an engine: what asks back, who is gone, and what a key is for."""

import threading
from contextlib import ExitStack

import numpy as np
import pytest
from support.named_hash import until

import semsearch
from semsearch.engine import Indexed, Maintained
from semsearch.errors import CollectionLocked, DataError, UsageError
from semsearch.remote.home import RemoteHome
from semsearch.server.errand_routes import ERRANDS
from semsearch.server.errands import Errand
from semsearch.server.keys import KeysFile, add_key
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document


@pytest.fixture
def animals(server):
    """The collection of the server, as it is opened elsewhere."""
    with semsearch.open("animals", home=RemoteHome(server.url)) as collection:
        yield collection


def errand(server, what, **facts):
    """Begin one, and its path."""
    begun = server.ask(f"/v1/engine/animals/errands/{what}", facts)
    return f"/v1/engine/animals/errand/{begun['errand']}"


def test_the_index_of_a_server_is_set_to_a_recall_from_elsewhere(server, animals):
    vectors = np.random.default_rng(1).standard_normal((600, 16)).astype(np.float32)
    animals.add([Document(str(i), f"text {i}") for i in range(600)], vectors=vectors)
    certificate = animals.reindex("hnsw", recall=0.9)
    assert certificate.met
    assert certificate.source == "synthetic"
    assert certificate.curve[0].recall >= 0.9
    info = animals.info()["index"]
    assert (info["backend"], info["wanted"]["recall"], info["rows"]) == ("hnsw", 0.9, 603)
    assert server.ask("/v1/collections/animals")["index"]["backend"] == "hnsw"
    assert animals.tune(0.5, queries=["the cat", "a bird"]).source == "queries"
    assert animals.engine.kept_queries() == ["the cat", "a bird"]


def test_a_backup_from_elsewhere_is_restored_here(animals, tmp_path):
    size = animals.backup(tmp_path / "animals.backup")
    assert size == (tmp_path / "animals.backup").stat().st_size
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    assert semsearch.restore(tmp_path / "animals.backup", home=tmp_path / "here") == "animals"
    with semsearch.open("animals", home=tmp_path / "here", encoder=HashEncoder()) as restored:
        assert sorted(document.id for document in restored) == ["a/bird", "cat", "dog"]
    with pytest.raises(UsageError, match="no folder"):
        animals.backup(tmp_path / "nowhere" / "animals.backup")


def test_a_servers_model_is_changed_there(server, animals, models):
    assert animals.reencode("other") == 3
    assert animals.info()["dim"] == 8
    assert server.ask("/v1/collections/animals/search", {"query": "the cat", "k": 1})["hits"][0]["id"] == "cat"
    with pytest.raises(UsageError, match="no encoder 'stranger'"):
        animals.reencode("stranger")
    target = {"encoder": {"name": "hash", "fingerprint": "another"}, "metric": "cosine", "splitting": "x"}
    path = errand(server, "reencode", target=target, dim=16)
    assert server.refused(path, {}, 409)["code"] == "model_mismatch"


def test_vectors_that_a_client_makes_are_looked_at(server):
    target = {"encoder": {"name": None, "fingerprint": "own"}, "metric": "cosine", "splitting": "x"}
    path = errand(server, "reencode", target=target, dim=8)
    news = server.ask(path, {})
    documents = news["question"]["encode"]
    assert len(documents) == 3
    answer = server.post(path, json={"number": news["number"], "answer": []})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_data")
    assert server.refused(path, {}, 422)["code"] == "invalid_data", "told again to who lost it"


def test_other_writers_wait_while_they_are_held_off(server, animals):
    order = []
    with semsearch.open("animals", home=RemoteHome(server.url)) as other:

        def write():
            other.add([Document("late", "late")])
            order.append("other")

        with animals.engine.hold():
            thread = threading.Thread(target=write)
            thread.start()
            with animals.engine.hold():
                assert animals.remove(["cat"]) == 1
            assert animals.engine.update_metadata(["dog"], lambda old: {**old, "n": 1}) == 1
            with pytest.raises(UsageError, match="fixed"):
                animals.engine.set("metric", "l2")
            order.append("held")
        thread.join(60)
    assert order == ["held", "other"]
    assert sorted(document.id for document in animals) == ["a/bird", "dog", "late"]


def test_who_is_silent_holds_nobody_off(server, animals, monkeypatch):
    monkeypatch.setattr("semsearch.remote.long_work.SIGN_OF_LIFE_SECONDS", 600.0)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(CollectionLocked, match="gone"))
        stack.enter_context(animals.engine.hold())
        (held,) = server.service.errands._errands.values()
        held._silent = -1.0
        until(lambda: not server.service.errands.unfinished)
        server.ask("/v1/collections/animals/documents", {"documents": [{"id": "x", "text": "y"}]})
        animals.remove(["cat"])
    assert len(animals) == 4


def test_an_errand_whose_client_is_gone_ends():
    errand = Errand("animals", silent_seconds=-1.0)
    with pytest.raises(CollectionLocked, match="gone"):
        errand.ask(encode=[])


def test_an_errand_is_for_a_key_of_its_role(serve, fill, tmp_path):
    file = tmp_path / "keys.jsonl"
    keys = {role: add_key(file, role, role) for role in ("read", "write", "admin")}
    with serve(keyring=KeysFile(file)) as server:
        server.client.headers["X-API-Key"] = keys["admin"]
        fill(server)
        for what, kind in ERRANDS.items():
            for role in ("read", "write"):
                allowed = kind.role == "read" or kind.role == role
                if not allowed:
                    headers = {"X-API-Key": keys[role]}
                    server.refused(f"/v1/engine/animals/errands/{what}", {}, 403, headers=headers)
        assert server.get("/v1/engine/animals/backup", headers={"X-API-Key": keys["write"]}).status_code == 403
        server.refused("/v1/engine/animals/errands/nothing", {}, 404)
        server.refused("/v1/engine/animals/errand/00", {}, 404)
        server.refused("/v1/engine/nowhere/errands/check", {"deep": False}, 404)
        path = errand(server, "check", deep=False)
        assert server.ask(path, {})["done"] == []
        server.refused(path.replace("animals", "others"), {}, 404)
        path = errand(server, "tune", spec=1)
        server.refused(path, {})


def test_an_engine_without_an_index_is_said_to_have_none(server, monkeypatch):
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    server.service.home = server.service.collections.home = MemoryHome()
    server.ask("/v1/collections", {"name": "kept"}, 201)
    with semsearch.open("kept", home=RemoteHome(server.url)) as collection:
        assert not isinstance(collection.engine, Indexed)
        assert not isinstance(collection.engine, Maintained)
        with pytest.raises(UsageError, match="exact"):
            collection.reindex("hnsw")


def test_what_is_no_certificate_is_refused():
    from semsearch.engine_wire import read_certificate

    with pytest.raises(DataError, match="certificate"):
        read_certificate({"target": 1})
