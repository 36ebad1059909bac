"""`index --dry-run` against what the run then does."""

import re

import pytest
from support.backends import APPROXIMATE
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch import plugins
from semsearch.ingest.estimate import estimate
from semsearch.types import Document


def made_of(count, words):
    return [
        Document(f"d{n}", " ".join(f"w{n * k % 977}" for k in range(words)), metadata={"n": n}) for n in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "words"), [(20, 30), (900, 60), (4000, 8), (2000, 150)])
def test_documents_passages_and_bytes_are_those_to_come(count, words):
    documents = made_of(count, words)
    encoder = HashEncoder(64)
    told = estimate(iter(documents), encoder, passages=True, engine=None)
    assert encoder.calls < 600  # a sample and a few to begin with, however many there are
    with semsearch.create("notes", encoder=HashEncoder(64)) as collection:
        collection.add(documents)
        assert (told.documents, told.passages) == (len(collection), collection.count_passages())
        again = estimate(iter(documents), encoder, passages=True, engine=collection.engine)
        assert (again.documents, again.unchanged, again.passages, again.bytes) == (0, count, 0, 0)
    with semsearch.open("notes"):
        pass  # folds the log in
    with semsearch.open("notes") as collection:
        assert 0.75 < told.bytes / collection.engine.store.bytes() < 1.33


@pytest.mark.slow
@pytest.mark.parametrize("index", APPROXIMATE)
def test_the_index_to_come_is_counted(index):
    if not plugins.index_backend(index).library.installed:
        pytest.skip(f"the library of '{index}' is not installed")
    documents = [Document(f"d{n}", f"whale w{n}") for n in range(5000)]  # of equal vectors an index holds one

    def told(chosen):
        return estimate(iter(documents), HashEncoder(64), passages=True, engine=None, index=chosen).bytes

    with semsearch.create("notes", encoder=HashEncoder(64)) as collection:
        collection.add(documents)
        collection.reindex(index)
        folder = next(folder for folder in (collection.path / "indexes").iterdir() if index in folder.name)
        built = sum(file.stat().st_size for file in folder.iterdir())
    assert 0.67 < (told(index) - told("exact")) / built < 1.5
    assert told("auto") == told("exact")  # so few are scanned


@pytest.mark.slow
def test_many_rows_will_have_an_index_by_themselves():
    documents = [Document(f"d{n}", f"whale w{n % 50}") for n in range(20_000)]

    def told(index, **options):
        given = {"passages": True, "engine": None, "index": index, "options": options}
        return estimate(iter(documents), HashEncoder(8), **given).bytes

    bare = told("exact", codes="none")
    assert told("auto") == told("exact")  # with codes where this processor multiplies them
    assert told("exact", codes="int8") > bare
    assert told("hnsw", M=32) > told("hnsw", M=16) > bare


@pytest.mark.slow
def test_the_command_encodes_a_sample_and_makes_nothing(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    notes = corpus(tmp_path, count=1000)
    ended = run("index", notes, "-m", model, "--dry-run")
    assert re.fullmatch(
        r"1,000 documents to encode \(0 unchanged\), 1,000 passages: about 0:\d\d at [\d,]+ passages a second, "
        r"and [\d.]+ [kM]B on the disk\n",
        ended.out,
    )
    assert run("list").out == ""
    run("index", notes, "-m", model)
    assert run("index", notes, "--dry-run").out.startswith("0 documents to encode (1,000 unchanged), 0 passages")
