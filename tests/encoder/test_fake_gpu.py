"""Every kind of encoder and reranker on a GPU that is not there: no two devices in an operation, no hidden wait.

The last tests break the code on purpose, for a guard that can't fail guards nothing.
"""

import numpy as np
import pytest
import torch
from support import image_checkpoints as shown
from support import late_checkpoints as late
from support import sparse_checkpoints as sparse
from support import tiny
from support.encoder_checkpoints import classic, followed
from support.fake_gpu import HiddenWait, fake_gpu, loading_for_real
from support.reranker_checkpoints import classifier

from indexes.codes import Codes
from indexes.exact import ExactIndex
from indexes.first_pass import Float32Pass
from semsearch import load_encoder, load_multi_vector_encoder, load_reranker, load_sparse_encoder
from semsearch.applications import all_pairs
from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.tiles import GroupedRows
from semsearch.encoder import forward, inference, modules
from semsearch.reranker.late_interaction import LateInteraction, count_tokens
from semsearch.reranker.max_sim import MaxSim
from semsearch.types import Metric

pytestmark = pytest.mark.slow

TEXTS = tiny.TEXTS * 4
DTYPES = ("float32", "bfloat16")


def family(name):
    def make(folder):
        import transformers

        torch.manual_seed(0)
        sizes = {"vocab_size": len(tiny.SPECIAL + tiny.WORDS), "max_position_embeddings": 64, "pad_token_id": 0}
        layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        layers = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32} if name == "DistilBert" else layers
        model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes | layers))
        tiny.save(model, folder, tokenizer=tiny.bert_tokenizer)
        tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
        tiny.modules_json(folder, ("", tiny.OLD + "Transformer"), ("1_Pooling", tiny.OLD + "Pooling"))
        return folder

    return make


def with_dense(folder):
    tiny.write_json(folder / "2_Dense" / "config.json", {"in_features": 16, "out_features": 6, "bias": True})
    tiny.weights(folder / "2_Dense", linear__weight=(6, 16), linear__bias=(6,))
    return followed(folder, ("2_Dense", "Dense"), ("3_Normalize", "Normalize"))


def static(folder):
    tiny.bert_tokenizer(folder)
    tiny.weights(folder, embedding__weight=(len(tiny.SPECIAL + tiny.WORDS), 12))
    tiny.modules_json(folder, ("", tiny.OLD + "StaticEmbedding"))
    return folder


EVERY_POOLING = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
DENSE = {
    "BERT": family("Bert"),
    "RoBERTa": family("Roberta"),
    "DistilBERT": family("DistilBert"),
    "MPNet": family("MPNet"),
    "every pooling": lambda folder: classic(folder, **{f"pooling_mode_{mode}": True for mode in EVERY_POOLING}),
    "no prompt": lambda folder: classic(folder, pooling_mode_max_tokens=True, include_prompt=False),
    "Dense": with_dense,
    "static": static,
}


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_encoders_wait_once_a_window(kind, dtype, tmp_path, monkeypatch):
    folder = DENSE[kind](tmp_path / "model")
    with fake_gpu(monkeypatch) as gpu:
        encoder = load_encoder(str(folder), device="cuda:0", dtype=dtype, batch_tokens=64, truncate_dim=5)
        pipeline = encoder.stream("document")
        vectors = encoder.encode_documents(TEXTS)
        assert gpu.waits == 1
        assert gpu.read > 1
        features = pipeline.features(TEXTS[0], "", len(pipeline.modules))
        assert (features.sentence.device.type, features.sentence.dtype) == ("cuda", torch.float32)
    assert vectors.shape == (len(TEXTS), 5)


def test_transformers_own_models_do(tmp_path, monkeypatch):
    from transformers import AutoModel

    folder = late.version_6(tmp_path / "model", family="ModernBert", expansion={"strategy": "fixed", "length": 12})
    with fake_gpu(monkeypatch) as gpu, loading_for_real(monkeypatch, gpu, AutoModel):
        encoder = load_multi_vector_encoder(str(folder), device="cuda:0", dtype="float32", batch_tokens=64)
        found = encoder.encode_documents(TEXTS)
        asked = encoder.encode_queries(TEXTS[:2])
    assert found[0].shape[1] == asked[0].shape[1] == late.DIM
    assert [len(vectors) for vectors in asked] == [12, 12]


@pytest.mark.parametrize("layout", ["PyLate", "version 6"])
def test_late_interaction_encoders_wait_once_a_window(layout, tmp_path, monkeypatch):
    make = {"PyLate": late.pylate, "version 6": late.version_6}[layout]
    folder = make(tmp_path / "model")
    with fake_gpu(monkeypatch) as gpu:
        encoder = load_multi_vector_encoder(str(folder), device="cuda:0", dtype="bfloat16", batch_tokens=64)
        encoder.encode_documents(TEXTS)
        assert gpu.waits == 1
        assert MaxSim(encoder).score("why", TEXTS).shape == (len(TEXTS),)


SPARSE = {
    "max": (sparse.splade, "document"),
    "sum": (lambda folder: sparse.splade(folder, said={"pooling_strategy": "sum"}), "document"),
    "a table of words": (sparse.router, "query"),
    "CSR": (sparse.csr, "document"),
}


@pytest.mark.parametrize("most", [None, 3])
@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_encoders_ask_for_nothing_but_what_is_not_0(kind, most, tmp_path, monkeypatch):
    make, role = SPARSE[kind]
    folder = make(tmp_path / "model")
    with fake_gpu(monkeypatch, dynamic=True):
        encoder = load_sparse_encoder(
            str(folder), device="cuda:0", dtype="bfloat16", batch_tokens=64, max_active_dims=most
        )
        pipeline = encoder._streams[role]
        window = pipeline._tokenized(TEXTS, "")
        (batch, *_) = inference.plan(window.lengths, pipeline.budget)
        active = pipeline._active(window, batch)
    assert {part.device.type for part in (active.values, active.rows, active.components, active.finite)} == {"cuda"}
    assert active.values.dtype == torch.float32


@pytest.mark.parametrize("make", [shown.clip, shown.siglip])
def test_models_of_pictures_wait_once(make, tmp_path, monkeypatch):
    from transformers import AutoModel

    folder = make(tmp_path / "model")
    pictures = [np.asarray(shown.picture(seed)) for seed in range(3)]
    with fake_gpu(monkeypatch) as gpu, loading_for_real(monkeypatch, gpu, AutoModel):
        encoder = load_encoder(str(folder), device="cuda:0", dtype="float32")
        assert encoder.encode_images(pictures).shape == (3, encoder.dim)
        assert gpu.waits == 1
        assert encoder.encode_documents(TEXTS).shape == (len(TEXTS), encoder.dim)


def test_rerankers_wait_once_a_window(base_model, tmp_path, monkeypatch):
    folder = classifier(tmp_path / "cross")
    with fake_gpu(monkeypatch) as gpu:
        assert load_reranker(str(folder), device="cuda:0", batch_tokens=64).score("why", TEXTS).shape == (len(TEXTS),)
        assert gpu.waits == 1
        encoder = load_encoder(str(base_model), device="cuda:0", dtype="bfloat16")
        own = LateInteraction(encoder, count_tokens(encoder, TEXTS), len(TEXTS), name="own")
        assert own.score("why", TEXTS).shape == (len(TEXTS),)


@pytest.fixture
def base_model(tmp_path):
    return classic(tmp_path / "base", pooling_mode_mean_tokens=True)


def rows(count=4_000, dim=32):
    made = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("codes", ["none", "bf16", "int8"])
def test_the_exact_index_keeps_to_its_device(metric, codes, monkeypatch):
    vectors = rows()
    keys = np.arange(len(vectors))
    settings = ExactIndex.Params(codes=codes, device="cuda:0")
    made = None if codes == "none" else Codes.make(vectors, metric, codes)
    with fake_gpu(monkeypatch, dynamic=True):
        index = ExactIndex(keys, vectors, metric, settings, made, "asked for")
        for first_pass in index._passes:
            asked = first_pass.ask(vectors[:300])
            room = torch.empty(1_024, 300, device="cuda:0")
            for part in (slice(0, 1_000), np.arange(5, 900)):
                bounds = first_pass.upper(asked, part, room)
                assert (bounds.device.type, bounds.dtype) == ("cuda", torch.float32)
        index.search(vectors[:300], 10)


def test_all_pairs_keep_to_their_device(monkeypatch):
    vectors = rows(600)
    monkeypatch.setattr(all_pairs, "_alone", lambda work: work())  # the device is of this thread
    with fake_gpu(monkeypatch, dynamic=True):
        tiles = AllPairs(GroupedRows.apart(vectors), None, Metric.COSINE, device="cuda:0")._tiles(0.5)
        assert len(tiles.pairs(slice(0, 600), slice(0, 600), 0.5)) == 0  # of which no bound is known here


def test_a_hidden_wait_in_a_module_is_found(base_model, monkeypatch):
    plain = modules.Normalize.forward

    def waits(module, features):
        features = plain(module, features)
        if float(features.sentence.sum()) > 0:  # .item() in disguise
            features.sentence = features.sentence * 1
        return features

    monkeypatch.setattr(modules.Normalize, "forward", waits)
    with fake_gpu(monkeypatch), pytest.raises(HiddenWait, match="item"):
        load_encoder(str(base_model), device="cuda:0", dtype="float32").encode_documents(TEXTS)


def test_a_copy_that_blocks_is_found(base_model, monkeypatch):
    monkeypatch.setattr(inference, "on_host", lambda rows: rows.float().cpu())
    with fake_gpu(monkeypatch), pytest.raises(HiddenWait, match="blocks"):
        load_encoder(str(base_model), device="cuda:0", dtype="float32").encode_documents(TEXTS)


def test_a_host_array_that_is_read_too_soon_is_found(base_model, monkeypatch):
    with fake_gpu(monkeypatch):
        encoder = load_encoder(str(base_model), device="cuda:0", dtype="float32")
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        with pytest.raises(HiddenWait, match="before it had arrived"):
            encoder.encode_documents(TEXTS)


def test_a_table_that_stayed_on_the_host_is_found(base_model, monkeypatch):
    plain = forward.LeanEncoder._positions
    monkeypatch.setattr(forward.LeanEncoder, "_positions", lambda *given: plain(*given).to("cpu", non_blocking=True))
    with fake_gpu(monkeypatch), pytest.raises(RuntimeError, match="device"):
        load_encoder(str(base_model), device="cuda:0", dtype="float32").encode_documents(TEXTS)


def test_a_first_pass_that_forgets_its_device_is_found(monkeypatch):
    plain = Float32Pass.ask

    def forgetful(first_pass, queries):
        first_pass.device, own = "cpu", first_pass.device
        asked = plain(first_pass, queries)
        first_pass.device = own
        return asked

    monkeypatch.setattr(Float32Pass, "ask", forgetful)
    vectors = rows()
    with fake_gpu(monkeypatch, dynamic=True):
        settings = ExactIndex.Params(codes="none", device="cuda:0")
        index = ExactIndex(np.arange(len(vectors)), vectors, Metric.COSINE, settings, None, "")
        with pytest.raises(RuntimeError, match="device"):
            index.search(vectors[:300], 10)


def test_another_dtype_is_found(base_model, monkeypatch):
    plain = forward.Layer.forward
    monkeypatch.setattr(
        forward.Layer, "forward", lambda layer, hidden, *rest: plain(layer, hidden.double(), *rest).double()
    )
    with fake_gpu(monkeypatch):
        encoder = load_encoder(str(base_model), device="cuda:0", dtype="bfloat16")
        pipeline = encoder.stream("document")
        tokens = pipeline.features(TEXTS[0], "", 1).tokens
    assert tokens.dtype == torch.float64  # which the encoders' tests would see: they ask for float32 …
    assert all(layer.dtype == torch.bfloat16 for layer in pipeline.modules[0].layers)  # … of a model in bfloat16
