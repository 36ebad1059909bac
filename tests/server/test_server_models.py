"""The routes of others, asked by their own clients."""

import base64
import json

import httpx
import numpy as np
import pytest
from support.named_hash import NamedHash

import semsearch
from semsearch.encoder.remote import RemoteEncoder, trust_named
from semsearch.testing.encoder import HashEncoder

TEXTS = ["the cat sleeps", "a bird sings", "the dog"]
VECTORS = HashEncoder().encode_documents(TEXTS)


class WordOverlap:
    """A cross-encoder without weights: its logit is how many words two texts share, less one."""

    name = "overlap"

    def predict(self, pairs, *, activation=None):
        return np.array([len({*query.split()} & {*text.split()}) - 1.0 for query, text in pairs], dtype=np.float32)

    def score(self, query, texts):
        return self.predict([(query, text) for text in texts])


@pytest.fixture
def models_server(serve, monkeypatch):
    monkeypatch.setattr("semsearch.models.reranker", lambda name, compute=None, **how: WordOverlap())
    with serve(rerankers=("overlap",)) as running:
        yield running


def test_openais_client_gets_the_models_vectors(models_server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{models_server.url}/v1", api_key="none", max_retries=0) as client:
        default = client.embeddings.create(model="hash", input=TEXTS)  # which asks for Base64
        floats = client.embeddings.create(model="hash", input=TEXTS, encoding_format="float")
        for answer in (default, floats):
            assert [one.index for one in answer.data] == [0, 1, 2]
            assert np.array_equal(np.array([one.embedding for one in answer.data], dtype=np.float32), VECTORS)
            assert answer.usage.total_tokens > 0
        (one,) = client.embeddings.create(model="hash", input="the cat sleeps", dimensions=4).data
        assert np.allclose(one.embedding, VECTORS[0, :4] / np.linalg.norm(VECTORS[0, :4]), atol=1e-6)
        assert {model.id for model in client.models.list()} == {"hash", "other", "overlap"}
        assert client.models.retrieve("hash").id == "hash"
        for wrong, kind in (
            ({"model": "nothing", "input": "x"}, openai.NotFoundError),
            ({"model": "hash", "input": [[1, 2, 3]]}, openai.BadRequestError),
            ({"model": "hash", "input": [""]}, openai.BadRequestError),
            ({"model": "hash", "input": []}, openai.BadRequestError),
            ({"model": "hash", "input": "x", "dimensions": 17}, openai.BadRequestError),
        ):
            with pytest.raises(kind) as raised:
                client.embeddings.create(**wrong)
            assert {"message", "type", "param", "code"} == set(raised.value.body)
        with pytest.raises(openai.BadRequestError, match="token ids"):
            client.embeddings.create(model="hash", input=[1, 2, 3])


def test_base64_is_little_endian_float32(models_server):
    body = {"model": "hash", "input": TEXTS[0], "encoding_format": "base64"}
    (one,) = models_server.ask("/v1/embeddings", body)["data"]
    assert base64.b64decode(one["embedding"]) == VECTORS[0].astype("<f4").tobytes()


def test_usage_is_what_the_model_reads(serve, monkeypatch, tmp_path):
    from support import tiny
    from support.reranker_checkpoints import classifier

    from semsearch import load_encoder, load_reranker

    encoder = load_encoder(str(tiny.bert(tmp_path / "own")), device="cpu")
    reranker = load_reranker(str(classifier(tmp_path / "reranker")), device="cpu")
    monkeypatch.setattr("semsearch.models.encoder", lambda name, compute=None, **how: encoder)
    monkeypatch.setattr("semsearch.models.reranker", lambda name, compute=None, **how: reranker)
    words = " ".join(tiny.WORDS[:3])
    with serve(encoders=("own",), rerankers=("judge",)) as server:
        for text, count in ((words, 3), (" ".join([words] * encoder.window), encoder.window)):
            body = {"model": "own", "input": [text, text], "encoding_format": None}
            assert server.ask("/v1/embeddings", body)["usage"] == {
                "prompt_tokens": 2 * (count + 2),
                "total_tokens": 2 * (count + 2),
            }
        body = {"query": words, "documents": [words, " ".join([words] * 100)]}
        assert server.ask("/v1/rerank", body)["usage"]["total_tokens"] == 3 + 3 + 300
        assert server.ask("/info")["max_input_length"] == encoder.window
    with serve(encoders=(), rerankers=("judge",)) as server:
        info = server.ask("/info")
        assert (info["model_id"], list(info["model_type"])) == ("judge", ["reranker"])
        assert info["model_type"]["reranker"]["label2id"] == {"LABEL_0": 0}


def test_a_role_may_be_said(models_server):
    calls = models_server.service.encoder("hash").calls
    for name, role in (("query", 0), ("search_query", 0), ("document", 1), ("passage", 1)):
        before = models_server.service.encoder("hash").calls
        models_server.ask("/v1/embeddings", {"model": "hash", "input": f"text {name}", "input_type": name})
        assert models_server.service.encoder("hash").calls - before == role
    assert models_server.service.encoder("hash").calls == calls + 2
    error = models_server.refused("/v1/embeddings", {"model": "hash", "input": "x", "prompt_name": "poem"})
    assert error["param"] == "input_type"


def test_more_texts_than_others_take(models_server):
    texts = [f"text {n}" for n in range(3000)]
    data = models_server.ask("/v1/embeddings", {"model": "hash", "input": texts})["data"]
    assert np.array_equal(
        np.array([one["embedding"] for one in data], dtype=np.float32), HashEncoder().encode_documents(texts)
    )


def test_our_own_client_of_such_servers(models_server):
    name = f"openai-compatible:{models_server.url}/v1#hash"
    trust_named(name)
    encoder = RemoteEncoder(name)
    assert encoder.dim == 16
    assert np.allclose(encoder.encode_documents(TEXTS), VECTORS, atol=1e-6)


def test_a_served_model_is_held_against_peoples_scores_from_here(models_server):
    """What asks no collection needs no task: pairs are scored here, by vectors of the server's model."""
    pytest.importorskip("scipy")
    name = f"openai-compatible:{models_server.url}/v1#hash"
    trust_named(name)
    first, second = [*TEXTS, "the cat"], ["the cat sleeps long", "a fish", "the dog runs", "a tree"]
    gold = [4.0, 1.0, 3.0, 0.0]
    there = semsearch.sts(first, second, gold, encoder=name)
    here = semsearch.sts(first, second, gold, encoder=HashEncoder())
    assert (there.pearson, there.spearman) == pytest.approx((here.pearson, here.spearman), abs=1e-5)


def test_coheres_client_orders_texts(models_server):
    cohere = pytest.importorskip("cohere")
    with httpx.Client(timeout=60) as http:  # the first one imports torch
        client = cohere.ClientV2(api_key="none", base_url=models_server.url, httpx_client=http)
        answer = client.rerank(model="overlap", query="the cat", documents=TEXTS, top_n=2)
        assert [result.index for result in answer.results] == [0, 2]
        assert [result.relevance_score for result in answer.results] == pytest.approx([1 / (1 + np.exp(-1)), 0.5])
        assert answer.id


def test_jinas_shape(models_server):
    body = {
        "model": "overlap",
        "query": "the cat",
        "documents": [TEXTS[1], {"text": TEXTS[0]}],
        "return_documents": True,
    }
    answer = models_server.ask("/v1/rerank", body)
    assert [result["document"]["text"] for result in answer["results"]] == [TEXTS[0], TEXTS[1]]
    assert answer["usage"]["total_tokens"] > 0
    assert models_server.ask("/v1/rerank", {**body, "return_documents": None, "rank_fields": ["text"]})["results"]
    assert models_server.refused("/v1/rerank", {**body, "rank_fields": ["title"]})["param"].startswith("rank_fields")
    assert models_server.refused("/v1/rerank", {**body, "model": "nothing"}, 404)["code"] == "model_not_found"
    assert models_server.refused("/v1/rerank", {**body, "documents": [{"title": "x"}]})["param"] == "documents"


def test_hugging_faces_client_speaks_tei(models_server, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # it is this machine that is asked
    with hub.InferenceClient(model=models_server.url) as client:
        assert np.array_equal(np.asarray(client.feature_extraction(TEXTS[0]), dtype=np.float32), VECTORS[:1])
    with hub.InferenceClient() as client:
        found = client.feature_extraction(TEXTS[0], model=f"{models_server.url}/embed", normalize=True)
        assert np.array_equal(np.asarray(found, dtype=np.float32), VECTORS[:1])
        found = client.feature_extraction(
            TEXTS[1],
            model=f"{models_server.url}/embed",
            truncate=True,
            truncation_direction="Right",
            prompt_name="query",
        )
        assert np.array_equal(np.asarray(found, dtype=np.float32), VECTORS[1:2])
        similar = client.sentence_similarity(TEXTS[0], TEXTS[1:], model=f"{models_server.url}/similarity")
        assert similar == pytest.approx((VECTORS[1:].astype(float) @ VECTORS[0].astype(float)).tolist(), abs=1e-6)


def test_teis_shapes(models_server):
    assert models_server.get("/health").status_code == 200
    info = models_server.ask("/info")
    assert (info["model_id"], info["max_client_batch_size"]) == ("hash", 10_000)
    assert np.array_equal(np.array(models_server.ask("/embed", {"inputs": TEXTS}), dtype=np.float32), VECTORS)
    ranked = models_server.ask("/rerank", {"query": "the cat", "texts": TEXTS, "return_text": True, "raw_scores": True})
    assert [(one["index"], one["score"]) for one in ranked] == [(0, 1.0), (2, 0.0), (1, -1.0)]
    assert ranked[0]["text"] == TEXTS[0]
    for path, body, status, kind in (
        ("/embed", {"inputs": [[1, 2]]}, 422, "Validation"),
        ("/embed", {"inputs": ""}, 400, "Empty"),
        ("/embed", {"inputs": []}, 400, "Empty"),
        ("/embed", {"inputs": "x", "normalize": False}, 422, "Validation"),
        ("/similarity", {"inputs": {"source_sentence": "x", "sentences": []}}, 400, "Empty"),
        ("/rerank", {"query": "x", "texts": []}, 400, "Empty"),
        ("/predict", {"inputs": []}, 400, "Empty"),
        ("/rerank", {"query": "x"}, 422, "Validation"),
        ("/predict", {"inputs": "one text"}, 422, "Validation"),
    ):
        answer = models_server.post(path, json=body)
        assert answer.status_code == status, (path, body)
        assert set(answer.json()) == {"error", "error_type"}
        assert answer.json()["error_type"] == kind


def test_classes_of_pairs(serve, monkeypatch, tmp_path):
    from support.reranker_checkpoints import classifier
    from support.tiny import WORDS

    from semsearch import load_reranker

    hub = pytest.importorskip("huggingface_hub")
    folder = classifier(tmp_path / "nli", labels=3)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    (folder / "config.json").write_text(json.dumps(config))
    pair = (" ".join(WORDS[:3]), " ".join(WORDS[3:5]))
    expected = load_reranker(str(folder)).predict([pair], apply_softmax=True)[0]
    names = ["contradiction", "entailment", "neutral"]
    best = [names[place] for place in np.argsort(-expected)]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serve(rerankers=(str(folder),)) as server, hub.InferenceClient() as client:
        told = server.ask("/predict", {"inputs": list(pair)})
        assert [one["label"] for one in told] == best
        assert [one["score"] for one in told] == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-5)
        both = server.ask("/predict", {"inputs": [list(pair), list(pair)]})
        assert [[one["label"] for one in own] for own in both] == [best, best]
        raw = server.ask("/predict", {"inputs": [list(pair)], "raw_scores": True, "parameters": {"top_k": 1}})
        assert [len(one) for one in raw] == [1]
        assert client.text_classification(list(pair), model=f"{server.url}/predict").label == best[0]
        with pytest.raises(hub.errors.HfHubHTTPError):
            client.text_classification(pair[0], model=f"{server.url}/predict")
        assert "several scores" in server.post("/rerank", json={"query": "x", "texts": ["y"]}).json()["error"]


def test_token_ids_and_windows_of_the_model(serve, monkeypatch, tmp_path):
    from support import tiny

    from semsearch import load_encoder

    hub = pytest.importorskip("huggingface_hub")
    folder = tiny.bert(tmp_path / "model")
    own = load_encoder(str(folder), device="cpu")
    monkeypatch.setattr("semsearch.models.encoder", lambda name, compute=None, **how: own)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    text = " ".join(tiny.WORDS[:5])
    long = " ".join([*tiny.WORDS[:5]] * 40)
    expected = own.encode_documents([text])
    with serve(encoders=(str(folder),)) as server, hub.InferenceClient() as client:

        def embed(inputs, **how):
            return client.feature_extraction(inputs, model=f"{server.url}/embed", **how)

        for special in (True, False):
            ids = own.tokenizer.encode(text, add_special_tokens=special).ids
            assert np.allclose(server.ask("/embed", {"inputs": ids}), expected, atol=1e-6)
            assert np.allclose(server.ask("/embed", {"inputs": [ids, text]}), [expected[0], expected[0]], atol=1e-6)
        assert "vocabulary" in server.post("/embed", json={"inputs": [1_000_000]}).json()["error"]
        refused = server.post("/embed", json={"inputs": long, "truncate": False})
        assert (refused.status_code, refused.json()["error_type"]) == (422, "Validation")
        assert "tokens" in refused.json()["error"]
        assert np.allclose(embed(long, truncate=True), own.encode_documents([long]), atol=1e-6)
        left = embed(f"{tiny.WORDS[9]} {long}", truncate=True, truncation_direction="Left")
        count = own.window
        ending = " ".join(f"{tiny.WORDS[9]} {long}".split(" ")[-count:])
        assert np.allclose(left, own.encode_documents([ending]), atol=1e-6)
        assert np.allclose(embed(text, encoding_format="float"), expected, atol=1e-6)
        packed = server.ask("/embed", {"inputs": text, "encoding_format": "base64"})
        assert np.allclose(np.frombuffer(base64.b64decode(packed[0]), "<f4"), expected[0], atol=1e-6)


def test_vectors_of_a_dot_product_model_are_scaled_where_it_is_asked(serve, monkeypatch):
    from semsearch.types import Metric

    model = NamedHash("hash")
    model.metric = Metric.DOT
    monkeypatch.setattr(model, "encode_documents", lambda texts: 3 * HashEncoder().encode_documents(texts))
    monkeypatch.setattr("semsearch.models.encoder", lambda name, compute=None, **how: model)
    with serve(encoders=("hash",)) as server:
        for asked, scale in (({}, 1), ({"normalize": True}, 1), ({"normalize": False}, 3)):
            assert np.allclose(server.ask("/embed", {"inputs": TEXTS, **asked}), scale * VECTORS, atol=1e-6)


def test_without_a_model_it_is_said(serve):
    with serve(encoders=()) as server:
        assert server.post("/embed", json={"inputs": "x"}).status_code == 404
        assert server.refused("/v1/rerank", {"query": "x", "documents": ["y"]}, 404)["code"] == "model_not_found"
        assert server.refused("/v1/collections", {"name": "x"})["param"] == "encoder"
        assert server.ask("/v1/collections", {"name": "x", "dim": 3}, 201)["encoder"] is None


def test_texts_of_all_routes_share_the_queue(models_server):
    assert isinstance(models_server.service.encoder("hash"), NamedHash)
    queue = models_server.service.queues.of(models_server.service.encoder("hash"), "document")
    models_server.ask("/embed", {"inputs": "x"})
    assert models_server.service.queues.of(models_server.service.encoder("hash"), "document") is queue
