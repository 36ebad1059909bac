"""The routes of others, asked by their own clients."""

import base64

import httpx
import numpy as np
import pytest
from support.named_hash import NamedHash

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
    for path, body in (("/embed", {"inputs": [[1, 2]]}), ("/embed", {"inputs": ""}), ("/rerank", {"query": "x"})):
        answer = models_server.post(path, json=body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "error_type"}
        assert answer.json()["error_type"] == "Validation"


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
