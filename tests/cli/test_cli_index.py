"""`semsearch index`: what it ends with, how it resumes, what it refuses."""

import errno
import gc
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import unicodedata
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from support.command_line import corpus, run, start, tiny_model
from support.descriptors import open_files, told

import semsearch
from semsearch import list_collections
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.target import CreateOptions, target
from semsearch.home import Home
from semsearch.local.store.lock import WriterLock


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def home(tmp_path):
    """Where the collections of a test lie."""
    return tmp_path / "home"


def documents(name):
    """Id and text of all that a collection holds."""
    with semsearch.open(name) as collection:
        return {document.id: document.text for document in collection.documents()}


def records(path):
    """The records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, contents):
    """Write records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in contents))
    return path


@pytest.mark.slow
def test_it_ends_with_what_changed(tmp_path, model):
    notes = corpus(tmp_path, count=2000)
    assert run("index", notes, "-m", model).out == "added 2,000, changed 0, unchanged 0, skipped 0\n"
    again = run("index", notes)
    assert (again.code, again.out) == (0, "added 0, changed 0, unchanged 2,000, skipped 0\n")
    changed = records(notes)
    for record in changed[:3]:
        record["text"] += " salt"
    write(notes, [*changed, *({"_id": f"new{number}", "text": "reef"} for number in range(12))])
    assert run("index", notes).out == "added 12, changed 3, unchanged 1,997, skipped 0\n"
    assert documents("notes")["d1"].endswith(" salt")


@told
def test_nothing_stays_open(tmp_path, model, home):
    """A new collection is empty, and what is empty counts as false: it was opened twice, and closed once."""
    gc.disable()  # which would close what was forgotten
    try:
        assert run("index", corpus(tmp_path), "-m", model).code == 0
        assert open_files(home) == []
    finally:
        gc.enable()


def test_a_document_says_what_it_is_in_the_answer(tmp_path, model):
    (tmp_path / "films.csv").write_text(
        "key,plot,name,year\nf1,whale and storm,Moby,1956\nf2,dough and oven,Bake,2001\n"
    )
    ended = run("index", tmp_path / "films.csv", "-m", model, "--text", "plot", "--id", "key", "--title", "name")
    assert ended.out == "added 2, changed 0, unchanged 0, skipped 0\n"
    hit = json.loads(run("query", "films", "whale", "-k", 1, "--json").out)["hits"][0]
    assert (hit["id"], hit["title"], hit["text"], hit["metadata"]) == ("f1", "Moby", "whale and storm", {"year": 1956})
    assert run("drop", "films", "--yes").code == 0
    run("index", tmp_path / "films.csv", "-m", model, "--text", "plot", "--id", "key", "--type", "year=str")
    hit = json.loads(run("query", "films", "whale", "-k", 1, "--json").out)["hits"][0]
    assert hit["metadata"] == {"name": "Moby", "year": "1956"}


def test_options_of_the_reader(tmp_path, model):
    (tmp_path / "poem.txt").write_text("wave\ntide\n\nsoil\nseed\n")
    assert run("index", tmp_path / "poem.txt", "-m", model).out.startswith("added 4,")
    assert run("index", tmp_path / "poem.txt", "-m", model, "--name", "stanzas", "--read", "unit=paragraph").out[
        :7
    ] == ("added 2")


def test_standard_input_needs_a_name_and_a_format(model):
    text = b"whale and storm\ndough and oven\n"
    ended = run("index", "-", "-m", model, stdin=text)
    assert (ended.code, ended.out) == (2, "")
    assert "--format" in ended.err
    ended = run("index", "-", "--format", "text", "-m", model, stdin=text)
    assert ended.code == 2
    assert "--name" in ended.err
    said = run("index", "-", "--format", "text", "--name", "piped", "-m", model, stdin=gzip.compress(text))
    assert said.out == "added 2, changed 0, unchanged 0, skipped 0\n"
    said = run("index", "-", "--format", "text", "--name", "piped", stdin=text + b"soil\n")
    assert said.out == "added 1, changed 0, unchanged 2, skipped 0\n"


def test_another_source_under_the_same_name(tmp_path, model):
    run("index", corpus(tmp_path), "-m", model)
    other = write(tmp_path / "other.jsonl", [{"_id": "o1", "text": "reef"}])
    ended = run("index", other, "--name", "notes")
    assert (ended.code, ended.out) == (2, "")
    assert f"'notes' was made from {tmp_path / 'notes.jsonl'} (format jsonl), not from {other}" in ended.err
    assert "--name" in ended.err
    assert "--add" in ended.err
    assert run("index", other, "--name", "notes", "--add").out == "added 1, changed 0, unchanged 0, skipped 0\n"
    assert run("index", other, "--name", "notes").out == "added 0, changed 0, unchanged 1, skipped 0\n"
    assert run("index", tmp_path / "notes.jsonl").out == "added 0, changed 0, unchanged 40, skipped 0\n"
    assert len(documents("notes")) == 41


def test_the_name_must_be_one(tmp_path, model):
    ended = run("index", corpus(tmp_path), "--name", "../escape", "-m", model)
    assert ended.code == 2
    assert "'../escape' can't name a collection" in ended.err
    shutil.copy(tmp_path / "notes.jsonl", tmp_path / "my notes (old).jsonl")
    ended = run("index", tmp_path / "my notes (old).jsonl", "-m", model)
    assert ended.code == 2
    assert "'my notes (old)' can't name a collection" in ended.err
    assert ended.err.endswith("Choose one with --name, as in --name my-notes-old.\n")
    assert list_collections(home=tmp_path / "home") == []


@pytest.mark.parametrize("folder", ["Übersicht", "U\u0308bersicht", "日本語", "Заметки", "papers.old", "_x"])
def test_a_folder_gives_its_own_name(tmp_path, model, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.txt").write_text("the tide")
    ended = run("index", tmp_path / folder, "-m", model)
    name = unicodedata.normalize("NFC", folder)
    assert (ended.code, ended.out) == (0, "added 1, changed 0, unchanged 0, skipped 0\n")
    assert f"made the collection '{name}' in {tmp_path / 'home'}" in ended.err
    assert list_collections(home=tmp_path / "home") == [name]
    again = run("index", tmp_path / folder, "--json")
    assert "made the collection" not in again.err
    assert json.loads(again.out)["collection"] == name


@pytest.mark.parametrize(
    ("folder", "near"), [("my notes", "my-notes"), ("-x", "x"), (".hidden", "hidden"), ("a\u200db", "a-b"), ("(!)", "")]
)
def test_a_folder_whose_name_can_not_be_a_collections(tmp_path, model, folder, near):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.txt").write_text("the tide")
    ended = run("index", tmp_path / folder, "-m", model)
    assert ended.code == 2
    assert "can't name a collection" in ended.err
    assert ended.err.endswith(f"Choose one with --name{f', as in --name {near}' if near else ''}.\n")
    assert list_collections(home=tmp_path / "home") == []
    if near:
        assert run("index", tmp_path / folder, "-m", model, "--name", near).code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"_id": "x", "text": ""}', "empty"),
        (b'{"_id": "x", "text": " \\t\\n "}', "empty"),
        (b'{"_id": "x", "text": "reef \\u0000 tide"}', "NUL"),
        (b'{"_id": "x", "text": "ree', "not JSON"),
        (b'{"_id": "x", "text": "r\xe9ef"}', "not UTF-8"),
        (b'{"_id": "x", "title": "reef"}', "there is no column 'text'"),
        (b'{"_id": "d0", "text": "reef"}', "'d0' was given before"),
        (b'["reef"]', "must be a JSON object"),
    ],
    ids=["empty", "blank", "NUL", "JSON", "UTF-8", "column", "duplicate", "array"],
)
def test_a_bad_record(tmp_path, model, home, line, message):
    notes = corpus(tmp_path, count=10)
    lines = notes.read_bytes().splitlines()
    notes.write_bytes(b"\n".join([*lines[:6], line, *lines[6:]]))
    ended = run("index", notes, "-m", model)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("semsearch: ")
    assert message in ended.err
    assert f"{notes}, line 7" in ended.err
    assert "Traceback" not in ended.err
    assert list_collections(home=home) == []
    ended = run("index", notes, "-m", model, "--on-error", "skip")
    assert (ended.code, ended.out.split(", ")[-1]) == (0, "skipped 1\n")
    assert "1 bad record skipped" in ended.err
    assert message in ended.err
    assert len(documents("notes")) == 10


def test_where_no_record_is_good_all_are_named(tmp_path, model):
    source = write(tmp_path / "d.jsonl", [{"id": 1}, {"id": 2}])
    ended = run("index", source, "-m", model, "--on-error", "skip")
    assert (ended.code, ended.out) == (3, "")
    assert all(f"line {line}: " in ended.err for line in (1, 2))
    ended = run("index", source, "-m", model, "--on-error", "skip", "--json")
    assert ended.code == 3
    told = json.loads(ended.out)
    assert (told["added"], told["skipped"], len(told["records"])) == (0, 2, 2)
    assert list_collections() == []


def test_a_bad_record_loses_nothing_that_is_committed(tmp_path, model, monkeypatch):
    monkeypatch.setattr("semsearch.ingest.ingestion.READ_DOCUMENTS", 10)
    monkeypatch.setattr("semsearch.ingest.ingestion.BATCH_DOCUMENTS", 10)
    notes = corpus(tmp_path, count=100)
    whole = notes.read_text()
    lines = whole.splitlines()
    notes.write_text("\n".join([*lines[:55], "{", *lines[55:]]))
    ended = run("index", notes, "-m", model)
    assert ended.code == 3
    committed = len(documents("notes"))
    assert committed >= 50
    assert ended.last.startswith(f"{committed} documents are committed in 'notes' and can be searched")
    assert run("query", "notes", "whale").code == 0
    notes.write_text(whole)
    assert run("index", notes).out == f"added {100 - committed}, changed 0, unchanged {committed}, skipped 0\n"


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.txt", "empty.csv", "folder"])
def test_an_empty_corpus_makes_no_collection(tmp_path, model, home, name):
    if name == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "picture.png").write_bytes(b"\x89PNG")
    else:
        (tmp_path / name).write_bytes(b"")
    ended = run("index", tmp_path / name, "-m", model)
    assert (ended.code, ended.out) == (3, "")
    assert len(ended.err.splitlines()) <= 2
    assert "Traceback" not in ended.err
    assert list_collections(home=home) == []


def test_kinds_that_can_not_be_read_are_counted(tmp_path, model):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "whale.txt").write_text("whale and storm")
    for name in ("a.exe", "b.exe", "c.png"):
        (folder / name).write_bytes(b"MZ")
    ended = run("index", folder, "-m", model)
    assert ended.out == "added 1, changed 0, unchanged 0, skipped 0\n"
    assert "2 .exe, 1 .png" in ended.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_file_whose_name_is_not_utf_8_is_left_out_and_named(tmp_path, model, home):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("bread")
    (tmp_path / "folder" / os.fsdecode(b"\xff.txt")).write_text("ocean")
    ended = run("index", tmp_path / "folder", "-m", model)
    assert ended.code == 0
    assert rf"names are not UTF-8 (rename them): 1: {tmp_path}/folder/\xff.txt." in ended.err
    assert documents("folder") == {"a.txt": "bread"}
    odd = tmp_path / os.fsdecode(b"\xff")
    (tmp_path / "folder").rename(odd)
    ended = run("index", odd, "-m", model, "--name", "other")
    assert ended.code == 2
    assert r"\xff' is not UTF-8" in ended.err
    assert list_collections(home=home) == ["folder"]


def test_a_file_that_can_not_be_read(tmp_path, model, monkeypatch):
    folder = tmp_path / "papers"
    folder.mkdir()
    for name in ("bread", "whale"):
        (folder / f"{name}.txt").write_text(name)
    opened = Path.open

    def refusing(path, *arguments, **options):
        if path.name == "whale.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    ended = run("index", folder, "-m", model)
    assert ended.code == 3
    assert f"{folder / 'whale.txt'} can't be read: Permission denied" in ended.err
    assert run("index", folder, "-m", model, "--on-error", "skip").out == "added 1, changed 0, unchanged 0, skipped 1\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.jsonl"], 2, "there is no file or folder 'missing.jsonl'"),
        ([], 2, "give the file or folder of the corpus"),
        (["notes.jsonl", "--type", "year"], 2, "'year' is not of the form KEY=VALUE"),
        (["notes.jsonl", "--format", "pdf"], 2, "csv"),
        (["notes.jsonl", "--read", "unit=line"], 2, "has no option 'unit'"),
        (["notes.jsonl", "--on-error", "ignore"], 2, "'ignore' is not one of"),
        (["notes.jsonl", "--batch-tokens", "0"], 2, "0 is not in the range x>=1"),
        (["notes.jsonl", "-m", "no/such-model"], 2, "no/such-model"),
        (["notes.jsonl", "--device", "abacus"], 2, "'abacus' names no device"),
        (["notes.jsonl", "--dtype", "float7"], 2, "'float7' is no dtype"),
        (["notes.jsonl", "--bogus"], 2, "No such option"),
        (["notes.jsonl", "--title", "heading"], 3, "there is no column 'heading'; there are: '_id', 'title', 'text'"),
        (["table.csv", "--text", "plot"], 3, "there is no column 'plot'; there are: 'a', 'b'"),
        (["song.mp3"], 2, "--format"),
    ],
)
def test_what_can_not_be_done(tmp_path, model, home, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    chosen = [] if "-m" in arguments else ["-m", model]
    ended = run("index", *arguments, *chosen)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert list_collections(home=home) == []


def test_another_model_is_refused_and_the_same_by_another_path_is_not(tmp_path, model):
    notes = corpus(tmp_path)
    run("index", notes, "-m", model)
    before = documents("notes")
    assert before
    ended = run("index", notes, "-m", tiny_model(tmp_path / "other", seed=1))
    assert ended.code == 4
    assert f"'notes' was made with the model {model}, not with {tmp_path / 'other'}" in ended.err
    assert documents("notes") == before
    copy = shutil.copytree(model, tmp_path / "copy")
    assert run("index", notes, "-m", copy).out == "added 0, changed 0, unchanged 40, skipped 0\n"


def test_a_model_by_a_relative_path_is_found_from_elsewhere(tmp_path, model, monkeypatch):
    notes = corpus(tmp_path)
    monkeypatch.chdir(model.parent)
    run("index", notes, "-m", model.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("query", "notes", "whale", "-k", 1).code == 0
    assert run("index", notes, "-m", model).out == "added 0, changed 0, unchanged 40, skipped 0\n"


@pytest.mark.parametrize("option", [("--passages", "off"), ("--index", "hnsw"), ("--option", "ef=200")])
def test_settings_can_not_change_on_the_way(tmp_path, model, option):
    notes = corpus(tmp_path)
    run("index", notes, "-m", model, "--passages", "on", "--index", "exact")
    ended = run("index", notes, *option)
    assert ended.code == 2
    assert "'notes' was made with" in ended.err
    assert run("index", notes, "--passages", "on", "--index", "exact").code == 0


def test_a_second_writer_is_told_who_holds_the_collection(tmp_path, model, home, monkeypatch):
    notes = corpus(tmp_path)
    run("index", notes, "-m", model)
    write(notes, [*records(notes), {"_id": "late", "text": "reef"}])
    monkeypatch.setattr("semsearch.local.store.store.WriterLock", partial(WriterLock, timeout=0.05))
    with WriterLock(home / "notes").hold():
        ended = run("index", notes)
        assert ended.code == 5
        assert f"being written by process {os.getpid()}" in ended.err
        assert run("remove", "notes", "d0").code == 5
        assert run("query", "notes", "whale").code == 0
    assert run("index", notes).out == "added 1, changed 0, unchanged 40, skipped 0\n"


def test_another_process_makes_the_collection_meanwhile(tmp_path, model, monkeypatch):
    from semsearch import models

    notes, opened = corpus(tmp_path), models.encoder
    other = write(tmp_path / "other.jsonl", [{"_id": "o1", "text": "reef"}])

    def opening(*arguments, **options):
        monkeypatch.setattr(models, "encoder", opened)
        assert run("index", notes, "-m", model).code == 0
        return opened(*arguments, **options)

    monkeypatch.setattr(models, "encoder", opening)
    ended = run("index", notes, "-m", model)
    assert (ended.code, ended.out) == (0, "added 0, changed 0, unchanged 40, skipped 0\n")
    assert run("drop", "notes", "--yes").code == 0
    monkeypatch.setattr(models, "encoder", opening)
    assert run("index", other, "-m", model, "--name", "notes").code == 2
    assert len(documents("notes")) == 40


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_the_disk_refuses(tmp_path, model, monkeypatch, number):
    monkeypatch.setattr("semsearch.ingest.ingestion.READ_DOCUMENTS", 10)
    monkeypatch.setattr("semsearch.ingest.ingestion.BATCH_DOCUMENTS", 10)
    notes = corpus(tmp_path, count=40)
    synced = os.fsync
    commits = []

    def refusing(descriptor):
        commits.append(descriptor)
        if len(commits) > refuse_after:
            raise OSError(number, os.strerror(number))
        return synced(descriptor)

    refuse_after = sys.maxsize
    monkeypatch.setattr(os, "fsync", refusing)
    run("index", notes, "-m", model, "--name", "counted")
    refuse_after, commits = len(commits) * 2 // 3, []
    ended = run("index", notes, "-m", model)
    assert (ended.code, ended.out) == (4, "")
    assert os.strerror(number) in ended.err
    assert "Traceback" not in ended.err
    refuse_after = sys.maxsize
    committed = len(documents("notes"))
    assert 0 < committed < 40
    assert ended.last.startswith(f"{committed} documents are committed in 'notes'")
    assert run("query", "notes", "whale").code == 0
    assert run("index", notes).out == f"added {40 - committed}, changed 0, unchanged {committed}, skipped 0\n"


def test_interrupted_in_the_middle(tmp_path, model, monkeypatch):
    monkeypatch.setattr("semsearch.ingest.ingestion.READ_DOCUMENTS", 10)
    monkeypatch.setattr("semsearch.ingest.ingestion.BATCH_DOCUMENTS", 10)
    notes = corpus(tmp_path, count=100)

    def pressing(self, step):
        if step.documents >= 50:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semsearch.cli.progress.Meter.__call__", pressing)
        ended = run("index", notes, "-m", model)
    assert (ended.code, ended.out) == (130, "")
    committed = len(documents("notes"))
    assert committed == 30
    assert ended.err == (
        "interrupted: 30 documents are committed in 'notes' and can be searched; the same command goes on from there.\n"
    )
    assert run("query", "notes", "whale").code == 0
    assert run("index", notes).out == "added 70, changed 0, unchanged 30, skipped 0\n"
    assert len(documents("notes")) == 100


def test_interrupted_before_anything_is_committed(tmp_path, model, monkeypatch):
    def pressing(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("semsearch.models.encoder", pressing)
    ended = run("index", corpus(tmp_path), "-m", model)
    assert ended.code == 130
    assert ended.err == "interrupted: Nothing is committed yet; the same command begins again.\n"
    assert list_collections(home=tmp_path / "home") == []


def interrupted_while(work, monkeypatch, *arguments):
    """`semsearch ARGUMENTS`, interrupted in the midst of reading, where `work` is done by another process."""

    def pressing(*_):
        work()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semsearch.collection.Collection.add_from", lambda *_, **__: pressing())
        return run(*arguments)


def test_what_another_process_began_to_write_to_stays_when_its_maker_breaks_off(tmp_path, model, monkeypatch):
    notes, joined = corpus(tmp_path), []
    with ExitStack() as other:

        def joining():
            options = CreateOptions(compute=ComputeOptions())
            joined.append(other.enter_context(target("notes", Home.of(tmp_path / "home"), options))[0])

        ended = interrupted_while(joining, monkeypatch, "index", notes, "-m", model)
        assert ended.err == "interrupted: Nothing is committed yet; the same command begins again.\n"
        joined[0].add(["A whale in the harbour."])  # to a collection that would be gone
    assert run("index", notes, "-m", model, "--add").out == "added 40, changed 0, unchanged 0, skipped 0\n"
    assert len(documents("notes")) == 41


def test_what_was_made_anew_under_its_name_stays(tmp_path, model, monkeypatch):
    home = tmp_path / "home"

    def another():
        semsearch.drop("notes", home=home)
        semsearch.create("notes", home=home, encoder=None, dim=4).close()

    interrupted_while(another, monkeypatch, "index", corpus(tmp_path), "-m", model)
    assert list_collections(home=home) == ["notes"]


def test_what_its_maker_let_go_while_another_process_opened_it_is_made_again(tmp_path, model, monkeypatch):
    notes, home = corpus(tmp_path), tmp_path / "home"
    semsearch.create("notes", home=home, encoder=str(model)).close()
    opening = CreateOptions.open

    def opened_too_late(self, name, where):
        monkeypatch.setattr(CreateOptions, "open", opening)
        collection = opening(self, name, where)
        semsearch.drop("notes", home=home)
        return collection

    monkeypatch.setattr(CreateOptions, "open", opened_too_late)
    assert run("index", notes, "-m", model).out == "added 40, changed 0, unchanged 0, skipped 0\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(tmp_path, model, sent):
    arguments = ("index", "-", "--name", "piped", "--format", "jsonl", "-m", model)
    lines = corpus(tmp_path, count=12_000).read_bytes()
    process = start(*arguments, stdin=subprocess.PIPE)
    process.stdin.write(lines)  # returns when all but the pipe's 64 kB are read, so when much is committed
    process.stdin.flush()
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    committed = len(documents("piped"))
    assert committed >= 12_000 - 2 * 4096 - 1_000  # two batches on their way, and what the pipe and its reader hold
    assert f"interrupted: {committed:,} documents are committed in 'piped'" in err.decode()
    assert b"Traceback" not in err
    ended = run(*arguments, stdin=lines)
    assert ended.out == f"added {12_000 - committed:,}, changed 0, unchanged {committed:,}, skipped 0\n"


@pytest.mark.slow
def test_nobody_listening_on_stderr_does_not_stop_the_work(tmp_path, model):
    reading, writing = os.pipe()
    os.close(reading)
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "whale.txt").write_text("whale and storm")
    (folder / "a.exe").write_bytes(b"MZ")
    process = start("index", folder, "-m", model, stderr=writing)
    os.close(writing)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"added 1, changed 0, unchanged 0, skipped 0\n")
