"""Words in SQL: what is not looked at can't be among the best, and what is found is what a folder finds."""

import numpy as np
import pytest

import semsearch
from semsearch.postgres import word_search
from semsearch.records import Entry, Record
from semsearch.search.query_syntax import parse
from semsearch.types import Document, Span

pytestmark = pytest.mark.postgres
COMMON = ["the", "of", "what", "in", "report"]
NAMES = [f"name{number}" for number in range(300)]


def entries(count, passages, seed):
    """Documents of words of which some are everywhere and most are rare, in so many passages at most."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        pieces = []
        for _ in range(generator.integers(1, passages + 1)):
            some = generator.choice(COMMON, generator.integers(1, 9)).tolist()
            some += [NAMES[min(int(one), 299)] for one in generator.zipf(1.4, generator.integers(1, 9)) - 1]
            pieces.append(" ".join(generator.permutation(some)) + ". ")
        ends = np.cumsum([len(piece) for piece in pieces]).tolist()
        spans = [Span(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        title = " ".join(generator.choice(NAMES[:40], generator.integers(0, 3)).tolist())
        document = Document(f"d{number}", "".join(pieces), title, {"n": number, "even": number % 2 == 0})
        vectors = generator.standard_normal((len(spans), 4)).astype(np.float32)
        yield Entry(Record.of(document), spans, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def asked(seed, count=5):
    """Queries of rare and common words, some of them of nothing else."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        names = [NAMES[min(int(one), 299)] for one in generator.zipf(1.3, generator.integers(0, 5)) - 1]
        yield " ".join([*generator.choice(COMMON, generator.integers(0 if names else 1, 5)).tolist(), *names])
    yield 'the report "name0 name1" name2'
    yield "report of name0 name3 -name1"


@pytest.fixture(scope="module", params=[1, 4], ids=["a passage", "several passages"])
def both(request, server, tmp_path_factory):
    """The same in a folder and in PostgreSQL, where some documents were changed and some removed."""
    home = server.url(schema=f"words{request.param}")
    with (
        semsearch.create("here", home=tmp_path_factory.mktemp("home"), encoder=None, dim=4) as here,
        semsearch.create("there", home=home, encoder=None, dim=4) as there,
    ):
        for collection in (here, there):
            collection.engine.put(list(entries(900, request.param, seed=1)))
            collection.engine.put(list(entries(40, request.param, seed=2)))
            collection.remove([f"d{number}" for number in range(0, 900, 11)])
        yield here, there


@pytest.mark.parametrize(
    "where",
    [None, "n < 15", "n < 150", "even = true", {"n": {"$gte": 10_000}}],
    ids=["all", "few", "some", "half", "none"],
)
def test_a_folder_finds_the_same(both, where):
    here, there = both
    for by, k in (("document", 1), ("document", 10), (None, 10), (None, 300)):
        for query in asked(seed=k):
            wanted = here.search(query, k=k, mode="lexical", where=where, group_by=by)
            found = there.search(query, k=k, mode="lexical", where=where, group_by=by)
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], rel=3e-6), query
            # what scores the same to the last digits of a float32 may change places
            gap = {round(hit.score, 4) for hit in wanted}
            if len(gap) == len(wanted):
                assert [(hit.id, hit.passage) for hit in found] == [(hit.id, hit.passage) for hit in wanted], query


def test_common_words_are_looked_up_for_what_rare_ones_find(both, monkeypatch):
    _, there = both
    queries = [f"what report of the {name}" for name in NAMES[5:25]]

    def answers():
        return [[(hit.key, hit.score) for hit in there.search(query, k=5, mode="lexical")] for query in queries]

    found, looked_up = answers(), 0
    with there.engine.view() as view:
        for query in queries:
            statement, _, values = view._words._asked(parse(query), 5, None, {}, grouped=True)
            statement += b" SELECT count(*) FROM parted WHERE NOT essential"
            looked_up += view._session.execute(statement, values).fetchone()[0]
    assert looked_up > 2 * len(queries)
    monkeypatch.setattr(word_search, "LOWERED", 0.0)  # so that everything is looked at
    assert answers() == found
