"""Any sequence of operations against a dictionary and brute force, with a second reader looking on."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.fakes import HashEncoder
from support.workload import BACKENDS, DIM, FULL, NAME, WORDS, documents, through_indexes, wrong_answers

import semsearch
from semsearch.types import Document

pytestmark = pytest.mark.trust

IDS = st.integers(0, 79).map(lambda number: f"b{number}")  # the first 64 of them are there from the beginning
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
NUMBERS = st.integers(0, 9)


@st.composite
def some_documents(draw):
    numbers = draw(st.lists(IDS, min_size=1, max_size=6))  # an id may come twice: the last one wins
    unique = draw(st.integers(0, 10**6))
    return [
        Document(
            identity,
            f"{draw(TEXTS)} {identity} {unique + place}",
            draw(st.sampled_from(["", "a title"])),
            {"n": draw(NUMBERS)},
        )
        for place, identity in enumerate(numbers)
    ]


class Collections(RuleBasedStateMachine):
    """A collection larger than any pool of candidates, its model, and a reader in the same home."""

    @initialize(backend=st.sampled_from(sorted(BACKENDS)))
    def begin(self, backend):
        self.home = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.model = {entry.id: entry for entry in documents(0, "b", 64)}
        self.collection = semsearch.create(NAME, encoder=HashEncoder(DIM), home=self.home)
        self.collection.add(list(self.model.values()))
        self.collection.reindex(backend, BACKENDS[backend])
        self.reader = self.opened()
        self.tuned = False

    def opened(self):
        return semsearch.open(NAME, home=self.home, encoder=HashEncoder(DIM))

    @rule(batch=some_documents())
    def add(self, batch):
        last = {entry.id: entry for entry in batch}
        new = sum(identity not in self.model for identity in last)
        changed = sum(identity in self.model and entry != self.model[identity] for identity, entry in last.items())
        changes = self.collection.add(batch)
        assert (changes.added, changes.changed) == (new, changed)
        self.model |= last

    @rule(ids=st.lists(IDS, min_size=1, max_size=4, unique=True), number=NUMBERS)
    def relabel(self, ids, number):
        batch = [replace(self.model[identity], metadata={"n": number}) for identity in ids if identity in self.model]
        calls = self.collection.encoder.calls
        self.collection.add(batch)
        assert self.collection.encoder.calls == calls  # metadata alone encodes nothing
        self.model |= {entry.id: entry for entry in batch}

    @rule(ids=st.lists(IDS, min_size=1, max_size=8))
    def remove(self, ids):
        there = {identity for identity in ids if identity in self.model}
        assert self.collection.remove(ids) == len(there)
        for identity in there:
            del self.model[identity]

    @rule(backend=st.sampled_from(sorted(BACKENDS)))
    def reindex(self, backend):
        self.collection.reindex(backend, BACKENDS[backend])

    @precondition(lambda self: len(self.model) > 1)
    @rule(recall=st.sampled_from([0.5, 0.99]))
    def tune(self, recall):
        if self.collection.info()["index"]["state"] != "none":  # an empty collection loses it
            self.collection.tune(recall)
            self.tuned = True
        self.collection.calibrate()

    @rule()
    def index_words(self):
        self.collection.engine._lexical_indexing.rebuild()

    @rule(word=st.sampled_from(WORDS), reading=st.booleans())
    def search_by_words(self, word, reading):
        """As the model has it: the words of these texts have no endings to be cut."""
        searched = self.reader if reading else self.collection
        hits = searched.search(word, 100, mode="lexical")
        assert {hit.document.id for hit in hits} == {i for i, entry in self.model.items() if word in entry.text.split()}
        assert [hit.document for hit in hits] == [self.model[hit.document.id] for hit in hits]

    @rule()
    def compact(self):
        self.collection.compact()

    @rule()
    def reopen(self):
        self.collection.close()
        self.collection = self.opened()

    @rule()
    def another_reader(self):
        self.reader.close()
        self.reader = self.opened()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def get(self, data):
        ids = [*data.draw(st.lists(IDS, max_size=3)), "unknown"]
        assert self.reader.get(ids) == [self.model.get(identity) for identity in ids]

    @invariant()
    def all_is_as_in_the_model(self):
        if hasattr(self, "collection"):
            assert {entry.id: entry for entry in self.reader.documents()} == self.model
            assert wrong_answers(self.collection, self.model, self.tuned) == []
            assert wrong_answers(self.reader, self.model, self.tuned) == []

    def teardown(self):
        if hasattr(self, "collection"):
            assert self.collection.check(deep=True) == []
            self.collection.close()
            self.reader.close()
            shutil.rmtree(self.home)


Collections.TestCase.settings = settings(
    max_examples=200 if FULL else 6,
    stateful_step_count=30 if FULL else 12,
    derandomize=not FULL,
    suppress_health_check=list(HealthCheck),
)


class TestCollections(Collections.TestCase):
    @pytest.fixture(autouse=True)
    def _as_large(self, monkeypatch):
        through_indexes(monkeypatch)
