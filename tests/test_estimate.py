"""`index --dry-run` against what the run then does."""

import re

import pytest
from command_line import corpus, run, tiny_model
from fakes import HashEncoder

import semsearch
from semsearch.estimate import SAMPLE, estimate
from semsearch.types import Document


def made_of(count, words):
    return [
        Document(f"d{n}", " ".join(f"w{n * k % 977}" for k in range(words)), metadata={"n": n}) for n in range(count)
    ]


@pytest.mark.parametrize(("count", "words"), [(4000, 8), (2000, 150)])
def test_documents_passages_and_bytes_are_those_to_come(count, words):
    documents = made_of(count, words)
    encoder = HashEncoder(64)
    told = estimate(iter(documents), encoder, passages=True, store=None)
    assert encoder.calls == SAMPLE + 8
    with semsearch.create("notes", encoder=HashEncoder(64)) as collection:
        collection.add(documents)
        assert (told.documents, told.passages) == (len(collection), collection.passages)
        bytes_ = collection.store.bytes()
        again = estimate(iter(documents), encoder, passages=True, store=collection.store)
        assert (again.documents, again.unchanged, again.passages, again.bytes) == (0, count, 0, 0)
    with semsearch.open("notes"):
        pass  # folds the log in
    assert 0.5 < told.bytes / bytes_ < 2


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
