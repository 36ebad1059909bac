"""Every command of the command line works on a database as on a folder."""

import json
import os

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support.command_line import corpus, run, tiny_model

import semsearch

pytestmark = pytest.mark.postgres


@pytest.fixture
def place(url, monkeypatch):
    """Where all commands look, without `--home`."""
    monkeypatch.setenv("SEMSEARCH_HOME", url)
    return url


@pytest.fixture
def notes(place, tmp_path):
    """An indexed collection `notes` of forty documents."""
    model = tiny_model(tmp_path / "model")
    ended = run("index", corpus(tmp_path), "--name", "notes", "--encoder", model)
    assert ended.code == 0, ended.err
    return "notes"


def out(*arguments, code=0):
    ended = run(*arguments)
    assert ended.code == code, ended.err
    return ended.out


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_query(notes, mode):
    query = ("query", notes, "yeast dough oven", "--mode", mode, "--json", "-k", "5")
    hits = json.loads(out(*query))["hits"]
    assert len(hits) == 5
    if mode != "dense":
        assert int(hits[0]["id"][1:]) % 5 == 0, "it is on bread"
    recent = json.loads(out(*query, "--where", "year > 2020"))["hits"]
    assert len(recent) >= 1
    assert all(int(hit["id"][1:]) > 20 for hit in recent)
    assert json.loads(out(*query, "--context", "1", "--explain", "--exact"))["hits"][0]["id"] == hits[0]["id"]


def test_what_is_there_is_shown_and_taken_out(notes, place):
    assert out("list").split()[0] == notes
    facts = json.loads(out("info", notes, "--json"))
    assert (facts["documents"], facts["engine"]) == (40, "postgresql")
    assert "hunter2" not in json.dumps(facts)
    assert json.loads(out("get", notes, "d3", "--json"))["id"] == "d3"
    assert out("remove", notes, "d3", "d4").startswith("removed 2")
    assert out("similar", notes, "d0")
    assert out("describe", notes, "what the notes are about") is not None
    assert out("language", notes, "de") == "German\n"
    assert out("language", notes, "en") == "English\n"
    assert out("drop", notes, "--yes") is not None
    assert semsearch.list_collections() == []


def test_sync(notes, tmp_path):
    lines = (tmp_path / "notes.jsonl").read_text().splitlines()
    (tmp_path / "notes.jsonl").write_text("\n".join([*lines[3:], lines[3].replace("d3", "new")]) + "\n")
    assert run("sync", notes).code == 0
    with semsearch.open(notes) as collection:
        assert len(collection) == 38
        assert "d0" not in collection
        assert "new" in collection


@pytest.mark.slow
def test_care(notes, tmp_path):
    assert "index hnsw, rows 40" in out("reindex", notes, "--index", "hnsw", "--recall", "0.5")
    assert "certified" in out("tune", notes, "--recall", "0.5")
    assert json.loads(out("info", notes, "--json"))["index"]["contract"]["target"] == 0.5
    assert run("check", notes, "--deep").code == 0
    assert run("repair", notes).code == 0
    assert out("compact", notes).startswith("removed")
    ended = run("backup", notes, tmp_path / "file")
    assert ended.code == 2
    assert "pg_dump" in ended.err
    ended = run("restore", tmp_path / "notes.jsonl", "--name", "again")
    assert ended.code == 2
    assert "its own tools" in ended.err
    other = tiny_model(tmp_path / "other", seed=1)
    assert out("reencode", notes, "--encoder", other) == "encoded 40\n"
    assert run("check", notes, "--deep").code == 0
    assert json.loads(out("info", notes, "--json"))["index"]["backend"] == "hnsw", "it was built anew"
    assert out("calibrate", notes)


def test_moving_there_and_back(notes, place, tmp_path):
    folder = tmp_path / "folder"
    assert "copied 40 documents" in out("copy", notes, "--to", folder)
    assert run("copy", notes, "--to", folder).code == 4, "there is one already"
    assert "copied 40 documents" in out("copy", notes, "--home", folder, "--to", place, "--as", "again")
    query = ("query", notes, "yeast dough oven", "--mode", "hybrid", "--json")
    asked = [("query", notes, "--home", place), ("query", notes, "--home", folder), ("query", "again", "--home", place)]
    found = [json.loads(out(*own, *query[2:]))["hits"] for own in asked]
    scores = [[(hit["id"], hit["scores"]["dense"]) for hit in hits] for hits in found]
    assert scores[0] == scores[1] == scores[2]
    assert run("sync", "again").code == 0, "it knows its sources"
    with semsearch.open("again") as collection:
        assert len(collection) == 40


def test_export(notes, tmp_path):
    assert out("export", notes, tmp_path / "out") == f"exported 40 passages to {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "vectors.npy").is_file()


def test_applications(notes):
    assert out("pairs", notes, "--min-score", "0.1") is not None
    assert out("clusters", notes, "--json") is not None
    assert out("duplicates", notes, "--json") is not None


def test_eval(notes, tmp_path):
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "yeast dough oven"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\nq\td5\t1\n")
    ended = run("eval", notes, "--queries", tmp_path / "queries.jsonl", "--qrels", tmp_path / "qrels.tsv", "--json")
    assert ended.code == 0, ended.err


def test_no_password_is_told(server, notes, monkeypatch):
    with server.connect() as connection:
        connection.execute("ALTER ROLE postgres PASSWORD 'hunter2'")
    monkeypatch.setenv("SEMSEARCH_HOME", os.environ["SEMSEARCH_HOME"].replace("postgres@", "postgres:hunter2@"))
    for arguments in (
        ("info", notes),
        ("info", notes, "--json"),
        ("list",),
        ("query", "nothing", "x"),
        ("check", notes),
    ):
        ended = run(*arguments)
        assert "hunter2" not in ended.out + ended.err


def test_a_server_serves_what_a_database_keeps(notes, place):
    pytest.importorskip("starlette", reason="the extra 'server' is not installed")
    from support.serving import served

    with served(place) as server:
        asked = {"query": "yeast dough oven", "mode": "hybrid", "k": 3}
        hits = server.ask(f"/v1/collections/{notes}/search", asked)["hits"]
        with semsearch.open(notes) as collection:
            assert [hit["id"] for hit in hits] == [
                h.id for h in collection.search("yeast dough oven", 3, mode="hybrid")
            ]


def test_facets_are_counted_by_the_database(notes):
    from semsearch.engine import Faceted
    from semsearch.search.where_mapping import parse
    from semsearch.server.facets import facets

    with semsearch.open(notes) as collection:
        collection.update_metadata(
            ["d1", "d2"], {"tags": ["a", "b", "a"], "good": True, "when": "2024-05-01", "x.y": 1.5}
        )
        collection.update_metadata(["d3"], {"tags": "b", "good": False, "none": None})
        with collection.engine.view() as view:
            assert isinstance(view, Faceted)

            class Counted:
                documents, get, ids = view.documents, view.get, view.ids

            for where in (None, parse({"year": {"$lt": 2003}}, view.fields()), parse({"tags": "b"}, view.fields())):
                for name in ("tags", "good", "when", "x.y", "year", "none", "nothing"):
                    assert view.facets(name, where, 3) == facets(Counted(), name, where, 3), (name, where)


def test_one_process_watches(notes):
    with semsearch.open(notes) as one, semsearch.open(notes) as other:
        with one.engine.keep_watch():
            with (
                pytest.raises(semsearch.CollectionLocked, match=r"watched by another process already \(process"),
                other.engine.keep_watch(),
            ):
                pass
            assert other.remove(["d1"]) == 1, "which keeps nobody from writing"
        with other.engine.keep_watch():
            pass


def test_classified_and_translated(notes, place, tmp_path):
    with semsearch.open(notes) as collection:
        for number in range(40):
            collection.update_metadata([f"d{number}"], {"kind": str(number % 5)})
    (tmp_path / "new.txt").write_text("yeast dough oven\n")
    assert run("classify", notes, tmp_path / "new.txt", "--field", "kind").code in (0, 1)
    assert run("copy", notes, "--to", place, "--as", "again").code == 0
    assert run("bitext", notes, "again").code == 0
    assert run("topics", notes, "--json").code == 0


def test_the_interactive_query(notes):
    ended = run("query", notes, stdin=b"yeast dough oven\n:quit\n")
    assert ended.code == 0, ended.err
    assert "bread" in ended.out


def test_reranked(notes):
    class Shortest:
        name, fingerprint = "shortest", "s"

        def score(self, query, texts):
            return [-len(text) for text in texts]

    with semsearch.open(notes) as collection:
        hits = collection.search("yeast dough oven", k=3, rerank=Shortest(), candidates=20)
        assert [len(hit.text) for hit in hits] == sorted(len(hit.text) for hit in hits)
        assert len(collection.search("bread", k=5, mmr_lambda=0.5)) == 5
