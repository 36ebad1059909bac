"""Long work of a server: begun, followed, cancelled, and known for what it is after a restart."""

import json
import threading

import pytest
from support.named_hash import until

import semsearch
from semsearch.server import tasks as book
from semsearch.server.failures import Refusal
from semsearch.server.service import _tasks_folder


@pytest.fixture
def folder(tmp_path):
    papers = tmp_path / "papers"
    (papers / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (papers / f"{name}.txt").write_text(f"text of {name[-1]}")
    return papers


@pytest.fixture
def indexing(serve, folder, fill):
    with serve(folders={"papers": folder}) as server:
        fill(server)
        yield server


def test_a_folder_of_the_server_is_indexed_and_kept_in_step(indexing, folder):
    server = indexing
    answer = server.post("/v1/collections/animals/index", json={"folder": "papers"})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/tasks/{answer.json()['id']}")
    done = server.finished(answer.json())
    assert (done["state"], done["kind"], done["result"]["added"]) == ("done", "index", 3)
    assert done["created"] <= done["started"] <= done["finished"]
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 6
    (folder / "a.txt").unlink()
    (folder / "d.txt").write_text("text of d")
    synced = server.finished(server.ask("/v1/collections/animals/sync", {"most": 1.0}, 202))
    assert (synced["result"]["added"], synced["result"]["removed"]) == (1, 1)
    assert [task["kind"] for task in server.ask("/v1/tasks")["tasks"]] == ["sync", "index"]


def test_a_part_of_a_folder(indexing):
    done = indexing.finished(indexing.ask("/v1/collections/animals/index", {"folder": "papers", "path": "sub"}, 202))
    assert done["result"]["added"] == 1


@pytest.mark.parametrize(
    "path", ["..", "../..", "/etc", "sub/../../x", "link/secret.txt", "nowhere", "a\0b", "loop/loop"], ids=repr
)
def test_nothing_out_of_the_folder_is_read(indexing, folder, tmp_path, path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "secret.txt").write_text("a secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder / "loop")
    error = indexing.refused("/v1/collections/animals/index", {"folder": "papers", "path": path})
    assert error["code"] == "invalid_request"
    assert str(tmp_path) not in error["message"]


def test_links_out_of_a_folder_are_not_followed(indexing, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    done = indexing.finished(indexing.ask("/v1/collections/animals/index", {"folder": "papers"}, 202))
    assert (done["result"]["added"], done["result"]["outside"]) == (3, 1)


def test_only_folders_that_were_named_are_read(indexing, server_elsewhere):
    assert indexing.refused("/v1/collections/animals/index", {"folder": "/etc"})["code"] == "invalid_request"
    assert indexing.refused("/v1/collections/animals/index", {"folder": "other"})["code"] == "invalid_request"
    with semsearch.open("animals", home=indexing.service.home) as collection:  # as somebody else might have
        collection.add_from(server_elsewhere)
    done = indexing.finished(indexing.ask("/v1/collections/animals/sync", {}, 202))
    assert (done["state"], done["error"]["code"]) == ("failed", "folder_not_allowed")


@pytest.fixture
def server_elsewhere(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.txt").write_text("a text")
    return elsewhere


def test_an_index_is_built_tuned_and_the_rest(server):
    server.ask(
        "/v1/collections/animals/documents",
        {"documents": [{"id": f"n{i}", "text": f"number {i} {i % 7}"} for i in range(300)]},
    )
    built = server.finished(server.ask("/v1/collections/animals/reindex", {"index": "exact"}, 202))
    assert built["state"] == "done"
    assert server.ask("/v1/collections/animals")["index"]["wanted"]["backend"] == "exact"
    server.ask("/v1/collections/animals/documents/delete", {"ids": ["n1", "n2"]})
    compacted = server.finished(server.ask("/v1/collections/animals/compact", {}, 202))
    assert compacted["result"]["bytes_after"] > 0
    encoded = server.finished(server.ask("/v1/collections/animals/reencode", {"encoder": "other"}, 202))
    assert encoded["result"] == {"documents": 301}
    assert server.ask("/v1/collections/animals")["dim"] == 8
    assert server.ask("/v1/collections/animals/search", {"query": "the cat sleeps"})["hits"][0]["id"] == "cat"
    assert server.refused("/v1/collections/animals/reencode", {"encoder": "/etc"}, 403)["code"] == "model_not_served"
    failed = server.finished(server.ask("/v1/collections/animals/reindex", {"index": "nothing"}, 202))
    assert (failed["state"], failed["error"]["code"]) == ("failed", "invalid_request")
    tuned = server.finished(server.ask("/v1/collections/animals/tune", {"recall": 0.9}, 202))
    assert tuned["state"] in ("done", "failed")
    assert server.refused("/v1/collections/nobody/compact", {}, 404)["code"] == "collection_not_found"


def test_a_task_is_cancelled_where_it_tells_how_far_it_is(server, models):
    model = models["hash"]
    server.ask(
        "/v1/collections/animals/documents", {"documents": [{"id": f"n{i}", "text": f"n {i}"} for i in range(50)]}
    )
    other = server.service.encoder("other")
    other.may_go.clear()
    task = server.ask("/v1/collections/animals/reencode", {"encoder": "other"}, 202)
    assert other.begun.acquire(timeout=30)
    waiting = server.ask("/v1/collections/animals/compact", {}, 202)
    assert server.ask(f"/v1/tasks/{waiting['id']}")["state"] == "queued", "one after the other"
    assert server.ask(f"/v1/tasks/{waiting['id']}/cancel", {})["state"] == "cancelled"
    assert server.ask(f"/v1/tasks/{task['id']}/cancel", {})["cancelling"] is True
    other.may_go.set()
    until(lambda: server.ask(f"/v1/tasks/{task['id']}")["state"] == "cancelled")
    assert server.ask("/v1/collections/animals")["dim"] == model.dim, "nothing was switched"
    assert server.refused(f"/v1/tasks/{task['id']}/cancel", {}, 409)["code"] == "task_finished"
    assert server.refused("/v1/tasks/nothing", status=404)["code"] == "task_not_found"


def test_tasks_are_known_after_a_restart_as_what_they_are(serve, models, fill):
    with serve() as server:
        fill(server)
        done = server.finished(server.ask("/v1/collections/animals/compact", {}, 202))
        other = server.service.encoder("other")
        other.may_go.clear()
        going = server.ask("/v1/collections/animals/reencode", {"encoder": "other"}, 202)
        assert other.begun.acquire(timeout=30)
        queued = server.ask("/v1/collections/animals/compact", {}, 202)

        def let_go_when_it_ends():
            until(lambda: server.service.draining)
            other.may_go.set()

        threading.Thread(target=let_go_when_it_ends, daemon=True).start()
    with serve() as server:
        states = {task["id"]: task["state"] for task in server.ask("/v1/tasks")["tasks"]}
    assert states[done["id"]] == "done"
    assert states[going["id"]] in ("interrupted", "done")
    assert states[queued["id"]] == "interrupted"


def test_what_a_killed_server_left_is_interrupted(serve, tmp_path):
    from semsearch.home import Home

    folder = _tasks_folder(Home.of(str(tmp_path / "served")))
    folder.mkdir(parents=True)
    facts = {"id": "0000000000001-aa", "kind": "index", "collection": "x", "state": "running", "owner": "999999999-x"}
    (folder / "0000000000001-aa.json").write_text(json.dumps(facts))
    (folder / "rubbish.json").write_text("{")
    (folder / "0000000000002-aa.json").write_text(json.dumps({**facts, "id": "another"}))
    with serve() as server:
        (task,) = server.ask("/v1/tasks")["tasks"]
        assert (task["id"], task["state"]) == ("0000000000001-aa", "interrupted")


def test_no_more_wait_than_are_followed(server, monkeypatch):
    monkeypatch.setattr(book, "MOST_QUEUED", 1)
    monkeypatch.setattr(book, "KEPT_TASKS", 3)
    held, begun = threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert held.wait(30)

    first = server.service.tasks.begin("x", "animals", work)
    assert begun.wait(30)
    second = server.service.tasks.begin("x", "animals", lambda progress: None)
    with pytest.raises(Refusal, match="wait already"):
        server.service.tasks.begin("x", "animals", lambda progress: None)
    held.set()
    until(lambda: first.state == second.state == "done")
    for _ in range(6):
        task = server.service.tasks.begin("x", "animals", lambda progress: None)
        until(lambda task=task: task.state == "done")
    server.service.tasks._prune()
    assert len(server.ask("/v1/tasks")["tasks"]) <= 4
