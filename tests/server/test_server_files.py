"""Files over HTTP: put in as people have them, read within bounds, given back as they were."""

import gzip
import io
import threading
import zipfile

import pytest

from semsearch.errors import DataError
from semsearch.server import reading_process
from semsearch.server.reading_process import check_readable

PATH = "/v1/collections/animals/files"
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def keeping(serve, fill, tmp_path):
    with serve(files=tmp_path / "kept", max_upload=100_000) as server:
        (tmp_path / "kept").mkdir(mode=0o700, exist_ok=True)
        fill(server)
        yield server


def put(server, name, content, status=202):
    answer = server.post(f"{PATH}/{name}", content=content, headers=BYTES)
    assert answer.status_code == status, answer.text
    return server.finished(answer.json()) if status == 202 else answer.json()["error"]


def test_a_file_is_indexed_kept_and_given_back(keeping, tmp_path):
    done = put(keeping, "notes.txt", b"the zebra grazes on the plain")
    assert (done["state"], done["kind"], done["result"]["added"]) == ("done", "file", 1), done
    (hit,) = keeping.ask("/v1/collections/animals/search", {"query": "zebra grazes", "k": 1})["hits"]
    assert hit["id"].startswith("notes.txt")
    answer = keeping.get(f"{PATH}/notes.txt")
    assert answer.content == b"the zebra grazes on the plain"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    original = keeping.get("/v1/collections/animals/original", params={"id": hit["id"]})
    assert original.content == answer.content
    assert keeping.ask(PATH)["files"] == [{"name": "notes.txt", "bytes": 29}]
    assert oct((tmp_path / "kept" / "animals" / "notes.txt").stat().st_mode & 0o777) == "0o600"
    assert keeping.refused("/v1/collections/animals/original?id=cat", status=404)["code"] == "file_not_found"


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("a.txt", "über den Wolken".encode(), "text/plain; charset=utf-8"),
        ("a.html", b"<script>alert(1)</script><p>the zebra grazes</p>", None),
        ("a.eml", b"From: a@example.org\nSubject: zebras\n\nthey graze", None),
    ],
)
def test_a_browser_shows_plain_text_and_saves_the_rest(keeping, name, content, shown):
    assert put(keeping, name, content)["state"] == "done"
    identity = next(
        one["id"] for one in keeping.ask("/v1/collections/animals/documents")["documents"] if name in one["id"]
    )
    path = "/v1/collections/animals/original"
    answer = keeping.get(path, params={"id": identity, "show": "true"})
    assert answer.content == content
    assert answer.headers["content-type"] == (shown or "application/octet-stream")
    assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert keeping.get(path, params={"id": identity}).headers["content-disposition"].startswith("attachment")


def test_put_in_again_what_it_no_longer_gives_is_taken_out(keeping):
    put(keeping, "two.jsonl", b'{"id": "one", "text": "first"}\n{"id": "two", "text": "second"}\n')
    done = put(keeping, "two.jsonl", b'{"id": "two", "text": "second, changed"}\n')
    assert (done["result"]["changed"], done["result"]["removed"]) == (1, 1)
    assert keeping.ask("/v1/collections/animals/count", {})["documents"] == 4
    assert keeping.ask(f"{PATH}/two.jsonl", method="DELETE")["documents"] == 1
    assert keeping.ask("/v1/collections/animals/count", {})["documents"] == 3
    assert keeping.refused(f"{PATH}/two.jsonl", status=404)["code"] == "file_not_found"


@pytest.mark.parametrize("name", ["..", ".hidden", "a%2Fb", "%2e%2e%2fx", "a%00b", "a%0ab", "x" * 300])
def test_a_name_that_leads_elsewhere_is_none(keeping, name, tmp_path):
    answer = keeping.post(f"{PATH}/{name}", content=b"x", headers=BYTES)
    assert answer.status_code in (400, 404, 405)
    assert not (tmp_path / "kept" / "animals").exists() or not any((tmp_path / "kept" / "animals").iterdir())


def test_a_file_that_is_too_long_or_none_leaves_nothing(keeping, tmp_path):
    refused = put(keeping, "long.txt", b"x" * 200_000, 413)
    assert refused["code"] == "body_too_large"
    assert "--max-upload" in refused["message"]
    broken = put(keeping, "broken.pdf", b"%PDF-1.7 rubbish")
    assert broken["state"] == "failed"
    assert broken["error"]["message"].startswith("broken.pdf ")
    assert put(keeping, "broken.docx", b"PK rubbish")["state"] == "failed"
    failed = put(keeping, "what.unknown-kind", b"\x00\x01\x02")
    assert failed["state"] == "failed"
    assert str(tmp_path) not in failed["error"]["message"]
    assert keeping.ask(PATH)["files"] == []
    assert [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


def test_a_file_whose_turn_does_not_come_leaves_nothing(keeping, tmp_path):
    held, begun = threading.Event(), threading.Event()
    first = keeping.service.tasks.begin("x", "animals", lambda progress: (begun.set(), held.wait(30))[1])
    assert begun.wait(30)
    task = keeping.post(f"{PATH}/a.txt", content=b"a text", headers=BYTES).json()
    future = keeping.service.tasks._futures[task["id"]]
    assert [path.name for path in (tmp_path / "kept").rglob("*.txt")] == ["a.txt"]
    assert keeping.ask(f"/v1/tasks/{task['id']}/cancel", {})["state"] == "cancelled"
    held.set()
    future.result(30)
    assert keeping.finished({"id": first.id})["state"] == "done"
    assert list((tmp_path / "kept" / "animals").iterdir()) == []


def test_what_a_killed_server_took_in_halfway_is_gone_when_one_starts(serve, tmp_path):
    left = tmp_path / "kept" / "animals" / ".incoming-999999999-00"
    left.mkdir(parents=True)
    (left / "half.pdf").write_bytes(b"%PDF")
    with serve(files=tmp_path / "kept"):
        assert not left.exists()


def test_links_in_the_folder_of_files_are_not_followed(keeping, tmp_path):
    (tmp_path / "secret.txt").write_text("a secret")
    put(keeping, "a.txt", b"a text")
    (tmp_path / "kept" / "animals" / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert keeping.refused(f"{PATH}/link.txt", status=404)["code"] == "file_not_found"
    assert [file["name"] for file in keeping.ask(PATH)["files"]] == ["a.txt"]
    assert put(keeping, "link.txt", b"mine")["state"] == "failed"
    assert (tmp_path / "secret.txt").read_text() == "a secret"


def test_the_files_go_with_the_collection(keeping, tmp_path):
    put(keeping, "a.txt", b"a text")
    keeping.ask("/v1/collections/animals", method="DELETE")
    assert not (tmp_path / "kept" / "animals").exists()


def test_without_a_folder_no_file_is_kept(server):
    assert put(server, "a.txt", b"x", 403)["code"] == "files_not_kept"


@pytest.mark.slow
def test_a_bomb_ends_the_process_that_reads_it_and_nothing_else(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.txt.gz"
    with gzip.open(bomb, "wb") as packed:
        for number in range(20_000):
            packed.write(f"{number} {'a word ' * 100}\n".encode())
    with pytest.raises(DataError, match=r"more than|can't be read"):
        check_readable(bomb, most=10_000_000)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("word/document.xml", b"<w>" + b"a" * 50_000_000)
    (tmp_path / "bomb.docx").write_bytes(archive.getvalue())
    with pytest.raises(DataError):
        check_readable(tmp_path / "bomb.docx")
    monkeypatch.setattr(reading_process, "WALL_SECONDS", 0.01)
    with pytest.raises(DataError, match="takes longer"):
        check_readable(bomb)


def test_nothing_beside_the_file_is_run(tmp_path):
    """A folder of a stranger's files may hold one that is named like a module."""
    for name in ("json.py", "semsearch.py", "numpy.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "a.txt").write_text("a text")
    assert check_readable(tmp_path / "a.txt") == 1
    assert not (tmp_path / "ran").exists()
