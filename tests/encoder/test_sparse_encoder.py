"""Sparse encoders of every published layout give what sentence-transformers' SparseEncoder gives."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny
from support.sparse_checkpoints import FAMILIES, SIZES, TRANSFORMER, V5, V6, csr, masked, router, splade
from support.tiny import TEXTS, WORDS

from semsearch import SparseVectors, load_encoder, load_sparse_encoder
from semsearch.encoder import sparse_modules
from semsearch.errors import DataError, EncodingFailed, ModelError, UsageError
from semsearch.evaluation import metrics
from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries


def opened(folder, **settings):
    return load_sparse_encoder(str(folder), device="cpu", dtype="float32", **settings)


def theirs(folder, role, texts=TEXTS, **settings):
    from sentence_transformers import SparseEncoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = SparseEncoder(str(folder), device="cpu", local_files_only=True, **settings)
        encode = peer.encode_document if role == "document" else peer.encode_query
        return encode(list(texts), batch_size=2, convert_to_sparse_tensor=False).numpy()


def assert_as_peer(folder, texts=TEXTS, tolerance=1e-5, **settings):
    encoder = opened(folder, **settings)
    for role, encode in (("document", encoder.encode_documents), ("query", encoder.encode_queries)):
        ours, peer = encode(texts), theirs(folder, role, texts, **settings)
        assert not ours.fault()
        assert ours.shape == peer.shape == (len(texts), encoder.dim)
        assert np.abs(ours.dense() - peer).max() <= tolerance * max(1, np.abs(peer).max())
        assert np.abs(peer[0] - peer[1]).max() > 1e-3
        assert (ours.values != 0).all()
    return encoder


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_language_heads(tmp_path, family):
    assert_as_peer(splade(tmp_path, family))


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Electra"])
def test_heads_with_words_of_their_own(tmp_path, family):
    assert_as_peer(splade(tmp_path, family, tie_word_embeddings=False))


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
@pytest.mark.parametrize("key", ["embedding_dimension", "word_embedding_dimension"])
def test_poolings_and_their_keys(tmp_path, pooling, activation, key):
    said = {"pooling_strategy": pooling, "activation_function": activation, key: SIZES["vocab_size"]}
    texts = [*TEXTS, "", "cat", " ".join(WORDS * 3)]
    assert_as_peer(splade(tmp_path, said=said), texts)


@pytest.mark.parametrize(
    "names",
    [
        (V5 + "MLMTransformer", V5 + "SpladePooling"),
        (V5 + "MLMTransformer.MLMTransformer", V5 + "SpladePooling.SpladePooling"),
        (TRANSFORMER, V6 + "splade_pooling.SpladePooling"),
    ],
)
def test_names_of_every_generation(tmp_path, names):
    folder = splade(tmp_path, names=names)
    if "MLM" in names[0]:  # version 5 wrote no task
        tiny.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": False})
    known = opened(folder)
    assert known.modules["document"] == ("Transformer (bert)", "SpladePooling (max)")
    if names[0].count("MLMTransformer") < 2:  # a path that version 6 itself doesn't find any more
        assert_as_peer(folder)


def test_a_folder_of_a_masked_language_model(tmp_path):
    assert_as_peer(masked(tmp_path))
    assert_as_peer(masked(tmp_path / "pickled", safe=False))


def test_questions_by_a_table_of_words(tmp_path):
    encoder = assert_as_peer(router(tmp_path), [*TEXTS, "cat cat cat", "zebra"])
    assert encoder.modules["query"] == ("SparseStaticEmbedding",)
    once, thrice = (encoder.encode_queries([text]) for text in ("cat", "cat cat cat"))
    assert once.values.tolist() == thrice.values.tolist()
    assert encoder.truncated == 0


def test_questions_by_idf_json(tmp_path):
    idf = {"cat": 2.5, "dog": 1.25, "sat": 0.0, "zebra": 0.5}
    encoder = assert_as_peer(router(tmp_path, idf=idf, weight=False), ["cat zebra", "dog sat dog", "the"])
    assert encoder.decode(encoder.encode_queries(["dog and cat"]))[0][:2] == [("cat", 2.5), ("dog", 1.25)]


def test_idf_json_that_nobody_names(tmp_path):
    folder = router(tmp_path, idf={"cat": 2.5}, weight=False)
    tiny.write_json(folder / "query_0_Static" / "config.json", {})
    assert opened(folder).encode_queries(["a cat"]).values.tolist() == [2.5]


@pytest.mark.parametrize(("normalize", "safe"), [(False, True), (True, False)])
def test_codes_of_an_autoencoder(tmp_path, normalize, safe):
    encoder = assert_as_peer(csr(tmp_path, normalize=normalize, safe=safe))
    assert encoder.encode_documents(TEXTS).counts.max() <= 6
    assert encoder.decode(encoder.encode_documents(TEXTS[:1]))[0][0][0].startswith("#")
    assert opened(csr(tmp_path / "old", V5 + "CSRSparsity.CSRSparsity")).dim == 40


def test_so_many_components_and_no_more(tmp_path):
    for folder in (splade(tmp_path / "splade"), csr(tmp_path / "csr")):
        encoder = assert_as_peer(folder, max_active_dims=3)
        assert encoder.encode_documents(TEXTS).counts.max() <= 3
        assert encoder.fingerprint != opened(folder).fingerprint
    with pytest.raises(UsageError, match="max_active_dims"):
        opened(tmp_path / "csr", max_active_dims=0)


def test_prompts_by_role(tmp_path):
    folder = splade(tmp_path)
    prompts = {"query": "query: ", "document": "passage: "}
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": prompts})
    encoder = assert_as_peer(folder)
    assert encoder.description()["prompts"] == prompts


def test_unit_length_of_a_cosine_model(tmp_path):
    said = {"model_type": "SparseEncoder", "similarity_fn_name": "cosine"}
    tiny.write_json(splade(tmp_path) / "config_sentence_transformers.json", said)
    vectors = opened(tmp_path).encode_documents(TEXTS)
    peer = theirs(tmp_path, "document")
    assert np.abs(vectors.dense() - peer / np.linalg.norm(peer, axis=1, keepdims=True)).max() < 1e-6


def test_what_vectors_say(tmp_path):
    from sentence_transformers import SparseEncoder

    encoder = opened(splade(tmp_path))
    vectors = encoder.encode_documents([*TEXTS, ""])
    peer = SparseEncoder(str(tmp_path), device="cpu", local_files_only=True)
    same = peer.encode_document([*TEXTS, ""])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert encoder.sparsity(vectors) == pytest.approx(peer.sparsity(same), rel=1e-6)
    assert np.abs(encoder.similarity(vectors, vectors) - peer.similarity(same, same).numpy()).max() < 1e-4
    for ours, other in zip(encoder.decode(vectors, 4), peer.decode(same, 4), strict=True):
        assert [word for word, _ in ours] == [word for word, _ in other]
    assert encoder.word(10**6) == "#1000000"
    with pytest.raises(DataError, match="7 components"):
        encoder.decode(SparseVectors.of_dense(np.ones((1, 7), np.float32)))
    with pytest.raises(UsageError, match="a list of texts"):
        encoder.encode_documents("a cat")
    assert encoder.encode_documents([]).shape == (0, encoder.dim)


def test_tiles_and_windows_change_nothing(tmp_path, monkeypatch):
    """Tiles smaller than the vocabulary, batches of few tokens, more texts than go without a thread."""
    encoder = opened(splade(tmp_path))
    texts = [" ".join((WORDS * 2)[i : i + 1 + i % 30]) for i in range(60)]
    whole = encoder.encode_documents(texts).dense()
    monkeypatch.setattr(sparse_modules, "WORDS", 7)
    monkeypatch.setattr(sparse_modules, "TOKENS", 40)
    small = opened(tmp_path, batch_tokens=64)
    assert np.abs(small.encode_documents(texts).dense() - whole).max() < 1e-5
    assert np.abs(small.encode_documents(iter(texts)).dense() - whole).max() < 1e-5


def test_the_logits_of_a_batch_never_lie_in_memory(tmp_path, monkeypatch):
    """With 30,000 words a batch of 2,048 tokens would take 245 MB."""
    from torch.nn import functional

    largest = []
    plain = functional.linear
    monkeypatch.setattr(functional, "linear", lambda *given: largest.append(plain(*given)) or largest[-1])
    encoder = opened(splade(tmp_path, vocab_size=30_000))
    encoder.encode_documents([" ".join(WORDS)] * 64)
    assert max(made.numel() for made in largest) <= 64 * 1_024 * 10


def test_numbers_that_are_none_are_said(tmp_path):
    folder = splade(tmp_path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.bias"][7] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncodingFailed, match="NaN or infinite"):
        opened(folder).encode_documents(TEXTS)


def test_fingerprints_tell_models_apart(tmp_path):
    prints = {
        opened(splade(tmp_path / "a")).fingerprint,
        opened(splade(tmp_path / "b", seed=1)).fingerprint,
        opened(splade(tmp_path / "c", said={"pooling_strategy": "sum"})).fingerprint,
        opened(tmp_path / "a", prompts={"query": "query: "}).fingerprint,
        opened(router(tmp_path / "d")).fingerprint,
        opened(router(tmp_path / "e", idf={"cat": 1.0}, weight=False)).fingerprint,
        opened(router(tmp_path / "f", idf={"cat": 2.0}, weight=False)).fingerprint,
    }
    assert len(prints) == 7
    assert opened(splade(tmp_path / "again")).fingerprint in prints


def refused(folder, message):
    with pytest.raises(ModelError, match=message) as caught:
        opened(folder).encode_queries(["a cat sat"])
    assert str(caught.value).endswith(".")


def reconfigure(file, **changes):
    tiny.write_json(file, json.loads(file.read_text("utf-8")) | changes)


def test_what_is_no_sparse_encoder(tmp_path):
    from support.encoder_checkpoints import classic

    refused(classic(tmp_path / "dense"), r"last module is 'pooling', which gives dense vectors")
    refused(tiny.bert(tmp_path / "bare"), "no sparse encoder")
    folder = splade(tmp_path / "late")
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "ColBERT"})
    refused(folder, "holds no sparse encoder: it is a late-interaction")
    with pytest.raises(ModelError, match=r"sparse \(SPLADE\)"):
        load_encoder(str(splade(tmp_path / "sparse")))


@pytest.mark.parametrize(
    ("key", "value"),
    [("pooling_strategy", value) for value in ("mean", 7, None, [], {})]
    + [("activation_function", value) for value in ("os.system", 7, [], {})]
    + [("embedding_dimension", value) for value in (5, -1, 10**12, "16", [])],
    ids=lambda value: f"{value!r:.20}",
)
def test_hostile_poolings(tmp_path, key, value):
    refused(splade(tmp_path, said={key: value}), "semsearch|words by|that there are|understood|known are")


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("input_dim", "hidden_dim", "k") for value in (0, -4, 17, 10**12, "16", None, [])],
    ids=lambda value: f"{value!r:.20}",
)
def test_hostile_autoencoders(tmp_path, key, value):
    if (key, value) == ("k", 17):
        return
    refused(csr(tmp_path, **{key: value}), r"\.$")


@pytest.mark.parametrize("value", [10**12, -1, 0, "16", 3, None])
@pytest.mark.parametrize("key", ["vocab_size", "hidden_size"])
def test_hostile_sizes_of_a_head(tmp_path, key, value):
    folder = splade(tmp_path)
    reconfigure(folder / "config.json", **{key: value})
    if key == "vocab_size" and value in (3, None):
        assert len(opened(folder).encode_documents(TEXTS)) == len(TEXTS)  # nobody asks
        return
    refused(folder, r"\.$")


def test_hostile_weights_of_a_head(tmp_path):
    from safetensors.torch import load_file, save_file

    for number, (name, tensor) in enumerate(
        {
            "cls.predictions.bias": torch.zeros(3),
            "cls.predictions.transform.dense.weight": torch.zeros(16, 4),
            "cls.predictions.decoder.weight": torch.zeros(10**3, 16),
            "cls.predictions.transform.LayerNorm.bias": None,
        }.items()
    ):
        folder = splade(tmp_path / str(number))
        tensors = load_file(folder / "model.safetensors")
        tensors.pop(name, None)
        save_file(tensors | ({name: tensor} if tensor is not None else {}), folder / "model.safetensors")
        refused(folder, "has the shape|missing are")


@pytest.mark.parametrize(
    "content", ["[", "7", "[1]", '{"cat": "many"}', '{"cat": []}', "[" * 100_000, '{"cat": NaN}', '{"cat": 1e400}']
)
def test_hostile_tables_of_words(tmp_path, content):
    folder = router(tmp_path, idf={"cat": 1.0}, weight=False)
    (folder / "query_0_Static" / "idf.json").write_text(content)
    if "cat" in content and content[-2] in "N0":
        with pytest.raises(EncodingFailed, match="NaN or infinite"):
            opened(folder).encode_queries(["a cat"])
        return
    refused(folder, "no table of words")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "elsewhere.json", "C:\\idf.json"])
def test_tables_that_lie_elsewhere(tmp_path, path):
    folder = router(tmp_path, weight=False)
    tiny.write_json(folder / "query_0_Static" / "config.json", {"path": path})
    refused(folder, "lacks its weights of words|outside of itself")


def test_a_table_that_is_a_link_out_of_the_model(tmp_path):
    folder = router(tmp_path / "model", weight=False)
    (tmp_path / "secret.json").write_text('{"cat": 1}')
    (folder / "query_0_Static" / "idf.json").symlink_to(tmp_path / "secret.json")
    refused(folder, "outside of itself")


def test_tables_and_words_of_two_models(tmp_path):
    folder = router(tmp_path)
    tiny.weights(folder / "query_0_Static", weight=(9,))
    refused(folder, "gives queries 9 components and documents")
    tiny.weights(folder / "query_0_Static", weight=(3, 3))
    refused(folder, "one row of numbers")


def test_code_of_its_own(tmp_path):
    folder = splade(tmp_path)
    reconfigure(folder / "config.json", auto_map={"AutoModelForMaskedLM": "own--modeling.Own"})
    refused(folder, "needs code of its own")
    folder = splade(tmp_path / "task")
    reconfigure(folder / "sentence_bert_config.json", transformer_task="text-generation")
    refused(folder, "uses its transformer for 'text-generation'")


MODELS = Path(os.environ.get("SEMSEARCH_MODELS", "-"))


@pytest.mark.models
def test_splade_tiny_is_as_its_peer():
    folder = MODELS / "splade-tiny"
    if not folder.is_dir():
        pytest.skip("set SEMSEARCH_MODELS to the folder of the real models")
    texts = [*TEXTS, "The weather is lovely today.", "Wie viele Menschen leben in Berlin?", "x" * 3000, ""]
    encoder = assert_as_peer(folder, texts)
    question = encoder.encode_queries(["How many people live in Berlin?"])
    assert encoder.sparsity(question)["sparsity_ratio"] > 0.99


@pytest.mark.weights
def test_the_published_example():
    """The similarities and the sparsity that the model's card gives."""
    try:
        encoder = load_sparse_encoder("naver/splade-cocondenser-ensembledistil", device="cpu", dtype="float32")
    except ModelError as error:
        if "was not found" not in str(error):
            raise
        pytest.skip("the weights of naver/splade-cocondenser-ensembledistil are not here")
    vectors = encoder.encode_documents(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert encoder.similarity(vectors, vectors)[0] == pytest.approx([35.629, 9.154, 0.098], abs=2e-3)
    assert encoder.sparsity(vectors)["sparsity_ratio"] == pytest.approx(0.9984, abs=1e-4)


@pytest.mark.real
@pytest.mark.models
@pytest.mark.parametrize("name", ["scifact", "nfcorpus"])
def test_real_judgements_are_answered_as_by_sentence_transformers(name, data):
    folder = MODELS / "splade-tiny"
    if not folder.is_dir():
        pytest.skip("set SEMSEARCH_MODELS to the folder of the real models")
    judged = dict(list(read_qrels(qrels_file(data / name, "test")).items())[:20])
    documents = map(json.loads, (data / name / "corpus.jsonl").read_text("utf-8").splitlines())
    texts = {one["_id"]: f"{one['title']} {one['text']}" for one in documents}
    chosen = list(dict.fromkeys(document for grades in judged.values() for document in grades))[:30]
    chosen += [identity for identity in texts if identity not in set(chosen)][:20]
    graded = {query: {one: grade for one, grade in of.items() if one in chosen} for query, of in judged.items()}
    judged = {query: of for query, of in graded.items() if any(of.values())}  # NFCorpus judges dozens for a question
    queries = read_queries(data / name)
    asked, read = [queries[query] for query in judged], [texts[identity] for identity in chosen]
    encoder = opened(folder)
    mine = encoder.similarity(encoder.encode_queries(asked), encoder.encode_documents(read))
    found = []
    for scores in (mine, theirs(folder, "query", asked) @ theirs(folder, "document", read).T):
        rows = [dict(zip(chosen, row, strict=True)) for row in scores.tolist()]
        found.append(metrics.scored(dict(zip(judged, rows, strict=True)), judged).mean("nDCG@10"))
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[0] > 0.3
