"""Late-interaction encoders of every published layout give what sentence-transformers' MultiVectorEncoder gives."""

import json
import warnings

import numpy as np
import pytest
from support import late_checkpoints as late
from support import tiny
from support.tiny import TEXTS

from semsearch import load_encoder, load_multi_vector_encoder, load_sparse_encoder
from semsearch.encoder.multi_vector_encoder import likest, max_similarity
from semsearch.encoder.token_pooling import HierarchicalTokenPooling
from semsearch.errors import DataError, EncodingFailed, MissingDependency, ModelError, UsageError

LONG = " ".join(word for word in reversed(tiny.WORDS) if not word.startswith("##"))  # none twice: pooling knows no ties
DOCUMENTS = [*TEXTS, LONG, "", ". , !"]
FIXED = {"strategy": "fixed", "attend": False, "length": 16, "token": None}
LEAST = {"strategy": "min", "attend": False, "length": 12, "token": None}
PROMPTS = {"query": "query : ", "document": "passage : "}
LAYOUTS = {
    "version 6": lambda folder: late.version_6(folder),
    "expanded": lambda folder: late.version_6(folder, expansion=FIXED, lengths={"document_length": 12}),
    "expanded and seen": lambda folder: late.version_6(folder, expansion=FIXED | {"attend": True}, prompts=PROMPTS),
    "expanded at least": lambda folder: late.version_6(folder, expansion=LEAST, lengths={"query_length": 20}),
    "expanded by a word": lambda folder: late.version_6(folder, expansion=LEAST | {"token": "city"}),
    "lengths": lambda folder: late.version_6(folder, lengths={"query_length": 5, "document_length": 9}),
    "skipped": lambda folder: late.version_6(
        folder, mask={"skiplist_words": [",", ".", "the", "unheard"], "skiplist_tasks": ["query", "document"]}
    ),
    "kept": lambda folder: late.version_6(folder, mask={"keep_only_token_ids": list(range(5, 30))}),
    "pooled": lambda folder: late.version_6(
        folder, pooling={"pool_factor": 2.0, "num_protected_tokens": 1, "normalize_embeddings": True}
    ),
    "pooled, not scaled": lambda folder: late.version_6(
        folder, pooling={"pool_factor": 1.5, "num_protected_tokens": 2, "tasks": ["query", "document"]}
    ),
    "means": lambda folder: late.version_6(folder, similarity="meanmaxsim"),
    "ModernBERT": lambda folder: late.version_6(folder, family="ModernBert", expansion=FIXED),
    "RoBERTa": lambda folder: late.version_6(folder, family="Roberta", expansion=FIXED, pad_token_id=0),
    "PyLate 3": lambda folder: late.pylate(folder),
    "PyLate 1": lambda folder: late.pylate(folder, third=False),
    "PyLate, seen": lambda folder: late.pylate(folder, beside={"attend_to_expansion_tokens": True}),
    "PyLate without expansion": lambda folder: late.pylate(folder, beside={"do_query_expansion": False}),
    "PyLate without words": lambda folder: late.pylate(folder, beside={"skiplist_words": []}),
    "PyLate, words not said": lambda folder: late.pylate(folder, beside={"skiplist_words": None}),
    "PyLate, markers in the vocabulary": lambda folder: late.pylate(
        folder, extra=(), beside={"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
    ),
    "PyLate, prompts and prefixes": lambda folder: late.pylate(folder, beside={"prompts": PROMPTS}),
    "PyLate, no lengths": lambda folder: late.pylate(folder, lengths=False),
    "Stanford": lambda folder: late.stanford(folder, metadata={"query_maxlen": 14, "doc_maxlen": 18}),
    "Stanford, seen": lambda folder: late.stanford(folder, metadata={"attend_to_mask_tokens": True}),
    "Stanford, punctuation counts": lambda folder: late.stanford(folder, metadata={"mask_punctuation": False}),
    "Stanford without metadata": lambda folder: late.stanford(folder),
}


def opened(folder, **settings):
    return load_multi_vector_encoder(str(folder), device="cpu", dtype="float32", **settings)


def peer(folder):
    from sentence_transformers import MultiVectorEncoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)


def theirs(model, role, texts):
    encode = model.encode_document if role == "document" else model.encode_query
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return encode(list(texts), batch_size=3, convert_to_numpy=True)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_vectors_and_the_order_of_sentence_transformers(layout, tmp_path):
    from sentence_transformers.util import maxsim

    folder = LAYOUTS[layout](tmp_path / "model")
    model, encoder = peer(folder), opened(folder)
    queries = TEXTS[:4]
    asked, found = encoder.encode_queries(queries), encoder.encode_documents(DOCUMENTS)
    for mine, other in ((asked, theirs(model, "query", queries)), (found, theirs(model, "document", DOCUMENTS))):
        assert [len(vectors) for vectors in mine] == [len(vectors) for vectors in other]
        for ours, their in zip(mine, other, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, their, atol=2e-5)
    scores = maxsim(
        theirs(model, "query", queries), theirs(model, "document", DOCUMENTS), length_normalize=layout == "means"
    ).numpy()
    for vectors, expected in zip(asked, scores, strict=True):
        mine = encoder.similarity(vectors, found)
        filled = [len(document) > 0 for document in found]
        np.testing.assert_allclose(mine[filled], expected[filled], atol=1e-4)
        order = np.argsort(-mine, kind="stable")
        assert order.tolist() == np.argsort(-expected, kind="stable").tolist()


def test_a_text_has_the_same_vectors_in_any_company(tmp_path):
    encoder = opened(late.pylate(tmp_path / "model"), batch_tokens=64)
    together = encoder.encode_documents(DOCUMENTS * 3)
    for text, vectors in zip(DOCUMENTS * 3, together, strict=True):
        np.testing.assert_allclose(encoder.encode_documents([text])[0], vectors, atol=1e-5)
    assert encoder.encode_queries([]) == []


def test_spans_say_what_stands_behind_each_vector(tmp_path):
    encoder = opened(late.pylate(tmp_path / "model"))
    text = "The cat sat, on the mat."
    spans = encoder.spans(text, "document")
    assert len(spans) == len(encoder.encode_documents([text])[0])
    assert [text[start:end] for start, end in spans if end > start] == ["The", "cat", "sat", "on", "the", "mat"]
    asked = encoder.spans("why vaccines", "query")
    assert len(asked) <= len(encoder.encode_queries(["why vaccines"])[0])
    assert ["why vaccines"[start:end] for start, end in asked if end > start] == ["why", "vaccines"]


def test_max_similarity_is_what_its_definition_says():
    random = np.random.default_rng(0)
    query = random.normal(size=(5, 8)).astype(np.float32)
    documents = [random.normal(size=(size, 8)).astype(np.float32) for size in (3, 0, 1, 7)]
    scores = max_similarity(query, documents)
    expected = [float((document @ query.T).max(axis=0).sum()) for document in documents if len(document)]
    assert scores[[0, 2, 3]] == pytest.approx(expected, abs=1e-5)
    assert scores[1] < scores[[0, 2, 3]].min()
    assert max_similarity(query, documents, mean=True)[0] == pytest.approx(scores[0] / 5, abs=1e-6)
    assert max_similarity(query, []).shape == (0,)
    best, products = likest(query, documents[3])
    assert products.sum() == pytest.approx(scores[3], abs=1e-5)
    assert best.tolist() == (documents[3] @ query.T).argmax(axis=0).tolist()


def test_what_is_no_late_interaction_model_is_refused_and_by_others_too(tmp_path):
    dense = tiny.bert(tmp_path / "dense")
    with pytest.raises(ModelError, match="holds no late-interaction"):
        opened(dense)
    for folder in (late.pylate(tmp_path / "pylate"), late.version_6(tmp_path / "six")):
        with pytest.raises(ModelError, match="late-interaction"):
            load_encoder(str(folder), device="cpu")
        with pytest.raises(ModelError, match="late-interaction"):
            load_sparse_encoder(str(folder), device="cpu")
    with pytest.raises(ModelError, match="late-interaction"):
        load_encoder(str(late.stanford(tmp_path / "stanford")), device="cpu")


@pytest.mark.parametrize(
    ("expansion", "says"),
    [
        ({"strategy": "fixed"}, "length from 1"),
        ({"strategy": "all", "length": 8}, "known are the strategies"),
        ({"strategy": "fixed", "length": 10**9}, "length from 1"),
        ({"strategy": "fixed", "length": 8, "token": "unheard"}, "doesn't have"),
        ([1], "not as an object"),
    ],
)
def test_an_expansion_that_cannot_be_is_refused(tmp_path, expansion, says):
    folder = late.version_6(tmp_path / "model", expansion={"strategy": "fixed", "length": 8})
    file = folder / "sentence_bert_config.json"
    tiny.write_json(file, json.loads(file.read_text("utf-8")) | {"query_expansion": expansion})
    with pytest.raises(ModelError, match=says):
        opened(folder)


def test_other_weights_another_prompt_or_another_word_are_another_fingerprint(tmp_path):
    folder = late.pylate(tmp_path / "model")
    first = opened(folder)
    assert opened(folder).fingerprint == first.fingerprint
    assert opened(folder, prompts={"query": "[D] "}).fingerprint != first.fingerprint
    file = folder / "config_sentence_transformers.json"
    said = json.loads(file.read_text("utf-8"))
    tiny.write_json(file, said | {"skiplist_words": []})
    assert opened(folder).fingerprint != first.fingerprint
    tiny.write_json(file, said)
    tiny.weights(folder / "1_Dense", seed=8, linear__weight=(late.DIM, 16))
    assert opened(folder).fingerprint != first.fingerprint


def test_a_projection_that_is_not_there_is_named(tmp_path):
    folder = late.transformer(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tiny.write_json(folder / "config.json", config | {"architectures": ["HF_ColBERT"]})
    with pytest.raises(ModelError, match=r"linear\.weight"):
        opened(folder)


def test_a_text_that_cannot_be_and_numbers_that_are_not_finite_are_named(tmp_path):
    encoder = opened(late.pylate(tmp_path / "model"))
    with pytest.raises(DataError, match="surrogate"):
        encoder.encode_documents(["\ud800"])
    with pytest.raises(UsageError, match="text 0"):
        encoder.encode_documents([3])
    folder = late.version_6(tmp_path / "nan")
    tensors = tiny.weights(folder / "1_Dense", linear__weight=(late.DIM, 16))
    tensors["linear.weight"][0, 0] = float("nan")
    from safetensors.torch import save_file

    save_file(tensors, folder / "1_Dense" / "model.safetensors")
    with pytest.raises(EncodingFailed, match="the cat"):
        opened(folder).encode_documents(["the cat"])


def test_pooling_takes_scipy_and_says_so(monkeypatch):
    with pytest.raises(UsageError, match="1 or more"):
        HierarchicalTokenPooling(0.5)
    monkeypatch.setitem(__import__("sys").modules, "scipy.cluster", None)
    with pytest.raises(MissingDependency, match=r"semsearch\[late\]"):
        HierarchicalTokenPooling(2)
    assert len(HierarchicalTokenPooling(1)(np.ones((3, 2), np.float32))) == 3
