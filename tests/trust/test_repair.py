"""Any two damages to the tables of rows and passages: no wrong answer before `repair`, and the right ones after it."""

import random
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fakes import HashEncoder
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import semsearch
from semsearch.chunking import MIN_SIZE
from semsearch.local.store.segments import PLACE_DTYPE
from semsearch.types import Document

pytestmark = pytest.mark.trust

QUERIES = ["topic3 number 5", "topic1"]


class Narrow(HashEncoder):
    """An encoder that reads few words at once: documents have two passages."""

    window = MIN_SIZE
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()


ONE_PASSAGE = "(SELECT key FROM passages ORDER BY key LIMIT 1 OFFSET {n} % (SELECT max(count(*), 1) FROM passages))"
ONE_REMOVED = "(SELECT key FROM removed ORDER BY key LIMIT 1 OFFSET {n} % (SELECT max(count(*), 1) FROM removed))"
DAMAGES = {
    "another key": f"UPDATE OR IGNORE passages SET key = key + {{n}} WHERE key = {ONE_PASSAGE}",
    "another document": f"UPDATE passages SET doc = {{n}} WHERE key = {ONE_PASSAGE}",
    "another start": f'UPDATE passages SET "start" = {{n}} - 3 WHERE key = {ONE_PASSAGE}',
    "another end": f'UPDATE passages SET "end" = 1 << {{n}} WHERE key = {ONE_PASSAGE}',
    "no passage": f"DELETE FROM passages WHERE key = {ONE_PASSAGE}",
    "a passage too many": "INSERT OR IGNORE INTO passages VALUES ({n}, {m}, 0, 4)",
    "half of the passages": "DELETE FROM passages WHERE key % 2 = {n} % 2",
    "nothing removed": "DELETE FROM removed",
    "removed too few": f"DELETE FROM removed WHERE key = {ONE_REMOVED}",
    "removed too many": "INSERT OR IGNORE INTO removed VALUES ({m}, {n})",
    "another one removed": f"UPDATE OR IGNORE removed SET key = {{m}} WHERE key = {ONE_REMOVED}",
    "removed in the future": f"UPDATE removed SET version = version + {{n}} WHERE key = {ONE_REMOVED}",
    "counted wrongly": "UPDATE state SET masked = {n}",
    "a document lost": "DELETE FROM documents WHERE doc = {n}",
}


def places(connection, folder, draw):
    """One number of one place in a segment is another one."""
    first, blob = draw.choice(connection.execute("SELECT first, places FROM segments").fetchall())
    changed = np.frombuffer(blob, PLACE_DTYPE).copy()
    changed[draw.choice(["doc", "start", "end"])][draw.randrange(len(changed))] ^= 1 << draw.randrange(20)
    connection.execute("UPDATE segments SET places = ? WHERE first = ?", (changed.tobytes(), first))


def vectors(connection, folder, draw):
    """One bit of one vector flipped."""
    (path,) = folder.glob("vectors-*.f32")
    changed = bytearray(path.read_bytes())
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    path.write_bytes(changed)


def statement(name):
    """The damage that a statement does."""
    return lambda connection, folder, draw: connection.execute(
        DAMAGES[name].format(n=draw.randrange(1, 70), m=draw.randrange(1, 70))
    )


WAYS = {**{name: statement(name) for name in DAMAGES}, "a place": places, "a vector": vectors}


def documents(numbers, shift=0):
    """Each of two passages, the last one of one."""
    more = "word " * (MIN_SIZE - 2)
    texts = {i: f"document number {i}. {more}. Topic{(i + shift) % 7} it was about." for i in numbers}
    return [Document(f"d{i}", text if i != 59 else "topic3", metadata={"n": i}) for i, text in texts.items()]


def answers(collection):
    found = collection.search_many(QUERIES, k=200, exact=True, group_by=None)
    return [sorted((hit.document.id, hit.text, hit.score) for hit in hits) for hits in found]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A collection of several commits, with changed and removed documents, and its answers."""
    home = tmp_path_factory.mktemp("repair")
    with semsearch.create("torn", encoder=Narrow(), home=home / "base") as collection:
        collection.add(documents(range(40)))
        collection.add(documents(range(5, 9), shift=1))
        collection.remove([f"d{i}" for i in range(0, 10, 3)])
        collection.add(documents(range(40, 60)))
        assert collection.count_passages() == 2 * len(collection) - 1
        return home, answers(collection)


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["a place", "half of the passages"], 27442561)  # a row of an unknown document, beside others of it
@example(["another one removed", "half of the passages"], 0)
@example(["a passage too many", "nothing removed"], 1)
@given(st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=2), st.integers(0, 1 << 30))
def test_no_damage_gives_wrong_answers_and_repair_gives_the_right_ones(base, ways, seed):
    home, truth = base
    shutil.rmtree(home / "copy", ignore_errors=True)
    shutil.copytree(home / "base", home / "copy")
    folder = home / "copy" / "torn"
    with closing(sqlite3.connect(folder / "collection.sqlite")) as connection, connection:
        for way in ways:
            WAYS[way](connection, folder, random.Random(seed))
        kept = {identity for (identity,) in connection.execute("SELECT id FROM documents")}
    truth = [[one for one in found if one[0] in kept] for found in truth]
    with semsearch.open("torn", home=home / "copy", encoder=Narrow()) as collection:
        assert all(set(found) <= set(right) for found, right in zip(answers(collection), truth, strict=True))
        collection.repair()
        assert answers(collection) == truth
        assert collection.check(deep=True) == []
        assert collection.repair() == []
    with semsearch.open("torn", home=home / "copy", encoder=Narrow()) as collection:
        assert answers(collection) == truth
        found = collection.search("number", mode="lexical", k=80)
        assert {hit.document.id for hit in found} == kept - {"d59"}
