"""What is done with collections besides asking, as tasks, and what they found, as files."""

import json

import numpy as np
import pytest
from support.named_hash import NAME, NamedHash

import semsearch
from semsearch.server import task_results
from semsearch.server.keys import Keyring, add_key

NASTY = "<script>document.title='owned'</script>"


@pytest.fixture
def collected(serve, fill):
    """A server with three clumps of documents, of a stranger."""
    subjects = np.repeat(["whale", "oven", "pedal"], 10)
    vectors = np.repeat(np.eye(3), 10, axis=0) + np.random.default_rng(0).normal(0, 0.05, (30, 3))
    with serve() as running:
        running.ask("/v1/collections", {"name": "notes", "dim": 3}, 201)
        documents = [
            {"id": f"{subject} {at}", "text": f"{NASTY} {subject} {at}", "metadata": {"kind": str(subject)}}
            for at, subject in enumerate(subjects)
        ]
        body = {"documents": documents, "vectors": vectors.tolist()}
        running.ask("/v1/collections/notes/documents", body)
        yield running


def done(server, what, body, collection="notes"):
    task = server.finished(server.ask(f"/v1/collections/{collection}/{what}", body, 202))
    assert task["state"] == "done", task
    return task


def rows(server, task, form="ndjson"):
    answer = server.get(f"/v1/tasks/{task['id']}/result", params={"format": form})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()] if form == "ndjson" else answer.json()


def test_pairs_are_those_of_the_command(collected):
    task = done(collected, "pairs", {"limit": 7})
    assert (task["result"]["pairs"], task["formats"]) == (7, ["ndjson", "json"])
    with semsearch.open("notes", home=collected.service.home) as notes:
        expected = [(round(pair.score, 6), pair.first.id, pair.second.id) for pair in notes.pairs(limit=7)]
    assert [(row["score"], row["first"], row["second"]) for row in rows(collected, task)] == expected
    assert rows(collected, task, "json") == rows(collected, task)
    none = done(collected, "pairs", {"min_score": 2.0})
    assert (none["result"]["pairs"], rows(collected, none), rows(collected, none, "json")) == (0, [], [])
    assert done(collected, "pairs", {"limit": None})["result"]["pairs"] == 30 * 29 / 2
    collected.refused("/v1/collections/notes/pairs", {"k": 0})


def test_duplicates_are_named_and_taken_out_where_that_is_asked_for(collected):
    twin = {"id": "twin", "text": f"{NASTY} whale 0"}
    collected.ask("/v1/collections/notes/documents", {"documents": [twin], "vectors": [[1.0, 0.0, 0.0]]})
    how = {"min_score": None, "wording": False}
    task = done(collected, "duplicates", how)
    assert rows(collected, task) == [{"id": "twin", "of": "whale 0", "reason": "text", "score": 1.0}]
    assert (task["result"]["duplicates"], task["result"]["text"], task["result"]["documents"]) == (1, 1, 31)
    failed = collected.finished(
        collected.ask("/v1/collections/notes/duplicates", how | {"remove": True, "most": 0.0}, 202)
    )
    assert (failed["state"], failed["formats"]) == ("failed", [])
    assert "nothing was taken out" in failed["error"]["message"]
    assert done(collected, "duplicates", how | {"remove": True})["result"]["removed"] == 1
    assert collected.ask("/v1/collections/notes/count", {})["documents"] == 30


def test_clusters_label_documents(collected):
    task = done(collected, "clusters", {"method": "communities", "min_score": 0.8, "min_size": 2, "label_as": "topic"})
    assert (task["result"]["clusters"], task["result"]["in_none"]) == (3, 0)
    found = {row["id"]: row["cluster"] for row in rows(collected, task)}
    assert len({found[one] for one in found if one.startswith("oven")}) == 1
    whole = rows(collected, task, "json")
    assert [one["size"] for one in whole] == [10, 10, 10]
    assert set(whole[0]["members"]) == {one for one, cluster in found.items() if cluster == 0}
    assert collected.ask("/v1/collections/notes/count", {"where": "topic = 1"})["documents"] == 10
    new = {"id": "new", "text": "a whale"}
    collected.ask("/v1/collections/notes/documents", {"documents": [new], "vectors": [[1.0, 0.01, 0.0]]})
    given = done(collected, "clusters", {"assign": True, "label_as": "topic"})
    assert rows(collected, given) == [{"id": "new", "label": found["whale 0"]}]
    ignored = {"assign": True, "label_as": "topic", "seed": 1}
    assert "leave out 'seed'" in str(collected.refused("/v1/collections/notes/clusters", ignored))
    for what in ("clusters", "topics"):
        assert "with a name" in str(collected.refused(f"/v1/collections/notes/{what}", {"label_as": ""}))
    for wrong in ({"assign": True}, {"method": "kmeans"}, {"method": "kmeans", "count": 2, "min_score": 0.5}):
        collected.refused("/v1/collections/notes/clusters", wrong)


def test_topics_and_the_map_are_pages_that_are_saved_and_not_run(collected):
    how = {"method": "communities", "min_score": 0.8, "min_size": 2}
    for what in ("topics", "map"):
        task = done(collected, what, how)
        assert (task["formats"], task["result"]["topics"]) == (["ndjson", "json", "html"], 3)
        answer = collected.get(f"/v1/tasks/{task['id']}/result", params={"format": "html"})
        assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''notes-{what}.html"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert NASTY not in answer.text
        found = rows(collected, task)
        assert len(found) == 30
        assert {row["topic"] for row in found} == {0, 1, 2}
        whole = rows(collected, task, "json")
        assert whole == found if what == "map" else [one["size"] for one in whole] == [10, 10, 10]
    assert all(0 <= row["x"] <= 1 and 0 <= row["y"] <= 1 for row in found)


def test_texts_are_labelled(server):
    body = {"texts": ["a cat sleeps", "nothing at all"], "field": "kind"}
    wrong = server.ask("/v1/collections/animals/classify", {**body, "field": "nothing"}, 202)
    assert "label" in server.finished(wrong)["error"]["message"]
    server.ask("/v1/collections/animals/documents", {"ids": ["a/bird"], "metadata": {"kind": "wild"}}, method="PATCH")
    task = done(server, "classify", body, "animals")
    assert task["result"]["texts"] == 2
    with semsearch.open("animals", home=server.service.home, encoder=NamedHash(NAME)) as animals:
        expected = animals.classify(body["texts"], "kind")
    told = [(row["label"], row["best"], row["nearest"]) for row in rows(server, task)]
    assert told == [(one.label, one.best, expected.labelled[one.nearest]) for one in expected]


def test_translations_are_paired(server, fill):
    fill(server, "others")
    task = done(server, "bitext", {"between": "others"}, "animals")
    assert [(row["first"], row["second"]) for row in sorted(rows(server, task), key=lambda row: row["first"])] == [
        (one, one) for one in ("a/bird", "cat", "dog")
    ]
    assert (
        server.refused("/v1/collections/animals/bitext", {"between": "nowhere"}, 404)["code"] == "collection_not_found"
    )


def test_check_repair_and_backup(collected, tmp_path):
    assert done(collected, "check", {"deep": True})["result"] == {"problems": []}
    assert done(collected, "repair", {})["result"] == {"done": []}
    task = done(collected, "backup", {})
    answer = collected.get(f"/v1/tasks/{task['id']}/result")
    assert len(answer.content) == task["result"]["bytes"]
    file = tmp_path / "notes.backup"
    file.write_bytes(answer.content)
    assert semsearch.restore(file, home=tmp_path / "restored") == "notes"
    with semsearch.open("notes", home=tmp_path / "restored") as notes:
        assert len(notes) == 30


def test_results_go_with_what_they_are_of(collected, monkeypatch):
    task = done(collected, "pairs", {})
    collected.refused(f"/v1/tasks/{task['id']}/result?format=html", status=404)
    assert collected.refused(f"/v1/tasks/{task['id']}/result?format=..%2Fx", status=404)["code"] == "result_not_found"
    assert collected.ask(f"/v1/tasks/{task['id']}/result", method="DELETE")["formats"] == []
    assert "not any more" in collected.refused(f"/v1/tasks/{task['id']}/result", status=404)["message"]
    for end in (
        lambda: done(collected, "compact", {}),
        lambda: collected.ask("/v1/collections/notes", method="DELETE"),
    ):
        task = done(collected, "pairs", {})
        end()
        assert collected.ask(f"/v1/tasks/{task['id']}")["formats"] == []


def test_the_oldest_results_go_where_all_take_too_much(collected, monkeypatch):
    first = done(collected, "pairs", {})
    monkeypatch.setattr(task_results, "MOST_RESULT_BYTES", 100)
    second, third = done(collected, "pairs", {}), done(collected, "pairs", {})
    formats = [collected.ask(f"/v1/tasks/{task['id']}")["formats"] for task in (first, second, third)]
    assert formats == [[], [], ["ndjson", "json"]] or formats == [[], ["ndjson", "json"], ["ndjson", "json"]]


def test_keys_are_for_all_collections_of_a_task(serve, fill, tmp_path):
    file = tmp_path / "keys"
    keys = {
        name: add_key(file, name, role, collections)
        for name, role, collections in (
            ("admin", "admin", ()),
            ("one", "write", ("animals",)),
            ("reader", "read", ()),
            ("other", "read", ("animals",)),
        )
    }
    with serve(keyring=Keyring.read(file)) as server:
        server.client.headers["Authorization"] = f"Bearer {keys['admin']}"
        fill(server)
        fill(server, "others")
        task = done(server, "pairs", {"between": "others", "min_score": 0.0}, "animals")
        kept = done(server, "backup", {}, "animals")
        server.client.headers["Authorization"] = f"Bearer {keys['one']}"
        assert server.refused("/v1/collections/animals/pairs", {"between": "others"}, 403)["code"] == "not_allowed"
        server.refused(f"/v1/tasks/{task['id']}", status=404)
        for method in ("GET", "DELETE"):
            server.refused(f"/v1/tasks/{kept['id']}/result", status=403, method=method)
        for what in ("check", "repair", "backup"):
            server.refused(f"/v1/collections/animals/{what}", {}, 403)
        server.client.headers["Authorization"] = f"Bearer {keys['reader']}"
        assert len(rows(server, task)) == task["result"]["pairs"]
        server.refused("/v1/collections/animals/topics", {}, 403)
        server.client.headers["Authorization"] = f"Bearer {keys['other']}"
        server.refused(f"/v1/tasks/{task['id']}/result", status=404)
