"""Late interaction: what its definition says, the folder it is kept in, and the command that makes one."""

import json
import shutil

import numpy as np
import pytest
import torch
from support import tiny
from support.command_line import run
from support.judged import beir

import semsearch
from semsearch import load_encoder, load_reranker
from semsearch.errors import ModelError, UsageError
from semsearch.reranker.late_interaction import LateInteraction, count_tokens
from semsearch.reranker.load import LATE_INTERACTION

QUERY = "why do vaccines work"


@pytest.fixture(scope="module")
def reranker(encoder):
    return LateInteraction(encoder, count_tokens(encoder, tiny.TEXTS), len(tiny.TEXTS), name="late")


@pytest.fixture
def kept(base, reranker, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(base, folder)
    reranker.save(folder)
    return folder


def by_definition(base, query, texts):
    """The score by transformers' own model, text by text."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModel.from_pretrained(base).eval()

    def tokens(text):
        ids = tokenizer(text, truncation=True, return_tensors="pt")
        with torch.no_grad():
            found = model(**ids).last_hidden_state[0].numpy()
        return ids["input_ids"][0].tolist(), found / np.linalg.norm(found, axis=1, keepdims=True)

    held = [set(tokens(text)[0]) for text in tiny.TEXTS]
    ids, asked = tokens(query)
    rarity = [np.log((len(held) + 1) / (sum(token in own for own in held) + 0.5)) for token in ids]
    weights = np.array([0.0, *rarity[1:-1], 0.0])  # not the special tokens
    return [float((tokens(text)[1] @ asked.T).max(axis=0) @ weights / weights.sum()) for text in texts]


def test_the_score_is_what_its_definition_says(base, reranker):
    texts = [*tiny.TEXTS, "water", "vaccines " * 3]
    assert reranker.score(QUERY, texts) == pytest.approx(by_definition(base, QUERY, texts), abs=1e-5)


def test_a_score_depends_on_no_neighbour(reranker):
    together = reranker.score(QUERY, tiny.TEXTS)
    assert together.dtype == np.float32
    alone = [reranker.score(QUERY, [text])[0] for text in tiny.TEXTS]
    assert together == pytest.approx(np.array(alone), abs=1e-6)
    assert reranker.score(QUERY, []).shape == (0,)


def test_the_same_text_is_the_best_and_an_empty_one_no_error(reranker):
    scores = reranker.score(tiny.TEXTS[0], [*tiny.TEXTS, ""])
    assert int(np.argmax(scores)) == 0
    assert scores[0] == pytest.approx(1, abs=1e-5)
    assert np.isfinite(scores).all()
    assert np.isfinite(reranker.score("", tiny.TEXTS)).all()


def test_where_no_token_is_rarer_all_count_alike(encoder):
    everywhere = np.full(encoder.tokenizer.get_vocab_size(), 10**6)
    one = LateInteraction(encoder, everywhere, 1, name="common")
    none = LateInteraction(encoder, np.zeros_like(everywhere), 1, name="unseen")
    assert one.score(QUERY, tiny.TEXTS) == pytest.approx(none.score(QUERY, tiny.TEXTS), abs=1e-6)


def test_what_is_no_list_of_texts(reranker):
    for query, texts in ((QUERY, "one text"), (QUERY, [1]), (None, ["a"])):
        with pytest.raises(UsageError, match="a list of texts"):
            reranker.score(query, texts)


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_a_folder_opens_as_it_was_kept(kept, reranker):
    again = load_reranker(str(kept), device="cpu", dtype="float32")
    assert np.array_equal(again.score(QUERY, tiny.TEXTS), reranker.score(QUERY, tiny.TEXTS))
    assert again.weight is None
    assert json.loads(json.dumps(again.description()))["kind"] == "late interaction"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rerank_weight": 1.5}, "the weight 1.5; it must be from 0 to 1"),
        ({"rerank_weight": "all"}, "the weight 'all'"),
        ({"rerank_weight": float("nan")}, "the weight nan"),
        ({"documents": 0}, "must say how many documents hold each token"),
        ({"documents": None}, "must say how many"),
        ({"holding": "many"}, "must say how many"),
        ({"holding": [[1], [2, 3]]}, "must say how many"),
        ({"holding": [10**30]}, "must say how many"),
        ({"holding": [-1, 2]}, "must say how many"),
        ({"holding": []}, "must say how many"),
    ],
)
def test_a_file_that_can_not_be_right_is_refused(kept, change, said):
    file = kept / LATE_INTERACTION
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ModelError, match=said):
        load_reranker(str(kept), device="cpu")


def test_more_tokens_than_were_counted_are_rare_and_no_error(kept):
    file = kept / LATE_INTERACTION
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"holding": [1, 2]}), "utf-8")
    assert np.isfinite(load_reranker(str(kept), device="cpu").score(QUERY, tiny.TEXTS)).all()


def test_a_model_without_token_embeddings_is_refused(tmp_path):
    tiny.weights(tmp_path / "0_StaticEmbedding", embedding__weight=(len(tiny.SPECIAL + tiny.WORDS), 16))
    tiny.generic_tokenizer(tmp_path / "0_StaticEmbedding")
    tiny.modules_json(tmp_path, ("0_StaticEmbedding", f"{tiny.OLD}StaticEmbedding"))
    encoder = load_encoder(str(tmp_path))
    with pytest.raises(ModelError, match="no embeddings of single tokens"):
        LateInteraction(encoder, np.ones(5, np.int64), 1, name="late")


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_makes_one_that_searches(base, tmp_path):
    data = beir(tmp_path / "toy")
    out = tmp_path / "out"
    options = ["--kind", "late-interaction", "--model", base, "--held-out", 2, "--depth", 10]
    ended = run("train-reranker", data, "--out", out, *options)
    assert ended.code == 0, ended.err
    made = load_reranker(str(out))
    assert f"is **{made.weight:g}**" in (out / "README.md").read_text("utf-8")
    assert ("so it counts nothing" if made.weight == 0 else f"counts {made.weight:.0%}, which it will") in ended.err
    with semsearch.create("notes", home=tmp_path / "home", encoder=str(base)) as notes:
        notes.add([{"id": str(i), "text": text} for i, text in enumerate(tiny.TEXTS)])
        hits = notes.search(QUERY, 3, mode="hybrid", rerank=str(out))
    assert {hit.rerank_weight for hit in hits} == {made.weight}
    again = run("train-reranker", data, "--out", out, *options)
    assert (again.code, "not empty" in again.err) == (2, True)


def test_what_trains_is_no_option_of_it(tmp_path):
    ended = run(
        "train-reranker", beir(tmp_path / "toy"), "--out", tmp_path / "o", "--kind", "late-interaction", "--lr", 1
    )
    assert (ended.code, "is made without --lr" in ended.err) == (2, True)
    assert not (tmp_path / "o").exists()
