"""Prompts, similarities, truncation and identity: what else decides a vector."""

import json

import numpy as np
import pytest
from support import tiny
from support.encoder_checkpoints import assert_as_peer, classic, dense, followed
from support.tiny import OLD, TEXTS

from semsearch import Metric, load_encoder
from semsearch.encoder.prompts import PROMPT_FAMILIES, SEARCH, family_of
from semsearch.errors import ModelError


def opened(folder, **settings):
    return load_encoder(str(folder), device="cpu", dtype="float32", **settings)


def said(folder, **settings):
    tiny.write_json(folder / "config_sentence_transformers.json", settings)
    return folder


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/e5-small-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-base", "query: ", "passage: "),
        (
            "intfloat/multilingual-e5-large-instruct",
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
            "",
        ),
        ("BAAI/bge-small-en-v1.5", SEARCH, ""),
        ("BAAI/bge-small-zh-v1.5", "为这个句子生成表示以用于检索相关文章：", ""),
        ("BAAI/bge-m3", "", ""),
        ("mixedbread-ai/mxbai-embed-large-v1", SEARCH, ""),
        ("Snowflake/snowflake-arctic-embed-xs", SEARCH, ""),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("nomic-ai/modernbert-embed-base", "search_query: ", "search_document: "),
        (
            "Qwen/Qwen3-Embedding-0.6B",
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            "",
        ),
        ("google/embeddinggemma-300m", "task: search result | query: ", "title: none | text: "),
        ("thenlper/gte-small", "", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
        ("sentence-transformers/multi-qa-mpnet-base-dot-v1", "", ""),
    ],
)
def test_families_by_their_names(name, query, document):
    family = family_of(name)
    assert (family.query if family else "", family.document if family else "") == (query, document)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("sentence-transformers/multi-qa-mpnet-base-dot-v1", Metric.DOT),
        ("sentence-transformers/msmarco-distilbert-base-dot-prod-v3", Metric.DOT),
        ("sentence-transformers/msmarco-distilbert-base-tas-b", Metric.DOT),
        ("sentence-transformers/msmarco-roberta-base-ance-firstp", Metric.DOT),
        ("facebook/contriever-msmarco", Metric.DOT),
        ("sentence-transformers/facebook-dpr-ctx_encoder-multiset-base", Metric.DOT),
        ("sentence-transformers/multi-qa-mpnet-base-cos-v1", None),
        ("sentence-transformers/all-mpnet-base-v2", None),
    ],
)
def test_dot_product_families(name, metric):
    family = family_of(name)
    assert (family.metric if family else None) is metric


def test_family_names_are_told_apart():
    assert len({family.name for family in PROMPT_FAMILIES}) == len(PROMPT_FAMILIES)


def test_the_table_serves_where_the_checkpoint_is_silent(tmp_path):
    folder = classic(tmp_path / "e5-small-v2")
    encoder = opened(folder)
    assert (encoder.prompts.query, encoder.prompts.document) == ("query: ", "passage: ")
    assert encoder.prompts.source == "the table of families (E5)"
    assert encoder.description()["prompts"] == {"query": "query: ", "document": "passage: "}
    plain = opened(folder, prompts={"query": "", "document": ""})
    assert plain.prompts.source == "given"
    assert (encoder.encode_queries(["cat"]) == plain.encode_documents(["query: cat"])).all()
    assert (encoder.encode_documents(["cat"]) == plain.encode_documents(["passage: cat"])).all()
    assert encoder.window == plain.window - 2  # "passage" and ":"


def test_a_description_for_people_and_programs(tmp_path):
    encoder = opened(classic(tmp_path), truncate_dim=8)
    described = json.loads(json.dumps(encoder.description()))
    assert described == {
        "window": 30,
        "prompts": {"query": "", "document": ""},
        "prompts_from": encoder.prompts.source,
        "truncate_dim": 8,
        "normalized": True,
        "modules": ["Transformer (bert)", "Pooling"],
    }
    assert str(tmp_path) in repr(encoder)


def test_the_checkpoint_speaks_first(tmp_path):
    folder = said(
        classic(tmp_path / "e5-small-v2"), prompts={"query": "search : ", "passage": "document : ", "other": "a"}
    )
    encoder = opened(folder)
    assert (encoder.prompts.query, encoder.prompts.document) == ("search : ", "document : ")
    assert encoder.prompts.source == "checkpoint"
    assert opened(folder, prompts={"query": "why "}).prompts.document == "document : "


def test_prompts_under_the_names_of_their_checkpoints(tmp_path):
    folder = said(classic(tmp_path), prompts={"s2p_query": "query : ", "s2s_query": "why "})
    assert opened(folder).prompts.query == "query : "
    said(folder, prompts={"Retrieval-query": "query : ", "Retrieval-document": "document : ", "STS": "work "})
    assert (opened(folder).prompts.query, opened(folder).prompts.document) == ("query : ", "document : ")


def test_a_default_prompt_serves_both_roles(tmp_path):
    encoder = opened(said(classic(tmp_path), prompts={"sts": "the city : "}, default_prompt_name="sts"))
    assert encoder.prompts.query == encoder.prompts.document == "the city : "
    said(tmp_path, prompts={"sts": "the city : "}, default_prompt_name="sst")
    with pytest.raises(ModelError, match="names the default prompt 'sst', which it doesn't hold; it holds sts"):
        opened(tmp_path)


@pytest.mark.slow
def test_prompts_of_version_6_are_those_of_the_peer(tmp_path):
    assert_as_peer(said(classic(tmp_path), prompts={"query": "query : ", "document": "search the "}))


def test_dot_product_models_stay_as_they_are(tmp_path):
    encoder = assert_as_peer(said(classic(tmp_path), similarity_fn_name="dot"))
    assert (encoder.metric, encoder.normalized) == (Metric.DOT, False)
    norms = np.linalg.norm(encoder.encode_documents(TEXTS), axis=1)
    assert norms.min() > 1.05
    assert np.abs(np.linalg.norm(opened(tmp_path, normalize=True).encode_documents(TEXTS), axis=1) - 1).max() < 1e-6


def test_euclidean_models(tmp_path):
    encoder = opened(said(classic(tmp_path), similarity_fn_name="euclidean"))
    assert (encoder.metric, encoder.normalized) == (Metric.L2, False)


def test_cosine_models_have_unit_length_though_they_lack_the_module(tmp_path):
    encoder = opened(classic(tmp_path))
    assert encoder.normalized
    assert np.abs(np.linalg.norm(encoder.encode_documents(TEXTS), axis=1) - 1).max() < 1e-6


def test_truncation_renormalises(tmp_path):
    folder = classic(tmp_path)
    whole, cut = opened(folder), opened(folder, truncate_dim=5)
    assert (cut.dim, cut.truncate_dim) == (5, 5)
    head = whole.encode_documents(TEXTS)[:, :5]
    wanted = head / np.linalg.norm(head, axis=1, keepdims=True)
    assert np.abs(cut.encode_documents(TEXTS) - wanted).max() < 1e-6
    said(folder, truncate_dim=5)
    assert (opened(folder).encode_documents(TEXTS) == cut.encode_documents(TEXTS)).all()


def test_truncation_of_a_dot_product_model_keeps_its_lengths(tmp_path):
    folder = said(classic(tmp_path), similarity_fn_name="dot")
    whole, cut = opened(folder), opened(folder, truncate_dim=5)
    assert (cut.encode_documents(TEXTS) == whole.encode_documents(TEXTS)[:, :5]).all()


def test_nomic_normalises_its_layer_before_the_cut(tmp_path):
    folder = classic(tmp_path / "nomic-embed-text-v1.5")
    whole = opened(folder, normalize=False, prompts={"document": ""})
    cut = opened(folder, truncate_dim=5, prompts={"document": ""})
    rows = whole.encode_documents(TEXTS).astype(np.float64)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
    wanted = rows[:, :5] / np.linalg.norm(rows[:, :5], axis=1, keepdims=True)
    assert np.abs(cut.encode_documents(TEXTS) - wanted).max() < 1e-6


def test_the_fingerprint_is_of_all_that_decides_a_vector(tmp_path):
    folder = classic(tmp_path / "a")
    first = opened(folder).fingerprint
    assert len(first) == 64
    copied = tiny.copy(folder, tmp_path / "b")
    assert opened(copied).fingerprint == first
    assert load_encoder(str(copied), device="cpu", dtype="bfloat16", batch_tokens=128).fingerprint == first
    (copied / "README.md").write_text("words")
    assert opened(copied).fingerprint == first
    seen = {first}
    for settings in (
        {"truncate_dim": 5},
        {"normalize": False},
        {"prompts": {"query": "why "}},
        {"prompts": {"document": "a "}},
    ):
        seen.add(opened(folder, **settings).fingerprint)
    tiny.pooling(copied / "1_Pooling", pooling_mode_max_tokens=True)
    seen.add(opened(copied).fingerprint)
    other = classic(tmp_path / "c", settings={"max_seq_length": 31, "do_lower_case": False})
    seen.add(opened(other).fingerprint)
    tiny.bert(tmp_path / "d", seed=1)
    tiny.copy(tmp_path / "a" / "1_Pooling", tmp_path / "d" / "1_Pooling")
    for name in ("modules.json", "sentence_bert_config.json"):
        (tmp_path / "d" / name).write_bytes((folder / name).read_bytes())
    seen.add(opened(tmp_path / "d").fingerprint)
    tiny.bert_tokenizer(tmp_path / "a", strip_accents=True)
    seen.add(opened(folder).fingerprint)
    assert len(seen) == 9


def test_roles_that_differ_in_width_are_refused(tmp_path):
    folder = followed(tmp_path, ("2_Asym", "Asym"))
    for name, out in (("query_0_Dense", 6), ("doc_0_Dense", 7)):
        dense(folder / "2_Asym" / name, 0, out)
    names = {"query": "query_0_Dense", "doc": "doc_0_Dense"}
    types = {name: OLD + "Dense" for name in names.values()}
    structure = {route: [name] for route, name in names.items()}
    tiny.write_json(folder / "2_Asym" / "config.json", {"types": types, "structure": structure, "parameters": {}})
    with pytest.raises(ModelError, match="gives queries 6 components and documents 7"):
        opened(folder)
