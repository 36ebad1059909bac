"""What a user's own reranker or model raises is theirs, and never taken for damage of the database."""

import json
from unittest import mock

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import UsageError
from semsearch.local.store.database import Database
from semsearch.types import Document

ERRORS = [
    json.JSONDecodeError("no JSON", "<html>", 0),
    KeyError("score"),
    ValueError("bad"),
    TypeError("none"),
    IndexError("range"),
    MemoryError("full"),
    OSError("no line"),
    RuntimeError("odd"),
]


class Failing:
    def __init__(self, error):
        self.error = error

    def score(self, query, texts):
        raise self.error


@pytest.fixture
def notes():
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        collection.add([Document(str(i), f"text number {i}") for i in range(40)])
        yield collection


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_rerankers_error_reaches_the_caller_with_its_name(notes, error):
    damage = mock.patch.object(Database, "explain", side_effect=AssertionError("taken for damage"))
    with damage, pytest.raises(type(error)) as raised:
        notes.search("text", rerank=Failing(error))
    assert raised.value is error
    assert "It was raised by the reranker Failing." in error.__notes__
    assert notes.search("text number 3", k=1)[0].id == "3"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_models_error_is_its_own_wherever_it_is_asked(error):
    class Encoder(HashEncoder):
        broken = False

        def encode_queries(self, texts):
            if self.broken:
                raise error
            return super().encode_queries(texts)

    encoder = Encoder()
    with semsearch.create("notes", encoder=encoder) as collection:
        collection.add([Document(str(i), f"text number {i}") for i in range(40)])
        encoder.broken = True
        for ask in (
            lambda: collection.search("text"),
            collection.calibrate,
            lambda: collection.similar(queries=["text"]),
        ):
            damage = mock.patch.object(Database, "explain", side_effect=AssertionError("taken for damage"))
            with damage, pytest.raises(type(error)) as raised:
                ask()
            assert raised.value is error


def test_nothing_of_a_users_runs_inside_a_view(notes):
    open_views = []
    view = notes.engine._view

    class Watching:
        def score(self, query, texts):
            assert not open_views, "a transaction is open while it reranks"
            return np.arange(len(texts), dtype=np.float32)

    def watched():
        context = view()

        class Context:
            def __enter__(self):
                open_views.append(1)
                return context.__enter__()

            def __exit__(self, *error):
                open_views.pop()
                return context.__exit__(*error)

        return Context()

    with mock.patch.object(notes.engine, "_view", watched):
        hits = notes.search("text", k=5, rerank=Watching(), mmr_lambda=0.9, context=1)
    assert len(hits) == 5


@pytest.mark.parametrize("scores", [[1.0], np.zeros((40, 2)), [float("nan")] * 40])
def test_scores_that_are_none_name_the_reranker(notes, scores):
    class Odd:
        def score(self, query, texts):
            return scores

    with pytest.raises(UsageError, match="the reranker Odd gave"):
        notes.search("text", rerank=Odd(), candidates=40)
