"""A batch is encoded while the one before is committed and the next one is read: with the outcome of one at a time."""

import threading

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, StorageError
from semsearch.ingest import ingestion
from semsearch.types import Document

PATIENCE = 30  # seconds, after which what is waited for did not happen


class Watched(HashEncoder):
    """Does something of a test's before it encodes; notes the thread."""

    def __init__(self, before=lambda number: None):
        super().__init__(8)
        self.before = before
        self.threads = []
        self.batches = []

    def encode_documents(self, texts):
        self.threads.append(threading.get_ident())
        self.batches.append(list(texts))
        self.before(len(self.batches))
        return super().encode_documents(texts)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(ingestion, "READ_DOCUMENTS", 2)
    monkeypatch.setattr(ingestion, "BATCH_DOCUMENTS", 4)


def documents(count, first=0):
    return [Document(f"d{n}", f"text {n}", metadata={"n": n}) for n in range(first, first + count)]


def state(collection):
    with collection.engine.view() as view:
        keys, vectors = view.arrays()
        passages = [(p.id, p.text) for p in view.passages_of(keys)]
        return passages, vectors.tolist(), sorted((d.id, d.text, str(d.metadata)) for d in view.documents())


def made(memory, encoder=None):
    return semsearch.create("ahead", encoder=encoder or Watched(), home=memory)


def test_the_one_before_is_committed_and_the_next_one_read_meanwhile(memory):
    committed, read = threading.Event(), threading.Event()

    def before(number):
        if number == 2:
            assert committed.wait(PATIENCE), "the first batch was not committed while the second was encoded"
            assert read.wait(PATIENCE), "the third batch was not read while the second was encoded"

    with made(memory, Watched(before)) as collection:
        put = collection.engine.put

        def noted(*given, **named):
            written = put(*given, **named)
            committed.set()
            return written

        def given():
            for document in documents(12):
                if document.id == "d9":
                    read.set()
                yield document

        collection.engine.put = noted
        result = collection.add(given(), maintain=False)
        assert (result.added, result.passages) == (12, 12)
        assert [len(batch) for batch in collection.encoder.batches] == [4, 4, 4]


def test_only_the_encoder_is_asked_in_another_thread(memory):
    own, threads = threading.get_ident(), []
    with made(memory) as collection:
        for name in ("put", "known"):
            ask = getattr(collection.engine, name)
            setattr(
                collection.engine,
                name,
                lambda *given, ask=ask, **named: (threads.append(threading.get_ident()), ask(*given, **named))[1],
            )
        collection.add(documents(12), progress=lambda _: threads.append(threading.get_ident()), maintain=False)
        assert {*threads} == {own}
        assert own not in collection.encoder.threads
        collection.add(documents(2, first=100), maintain=False)
        assert collection.encoder.threads[-1] == own  # there is nothing to be done meanwhile


def test_the_outcome_is_that_of_one_batch_at_a_time(memory):
    given = documents(10)  # the second batch is on its way when two of its ids come again
    given += [Document("d5", "text 5", metadata={"n": 5}), Document("d6", "another"), Document("d1", "text 1")]
    given += [*documents(6, first=20), Document("d20", "later")]
    with made(memory) as ahead:
        found = ahead.add(iter(given), maintain=False)
        outcome = state(ahead)
    with semsearch.create("one", encoder=Watched(), home=memory) as single:
        total = ingestion.IngestResult()
        for start in range(0, len(given), 2):  # each run commits before the next one looks anything up
            total += single.add(given[start : start + 2], maintain=False)
        assert state(single)[2] == outcome[2]
    assert len(outcome[0]) == 16
    assert dict(outcome[0])["d6"] == "another"
    assert dict(outcome[0])["d20"] == "later"
    assert found.added == total.added == 16
    assert (found.changed, found.unchanged) == (total.changed, total.unchanged) == (3, 1)
    for (_, text), vector in zip(outcome[0], outcome[1], strict=True):
        assert np.allclose(HashEncoder(8).encode_documents([text])[0], vector, atol=1e-6)


def test_nothing_is_committed_behind_what_could_not_be(memory):
    with made(memory) as collection:
        put, numbers = collection.engine.put, []

        def failing(*given, **named):
            numbers.append(len(numbers))
            if len(numbers) == 2:
                raise StorageError("the disk is full.")
            return put(*given, **named)

        collection.engine.put = failing
        with pytest.raises(StorageError, match="full"):
            collection.add(documents(20), maintain=False)
        assert [document.id for document in collection.documents()] == ["d0", "d1", "d2", "d3"]
        assert len(numbers) == 2


def test_what_was_read_before_an_error_stays(memory):
    def given():
        yield from documents(9)
        raise DataError("line 10 is no document.")

    with made(memory) as collection:
        with pytest.raises(DataError, match="line 10"):
            collection.add(given(), maintain=False)
        assert len(collection) == 8


def test_an_interrupt_ends_what_is_encoded(memory):
    begun, ended = threading.Event(), []

    def before(number):
        if number == 2:
            begun.set()
            try:
                for _ in range(10 * PATIENCE):
                    threading.Event().wait(0.1)
            except KeyboardInterrupt:
                ended.append(number)
                raise

    def given():
        yield from documents(9)
        assert begun.wait(PATIENCE)
        raise KeyboardInterrupt

    with made(memory, Watched(before)) as collection:
        with pytest.raises(KeyboardInterrupt):
            collection.add(given(), maintain=False)
        assert ended == [2]
        assert len(collection) == 4
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("semsearch-encoder")]
        collection.encoder.before = lambda number: None
        assert collection.add(documents(9), maintain=False).added == 5


def test_documents_that_can_not_be_encoded_are_told_in_their_order(memory):
    def refuse(texts):
        if any("text 5" in text or "text 2" in text for text in texts):
            raise DataError("no")

    encoder = Watched()
    encode = encoder.encode_documents
    encoder.encode_documents = lambda texts: (refuse(texts), encode(texts))[1]
    own, told = threading.get_ident(), []
    with made(memory, encoder) as collection:
        result = collection.add(
            documents(12), on_error=lambda error: told.append((threading.get_ident(), str(error))), maintain=False
        )
        assert [thread for thread, _ in told] == [own, own]
        assert ["'d2'" in told[0][1], "'d5'" in told[1][1]] == [True, True]
        assert (result.added, result.skipped) == (10, 2)
        with pytest.raises(DataError, match="'e2'"):
            collection.add(
                [Document("new", "first"), *(Document(f"e{n}", f"text {n}") for n in range(12))], maintain=False
            )


def test_what_comes_back_while_its_change_is_on_its_way_is_as_it_was(memory):
    """The last of an id wins, also where it is what was stored, and what came between is not committed yet."""
    with made(memory) as collection:
        collection.add([Document("twice", "as it was", metadata={"n": 1}), Document("other", "as it was")])
        changed = [Document("twice", "changed"), *documents(3), *documents(2, first=3)]
        changed += [
            Document("other", "as it was", metadata={"n": 2}),
            Document("twice", "as it was", metadata={"n": 1}),
        ]
        collection.add(changed)
        twice, other = collection.get(["twice", "other"])
        assert (twice.text, twice.metadata) == ("as it was", {"n": 1})
        assert other.metadata == {"n": 2}
