"""Windows of long passages, ties, orders, bad input, and checkpoints that are refused."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support import tiny
from support.reranker_checkpoints import PASSAGES, QUERY, amend, causal, classifier, peer

import semsearch
from semsearch import load_reranker
from semsearch.errors import DataError, EncodingFailed, ModelError, UsageError
from semsearch.reranker.load import DEFAULT_RERANKER
from semsearch.reranker.text_pairs import Parts, SpecialTokens, Windows

RAW = torch.nn.Identity()
WORDS = [word for word in tiny.WORDS if not word.startswith("##")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return classifier(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def reranker(folder):
    return load_reranker(str(folder), device="cpu", dtype="float32")


def rng_text(rng, words):
    return " ".join(rng.choice(WORDS, words))


# ---- windows --------------------------------------------------------------------------------------------------------


def test_a_long_passage_gets_the_score_of_its_best_window(reranker):
    rng = np.random.default_rng(0)
    long = rng_text(rng, 200).split()
    room = reranker.window - len(QUERY.replace("?", " ?").split())
    score = reranker.score(QUERY, [" ".join(long)])[0]
    starts = range(0, len(long) - room + 1)
    every = reranker.score(QUERY, [" ".join(long[start : start + room]) for start in starts])
    hits = [start for start in starts if abs(every[start] - score) < 1e-6]
    assert hits  # it is the score of one of the windows
    first = reranker.score(QUERY, [" ".join(long[:room])])[0]
    last = reranker.score(QUERY, [" ".join(long[-room:])])[0]
    assert score >= max(first, last) - 1e-6  # the first and the last window are among them


def test_windows_cover_a_passage_with_overlaps(folder):
    reader = SpecialTokens(load_reranker(str(folder))._windows.reader.tokenizer)
    windows = Windows(reader, 64, windowed=True)
    for length in (53, 54, 60, 101, 102, 999):
        passage = list(range(length))
        parts = Parts([1], list(range(8)), [2], passage, [3])
        seen = [window.passage for window in windows._windows(parts)]
        assert sorted(set(itertools.chain.from_iterable(seen))) == passage
        assert all(len(window) <= 53 for window in seen)
        assert all(after[0] < before[-1] for before, after in itertools.pairwise(seen))
        assert (len(seen) == 1) is (length <= 53)


@pytest.mark.slow
def test_what_just_fits_is_one_window_and_as_the_peer_has_it(folder, reranker):
    theirs = peer(folder)
    rng = np.random.default_rng(1)
    room = reranker.window - 5
    pairs = [(rng_text(rng, 5), rng_text(rng, length)) for length in (room - 1, room)]
    assert np.allclose(reranker.predict(pairs), theirs.predict(pairs), atol=1e-6)
    assert reranker._windows.pieces(pairs)[0].pairs.tolist() == [0, 1]


@pytest.mark.slow
def test_a_long_query_leaves_the_passage_half_and_is_counted(folder):
    reranker = load_reranker(str(folder), dtype="float32")
    rng = np.random.default_rng(2)
    query, passage = rng_text(rng, 200), rng_text(rng, 10)
    theirs = peer(folder)
    assert np.allclose(
        reranker.score(query, [passage, "cat"]), theirs.predict([(query, passage), (query, "cat")]), atol=1e-6
    )
    assert reranker.truncated == 1
    reranker.score(QUERY, [passage * 50])
    assert reranker.truncated == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 10_000))
def test_several_labels_cut_pairs_as_the_peer_does(tmp_path_factory, query, passage, seed):
    made = _three_labels(tmp_path_factory)
    rng = np.random.default_rng(seed)
    pairs = [(rng_text(rng, query), rng_text(rng, passage))]
    assert np.allclose(made[0].predict(pairs), made[1].predict(pairs), atol=1e-5)


_MADE = []


def _three_labels(factory):
    if not _MADE:
        made = classifier(factory.mktemp("three"), labels=3)
        _MADE.extend([load_reranker(str(made), dtype="float32"), peer(made)])
    return _MADE


def test_a_causal_reranker_keeps_the_end_of_its_template(tmp_path):
    short = load_reranker(str(causal(tmp_path, length=170)), dtype="float32")
    passage = "the cat sat on the mat " * 60
    assert np.isfinite(short.score(QUERY, [passage, "cat"])).all()
    pieces, _ = short._windows.pieces([(QUERY, passage)])
    assert len(pieces.lengths) > 3
    tail = short._windows.reader.tokenizer.encode("</think>\n", add_special_tokens=False).ids
    for piece in np.split(pieces.ids, np.cumsum(pieces.lengths)[:-1]):
        assert len(piece) <= 170
        assert piece[-len(tail) :].tolist() == tail


# ---- batches, orders, ties ------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=90).map(" ".join), max_size=12), st.integers(1, 5))
def test_company_changes_no_score(reranker, passages, batch_size):
    together = reranker.score(QUERY, passages)
    assert together.shape == (len(passages),)
    alone = [reranker.score(QUERY, [passage])[0] for passage in passages]
    assert np.allclose(together, alone, atol=1e-6)
    batched = reranker.predict([(QUERY, passage) for passage in passages], batch_size=batch_size)
    assert np.allclose(together, batched, atol=1e-6)


def test_of_equal_passages_the_earlier_leads(reranker):
    order = [entry["corpus_id"] for entry in reranker.rank(QUERY, ["cat", "dogs", "cat", "dogs", "cat"])]
    assert order in ([0, 2, 4, 1, 3], [1, 3, 0, 2, 4])


def test_ranks_by_logits_where_a_sigmoid_ties(tmp_path):
    made = classifier(tmp_path)
    tensors = load_file(made / "model.safetensors")
    tensors["classifier.bias"] += 40  # all sigmoids are 1
    tensors["classifier.weight"] *= 20
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    reranker = load_reranker(str(made), dtype="float32")
    logits = reranker.predict([(QUERY, passage) for passage in PASSAGES], activation=RAW)
    assert (reranker.score(QUERY, PASSAGES) == 1).all()
    ranking = reranker.rank(QUERY, PASSAGES)
    assert [entry["corpus_id"] for entry in ranking] == np.argsort(-logits, kind="stable").tolist()


def test_nothing_gives_nothing(reranker):
    assert reranker.score(QUERY, []).shape == (0,)
    assert reranker.predict([]).shape == (0,)
    assert reranker.rank(QUERY, []) == []
    assert reranker.rank(QUERY, iter(PASSAGES), return_documents=True) == reranker.rank(
        QUERY, PASSAGES, return_documents=True
    )
    assert reranker.score(QUERY, iter(PASSAGES)).tolist() == reranker.score(QUERY, PASSAGES).tolist()
    pairs = [(QUERY, passage) for passage in PASSAGES]
    assert reranker.predict(iter(pairs)).tolist() == reranker.predict(pairs).tolist()
    assert reranker.score("", ["", "cat"]).shape == (2,)


def test_a_small_budget_changes_no_score(folder, reranker):
    small = load_reranker(str(folder), dtype="float32", batch_tokens=64)
    assert np.allclose(small.score(QUERY, PASSAGES), reranker.score(QUERY, PASSAGES), atol=1e-6)


def test_the_names_and_numbers_for_people(folder, reranker):
    assert reranker.name == str(folder)
    assert reranker.description()["labels"] == 1
    assert reranker.description()["activation"] == "Sigmoid"
    json.dumps(reranker.description())
    assert "1 labels" in repr(reranker)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [("a", "b"), ["ab"], [("a",)], [("a", 1)], [("a", "b", "c")], "ab"])
def test_what_is_no_list_of_pairs(reranker, pairs):
    with pytest.raises(UsageError, match="pair"):
        reranker.predict(pairs)


def test_arguments_that_can_not_be(reranker):
    with pytest.raises(UsageError, match="k must be at least 1"):
        reranker.rank(QUERY, ["cat"], top_k=0)
    with pytest.raises(UsageError, match="batch_size is 0"):
        reranker.predict([(QUERY, "cat")], batch_size=0)
    with pytest.raises(UsageError, match="one query"):
        reranker.score(QUERY, "cat")
    with pytest.raises(DataError, match="surrogate"):
        reranker.score(QUERY, ["\ud800"])


def test_several_labels_order_nothing(tmp_path_factory):
    classes, _ = _three_labels(tmp_path_factory)
    with pytest.raises(UsageError, match=r"3 scores .* predict\(pairs\)"):
        classes.rank(QUERY, PASSAGES)
    with pytest.raises(UsageError, match="3 scores"):
        classes.score(QUERY, PASSAGES)


def test_a_model_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match=rf"'{DEFAULT_RERANKER}' was not found.*HF_HUB_OFFLINE"):
        load_reranker()
    with pytest.raises(ModelError, match="there is no folder"):
        load_reranker("./nowhere")


def test_a_short_name_belongs_to_the_cross_encoders(tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "models--cross-encoder--tiny"
    classifier(cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "abc" / ".gitattributes").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    reranker = load_reranker("tiny")
    assert (reranker.name, reranker.where) == ("cross-encoder/tiny", "the Hugging Face cache")


def test_not_finite_weights_name_the_passage(tmp_path):
    made = classifier(tmp_path)
    tensors = load_file(made / "model.safetensors")
    tensors["classifier.bias"][0] = torch.nan
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncodingFailed, match="the cat"):
        load_reranker(str(made), dtype="float32").score(QUERY, ["the cat"])


def test_an_encoder_is_no_reranker(tmp_path):
    tiny.bert(tmp_path / "bert")
    with pytest.raises(ModelError, match=r"BertModel.*train-reranker"):
        load_reranker(str(tmp_path / "bert"))
    tiny.modules_json(tmp_path / "bert", ("", tiny.OLD + "Transformer"))
    with pytest.raises(ModelError, match="SentenceTransformer"):
        load_reranker(str(tmp_path / "bert"))


@pytest.mark.parametrize("family", ["Bert", "MegatronBert"])
@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "inner"])
def test_weights_that_are_not_the_declared_ones(tmp_path, family, change):
    made = classifier(tmp_path, family)
    tensors = load_file(made / "model.safetensors")
    match change:
        case "missing":
            del tensors["classifier.weight"]
        case "unexpected":
            tensors["classifier.extra.weight"] = torch.zeros(3)
        case "shape":
            tensors["classifier.weight"] = torch.zeros(2, 16)
        case "inner":
            del tensors[next(name for name in tensors if "layer.1" in name)]
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError):
        load_reranker(str(made))


def test_code_of_its_own_is_not_run(tmp_path):
    made = classifier(tmp_path)
    amend(made / "config.json", auto_map={"AutoModelForSequenceClassification": "modeling.Model"})
    with pytest.raises(ModelError, match="runs no code from checkpoints"):
        load_reranker(str(made))


def test_an_activation_that_is_not_torchs(tmp_path):
    made = classifier(tmp_path)
    amend(made / "config.json", sentence_transformers={"activation_fn": "os.system"})
    with pytest.raises(ModelError, match=r"os\.system"):
        load_reranker(str(made))


def test_chains_that_are_no_rerankers(tmp_path):
    made = tiny.bert(tmp_path)
    tiny.pooling(made / "1_Pooling", pooling_mode_cls_token=True)
    tiny.modules_json(made, ("", tiny.OLD + "Transformer"), ("1_Pooling", tiny.OLD + "Pooling"))
    tiny.write_json(made / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    with pytest.raises(ModelError, match="Transformer, Pooling"):
        load_reranker(str(made))


def test_causal_models_that_are_no_rerankers(tmp_path):
    users = "{%- for message in messages if message.role == 'user' %}{{ message.content }}{% endfor %}"
    with pytest.raises(ModelError, match="role 'query'"):
        load_reranker(str(causal(tmp_path / "chat", template=users)))
    with pytest.raises(ModelError, match="without a chat template"):
        load_reranker(str(causal(tmp_path / "none", template=None)))
    with pytest.raises(ModelError, match="role 'query'"):
        load_reranker(str(causal(tmp_path / "raises", template="{{ raise_exception('only users') }}")))


def test_it_is_the_protocols_reranker():
    assert semsearch.load_reranker is load_reranker
    assert "load_reranker" in semsearch.__all__
