"""Parts of a source: each document in one, made anywhere and once, and what is not whole or not ours is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from support.command_line import corpus, run, tiny_model

import semsearch
from semsearch import DataError, Document, ModelMismatch, UsageError
from semsearch.parts import drivers
from semsearch.parts.part_file import PART_MAGIC, PartFile
from semsearch.parts.part_number import PartNumber, parse_part, scheduled_part
from semsearch.testing.encoder import HashEncoder


@pytest.fixture
def notes(tmp_path):
    return corpus(tmp_path, count=100)


@pytest.fixture
def model(tmp_path):
    return tiny_model(tmp_path / "tiny")


def made(notes, folder, parts=4, **options):
    semsearch.encode(notes, folder, parts=parts, **{"encoder": HashEncoder(), **options})
    return folder


def loaded(folder, name="notes", encoder=None):
    collection = semsearch.create(name, encoder=encoder or HashEncoder())
    collection.add_parts(folder)
    return collection


def same(one, other):
    assert list(one.ids()) == list(other.ids())
    assert list(one.documents()) == list(other.documents())
    for ours, theirs in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# -------------------------------------------------------------------- which part


def test_a_part_is_counted_from_0():
    assert parse_part("3/64") == PartNumber(3, 64)
    for wrong in ("64/64", "1", "1/0", "-1/4", "a/b", "0/99999", "1/4/5", ""):
        with pytest.raises(UsageError):
            parse_part(wrong)


def array(*numbers):
    return {f"SLURM_ARRAY_TASK_{name}": n for name, n in zip(("ID", "MIN", "MAX", "COUNT"), numbers, strict=True)}


@pytest.mark.parametrize(
    ("environment", "count", "part"),
    [
        ({"SLURM_ARRAY_TASK_ID": "5"}, 64, PartNumber(5, 64)),
        ({"JOB_COMPLETION_INDEX": "0"}, 3, PartNumber(0, 3)),
        (
            array(*["2", "0", "7", "8"]),
            None,
            PartNumber(2, 8),
        ),
        ({}, 3, None),
    ],
)
def test_a_scheduler_tells_its_task(environment, count, part):
    assert scheduled_part(environment, count) == part


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"JOB_COMPLETION_INDEX": "1"}, "as many as the job has completions"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "say with --parts"),
        (
            array(*["2", "1", "8", "8"]),
            "from 0",
        ),
        (
            array(*["9", "0", "9", "2"]),
            "of which these are some",
        ),
        ({"SLURM_ARRAY_TASK_ID": "x"}, "no number"),
    ],
)
def test_a_number_of_parts_that_nobody_told(environment, said):
    with pytest.raises(UsageError, match=said):
        scheduled_part(environment, None)


def test_somebody_has_to_say_which_part(notes, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="say which part"):
        semsearch.encode(notes, tmp_path / "parts", encoder=HashEncoder())
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    done = semsearch.encode(notes, tmp_path / "parts", parts=4, encoder=HashEncoder())
    assert (done.made, [path.name for path in (tmp_path / "parts").iterdir()]) == (1, ["part-00001-of-00004.semsearch"])


# -------------------------------------------------------------------- made and loaded


def test_what_is_loaded_is_what_a_plain_run_gives(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    with semsearch.create("plain", encoder=HashEncoder()) as plain, loaded(folder) as collection:
        plain.add_from(notes)
        same(collection, plain)
        assert collection.languages == plain.languages
        again = collection.add_parts(folder)
        assert (again.added, again.changed, again.unchanged) == (0, 0, 100)
        assert collection.add_from(notes).unchanged == 100, "and the source is known from then on"


def test_labels_stay_when_parts_are_loaded_again(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    with loaded(folder) as collection:
        collection.clusters(min_score=0.5, min_size=2, label_as="topic")
        before = {document.id: document.metadata for document in collection.documents()}
        assert any("topic" in metadata for metadata in before.values())
        assert collection.add_parts(folder).unchanged == 100
        assert {document.id: document.metadata for document in collection.documents()} == before


def test_a_part_that_is_there_is_not_made_again(notes, tmp_path):
    encoder = HashEncoder()
    folder = made(notes, tmp_path / "parts", encoder=encoder)
    assert encoder.calls == 100
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (gone := folder / "part-00002-of-00004.semsearch").unlink()
    done = semsearch.encode(notes, folder, parts=4, encoder=encoder)
    assert (done.made, done.there, done.documents) == (1, 3, 100)
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path for path in before if before[path] != after[path]} == {gone}
    assert encoder.calls < 150


def test_long_documents_are_split_as_everywhere(tmp_path, model):
    from tokenizers import Tokenizer

    class Windowed(HashEncoder):
        window = 20
        tokenizer = Tokenizer.from_file(str(model / "0_StaticEmbedding" / "tokenizer.json"))

    long = tmp_path / "long.jsonl"
    texts = [" ".join(f"The cell {row} of {n} divides." for row in range(30)) for n in range(9)]
    long.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    done = semsearch.encode(long, tmp_path / "parts", parts=3, encoder=Windowed())
    with (
        semsearch.create("plain", encoder=Windowed()) as plain,
        loaded(tmp_path / "parts", encoder=Windowed()) as collection,
    ):
        plain.add_from(long)
        same(collection, plain)
        assert done.passages == plain.count_passages() > 50
    semsearch.drop("notes")
    refused(tmp_path / "parts", "splits documents by", ModelMismatch)


def test_more_parts_than_documents(tmp_path):
    notes = corpus(tmp_path, count=3)
    with loaded(made(notes, tmp_path / "parts", parts=16)) as collection:
        assert list(collection.ids()) == ["d0", "d1", "d2"]


def test_what_the_model_can_not_encode_is_left_out_and_counted(notes, tmp_path):
    class Picky(HashEncoder):
        def encode_documents(self, texts):
            vectors = super().encode_documents(texts)
            vectors[["d7" in text for text in texts]] = np.nan
            return vectors

    notes.write_text(notes.read_text().replace('"title": "On the ', '"title": "d7 ', 1))
    with pytest.raises(DataError, match="document 'd0'"):
        made(notes, tmp_path / "parts", encoder=Picky())
    assert not list((tmp_path / "parts").glob("*.tmp")), "nothing half is left"
    errors = []
    made(notes, tmp_path / "parts", encoder=Picky(), on_error=errors.append)
    assert len(errors) == 1
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        changes = collection.add_parts(tmp_path / "parts")
        assert (changes.added, changes.skipped) == (99, 1)


def test_metadata_alone_may_change(notes, tmp_path):
    with loaded(made(notes, tmp_path / "one")) as collection:
        notes.write_text(notes.read_text().replace("2003", "1903"))
        changes = collection.add_parts(made(notes, tmp_path / "two"))
        assert (changes.added, changes.changed, changes.unchanged, changes.passages) == (0, 1, 99, 0)
        assert collection.get(["d3"])[0].metadata == {"year": 1903}


def test_an_interrupted_load_goes_on(notes, tmp_path, monkeypatch):
    monkeypatch.setattr("semsearch.parts.part_loading.BATCH_DOCUMENTS", 10)
    folder = made(notes, tmp_path / "parts")

    def stop(step):
        if step.documents >= 50:
            raise KeyboardInterrupt

    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        with pytest.raises(KeyboardInterrupt):
            collection.add_parts(folder, progress=stop)
        assert 0 < len(collection) < 100
        collection.add_parts(folder)
        assert list(collection.ids()) == [f"d{number}" for number in range(100)]


# -------------------------------------------------------------------- gaps, mixtures, strangers


def refused(folder, said, kind=DataError):
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        with pytest.raises(kind, match=said):
            collection.add_parts(folder)
        assert len(collection) == 0, "nothing was taken in"
    semsearch.drop("notes")


def test_a_gap(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    (folder / "part-00002-of-00004.semsearch").unlink()
    refused(folder, "lacks part 2/4")


def test_a_mixture_of_models(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    made(notes, tmp_path / "other", encoder=HashEncoder(salt=1))
    with pytest.raises(ModelMismatch, match="write into another folder"):
        made(notes, folder, encoder=HashEncoder(salt=1))
    name = "part-00002-of-00004.semsearch"
    shutil.copy(tmp_path / "other" / name, folder / name)
    refused(folder, "of different models")
    refused(tmp_path / "other", "not with that of collection 'notes'", ModelMismatch)


def test_a_source_that_changed_between_two_parts(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    (folder / "part-00002-of-00004.semsearch").unlink()
    notes.write_text(notes.read_text().replace("d99", "d999"))
    made(notes, folder)
    refused(folder, "of different sources, or the source was changed")


def test_a_mixture_of_numbers(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    made(notes, folder, parts=3)
    refused(folder, "mixes a part of")


def test_a_part_under_the_name_of_another(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    shutil.copy(folder / "part-00001-of-00004.semsearch", folder / "part-00002-of-00004.semsearch")
    refused(folder, "it was renamed")


def test_strangers_in_the_folder(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    (folder / ".part-00001-of-00004.semsearch.0123456789abcdef.tmp").write_bytes(b"of one that was killed")
    loaded(folder).close()
    semsearch.drop("notes")
    (folder / "notes.txt").write_text("?")
    refused(folder, "is no part of a source")
    (folder / "notes.txt").unlink()
    (folder / "part-00000-of-00004.semsearch").rename(tmp_path / "elsewhere")
    (folder / "part-00000-of-00004.semsearch").symlink_to(tmp_path / "elsewhere")
    refused(folder, "link", semsearch.SemsearchError)
    refused(tmp_path / "nowhere", "no folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no parts")


def test_no_byte_of_a_part_can_change_unseen(notes, tmp_path):
    folder = made(notes, tmp_path / "parts")
    path = folder / "part-00001-of-00004.semsearch"
    whole = path.read_bytes()
    places = [*range(0, len(whole), 97), len(PART_MAGIC), *range(len(whole) - 24, len(whole))]
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        for place in places:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
            with pytest.raises(DataError):
                collection.add_parts(folder)
        for length in (0, 7, 8, 30, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(DataError):
                collection.add_parts(folder)
        assert len(collection) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda block: block[0].__setitem__(0, 10**6), "not in order"),
        (lambda block: block[0].__setitem__(0, True), "no place"),
        (lambda block: block[0].__setitem__(1, 7), "id"),
        (lambda block: block[0].__setitem__(3, "x\ud800"), "text"),
        (lambda block: block[0].__setitem__(4, ["a"]), "metadata"),
        (lambda block: block[0].__setitem__(4, {"a": float("nan")}), "finite|number"),
        (lambda block: block[0].__setitem__(5, [[0, 10**7]]), "not in its text"),
        (lambda block: block[0].__setitem__(5, []), "no passage"),
        (lambda block: block[0].__setitem__(5, [[0, 1], [1, 2]]), "vectors than passages"),
        (lambda block: block.pop(), "vectors than passages"),
        (lambda block: block.append("x"), "no list"),
        (lambda block: block[0].__setitem__(1, "another"), "belongs to another part|not what it says"),
    ],
)
def test_a_part_that_somebody_made_up(notes, tmp_path, change, said):
    """Under digests of its own, so that nothing but its content tells."""
    folder = made(notes, tmp_path / "parts", parts=1)
    forge(folder / "part-00000-of-00001.semsearch", change)
    refused(folder, said)


def test_vectors_that_are_no_numbers(notes, tmp_path):
    for bad in (np.nan, np.inf, 0.0):
        folder = made(notes, tmp_path / f"parts{bad}", parts=1)
        forge(folder / "part-00000-of-00001.semsearch", lambda block: None, vectors=lambda own, bad=bad: own * 0 + bad)
        refused(folder, "finite|NaN|zero")


def forge(path, change, vectors=lambda own: own):
    import hashlib
    from dataclasses import asdict, replace

    part = PartFile(path)
    content = path.read_bytes()
    length, count = np.frombuffer(content, "<u4", 2, len(PART_MAGIC))
    begin = len(PART_MAGIC) + 8
    block = json.loads(content[begin : begin + int(length)])
    change(block)
    numbers = np.frombuffer(content, "<f4", int(count) * part.header.dim, begin + int(length))
    told = json.dumps(block).encode()
    body = np.array([len(told), count], "<u4").tobytes() + told + vectors(numbers).astype("<f4").tobytes()
    body += content[begin + int(length) + len(numbers) * 4 : part._end]
    header = replace(part.header, body=hashlib.blake2b(body, digest_size=16).hexdigest())
    said = json.dumps(asdict(header), sort_keys=True).encode()
    end = np.array([len(said)], "<u4").tobytes() + hashlib.blake2b(said, digest_size=16).digest()
    path.write_bytes(PART_MAGIC + body + said + end)


@pytest.mark.parametrize(
    "field",
    [
        {"part": 9},
        {"parts": 10**9},
        {"dim": 0},
        {"dim": "16"},
        {"documents": -1},
        {"metric": "other"},
        {"encoder": None},
        {"encoder": {"fingerprint": 3}},
        {"sum": "x"},
        {"extra": 1},
    ],
)
def test_a_header_that_somebody_made_up(notes, tmp_path, field):
    import hashlib
    from dataclasses import asdict

    folder = made(notes, tmp_path / "parts", parts=1)
    path = folder / "part-00000-of-00001.semsearch"
    part = PartFile(path)
    said = json.dumps({**asdict(part.header), **field}).encode()
    end = np.array([len(said)], "<u4").tobytes() + hashlib.blake2b(said, digest_size=16).digest()
    path.write_bytes(path.read_bytes()[: part._end] + said + end)
    refused(folder, "no part that 'semsearch encode' made")


# -------------------------------------------------------------------- many processes


def test_64_parts_by_four_processes_that_are_killed(tmp_path):
    """Each document exactly once, whoever died where; all vectors those of a plain run."""
    notes, folder, generator = corpus(tmp_path, count=130), tmp_path / "parts", random.Random(5)

    def child():
        numbers = generator.sample(range(64), 64)
        pid = os.fork()
        if pid == 0:
            try:
                for number in numbers:
                    semsearch.encode(notes, folder, part=(number, 64), encoder=HashEncoder())
                os._exit(0)
            finally:
                os._exit(1)
        return pid

    running, kills, deadline = (
        [child() for _ in range(4)],
        sorted(generator.sample(range(2, 62), 12)),
        time.monotonic() + 120,
    )
    while running:
        assert time.monotonic() < deadline
        there = len(list(folder.glob("part-*"))) if folder.exists() else 0
        if kills and there >= kills[0]:
            kills.pop(0)
            victim = running.pop(generator.randrange(len(running)))
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            running.append(child())
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                assert os.waitstatus_to_exitcode(status) == 0
                running.remove(pid)
    assert not kills
    with semsearch.create("plain", encoder=HashEncoder()) as plain, loaded(folder) as collection:
        plain.add_from(notes)
        same(collection, plain)


@pytest.mark.slow
def test_processes_here_make_all_parts_though_one_is_killed(notes, tmp_path, model, monkeypatch):
    begun = []
    start = subprocess.Popen

    def started(*arguments, **options):
        begun.append(start(*arguments, **options))
        return begun[-1]

    monkeypatch.setattr(drivers.subprocess, "Popen", started)
    done = []

    def progress(so_far):
        if not done:
            begun[0].kill()
        done.append(so_far)

    ended = semsearch.encode(notes, tmp_path / "parts", parts=8, on="local:2", encoder=str(model), progress=progress)
    assert (ended.made + ended.there, ended.documents, len(done)) == (8, 100, 8)
    assert len(begun) >= 2
    assert all(process.poll() is not None for process in begun)
    with loaded(tmp_path / "parts", encoder=str(model)) as collection:
        assert len(collection) == 100


@pytest.mark.slow
def test_an_error_ends_the_run_and_is_told_as_it_is(tmp_path, model):
    notes = corpus(tmp_path, count=10)
    with notes.open("a") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match=r"notes\.jsonl"):
        semsearch.encode(notes, tmp_path / "parts", parts=2, on="local:1", encoder=str(model))


def test_who_ends_each_time_is_given_up(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(drivers.sys, "executable", shutil.which("true"))
    with pytest.raises(semsearch.StorageError, match="was tried 3 times"):
        semsearch.encode(notes, tmp_path / "parts", parts=2, on="local:2")


def test_who_takes_too_long_is_given_up(notes, tmp_path, monkeypatch):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 1000\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(drivers.sys, "executable", str(sleeper))
    with pytest.raises(semsearch.StorageError, match="took too long"):
        semsearch.encode(notes, tmp_path / "parts", parts=2, on="local:2", timeout=0.05)


@pytest.mark.parametrize("on", ["local", "local:0", "local:x", "spark://a", ""])
def test_nobody_of_that_name_makes_parts(notes, tmp_path, on):
    with pytest.raises(UsageError, match="local:N"):
        semsearch.encode(notes, tmp_path / "parts", parts=2, on=on)


def test_an_object_can_not_be_told_to_others(notes, tmp_path):
    with pytest.raises(UsageError, match="by its name"):
        semsearch.encode(notes, tmp_path / "parts", parts=2, on="local:2", encoder=HashEncoder())


# -------------------------------------------------------------------- commands


def test_the_commands(notes, tmp_path, model):
    folder = tmp_path / "parts"
    for part in ("0/2", "1/2"):
        ended = run("encode", notes, "--out", folder, "--part", part, "-m", model)
        assert ended.code == 0, ended.err
        assert ended.out.startswith("parts made 1, there before 0; in them documents ")
    again = run("encode", notes, "--out", folder, "--parts", 2, "-m", model, "--json")
    assert (told := json.loads(again.out))["there"] == 2
    assert (told["made"], told["documents"]) == (0, 100)
    wrong = run("index", "notes", "--from", folder)
    assert wrong.code == 4, wrong.err
    assert "Name the model that made them (--encoder)" in wrong.err
    assert semsearch.list_collections() == []
    ended = run("index", "notes", "--from", folder, "-m", model)
    assert (ended.code, ended.out) == (0, "added 100, changed 0, unchanged 0, skipped 0\n"), ended.err
    assert run("index", notes, "--name", "notes").out == "added 0, changed 0, unchanged 100, skipped 0\n"
    assert run("query", "notes", "planets and stars", "-k", 1).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["index"],
        ["index", "--from", "parts"],
        ["index", "notes", "--from", "parts", "--name", "other"],
        ["index", "notes", "--from", "parts", "--dry-run"],
        ["index", "notes", "--from", "parts", "--title", "x"],
        ["encode", "-", "--out", "parts", "--part", "0/2", "--format", "text"],
        ["encode", "notes.jsonl", "--out", "parts"],
        ["encode", "notes.jsonl", "--out", "parts", "--part", "2/2"],
        ["encode", "notes.jsonl", "--out", "parts", "--part", "0/2", "--parts", "3"],
        ["encode", "notes.jsonl", "--out", "parts", "--part", "0/2", "--on", "local:2"],
        ["encode", "notes.jsonl", "--out", "parts", "--parts", "2", "--encoder", "none"],
        ["encode", "nowhere.jsonl", "--out", "parts", "--parts", "2"],
    ],
)
def test_what_can_not_be_meant(notes, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    ended = run(*arguments)
    assert ended.code == 2, ended
    assert ended.err.startswith("semsearch: ")


def test_documents_of_every_script_and_odd_names(tmp_path):
    odd = tmp_path / "odd.jsonl"
    documents = [
        Document(f"{text}/{n}", text, metadata={"k": [text, None, 1.5]})
        for n, text in enumerate(["日本語 テスト", "שלום", "\u202e%s", "a b"])
    ]
    odd.write_text("".join(json.dumps({"_id": d.id, "text": d.text, **d.metadata}) + "\n" for d in documents))
    with loaded(made(odd, tmp_path / "Teile – ü", parts=2)) as collection:
        assert {document.id: document for document in collection.documents()} == {
            document.id: document for document in documents
        }


def test_a_plan_is_told_as_json(notes):
    from semsearch.ingest.source import Source
    from semsearch.parts.part_encoding import PartsPlan

    plan = PartsPlan(Source.of(notes, options={"title": "year"}), "parts", 2, "model", skip=True)
    assert PartsPlan.from_json(plan.to_json()) == plan
