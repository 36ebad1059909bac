"""What can't be opened faithfully is refused with its reason; nothing is silently wrong, and no code is run."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny
from support.encoder_checkpoints import classic, followed
from support.tiny import OLD, TEXTS

from semsearch import load_encoder
from semsearch.errors import DataError, EncodingFailed, ModelError, UsageError


def refused(folder, message, **settings):
    with pytest.raises(ModelError, match=message) as caught:
        load_encoder(str(folder), device="cpu", dtype="float32", **settings)
    assert str(caught.value).endswith(".")  # a sentence
    return caught.value


def reconfigure(file: Path, **changes) -> None:
    tiny.write_json(file, json.loads(file.read_text("utf-8")) | changes)


@pytest.mark.parametrize("kind", ["bert", "qwen2", "new"])
def test_a_model_with_code_of_its_own(tmp_path, kind):
    """Jina v2 calls itself bert and GTE qwen2: transformers would open either as what it is not."""
    folder = classic(tmp_path)
    remote = {"AutoConfig": "own--configuration.OwnConfig", "AutoModel": "own--modeling.OwnModel"}
    reconfigure(folder / "config.json", model_type=kind, auto_map=remote)
    refused(folder, rf"needs code of its own for its model \('{kind}'\)")


def test_code_that_transformers_has_by_now_must_describe_the_same_model(tmp_path):
    folder = classic(tmp_path)
    remote = {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"}
    reconfigure(folder / "config.json", model_type="nomic_bert", auto_map=remote, num_experts=8, n_embd=768)
    refused(folder, r"the 'nomic_bert' that transformers has is another: vocab_size, num_experts")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("custom_st.Transformer", "needs code of its own for its module 'custom_st.Transformer'"),
        ("jinaai/own--module.Pooling", "needs code of its own for its module"),
        (OLD + "Nonsense", "needs code of its own for its module"),
        (OLD + "WKPooling", "WKPooling was removed"),
        ("sentence_transformers.sparse_encoder.models.SpladePooling", r"sparse \(SPLADE\)"),
        (OLD + "CLIPModel", "'clipmodel' can't follow another"),
    ],
)
def test_unknown_modules(tmp_path, kind, message):
    folder = classic(tmp_path)
    tiny.modules_json(folder, ("", OLD + "Transformer"), ("1_Pooling", kind))
    refused(folder, message)


@pytest.mark.parametrize("family", ["CrossEncoder", "SparseEncoder", "MultiVectorEncoder", "ColBERT"])
def test_other_families(tmp_path, family):
    tiny.write_json(classic(tmp_path) / "config_sentence_transformers.json", {"model_type": family})
    refused(tmp_path, "holds no text embedding model: it is a")


def test_a_bare_reranker(tmp_path):
    reconfigure(tiny.bert(tmp_path) / "config.json", architectures=["BertForSequenceClassification"])
    refused(tmp_path, "it is a reranker")


def test_missing_and_unexpected_weights(tmp_path):
    folder = classic(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    left_out = {name: tensor for name, tensor in tensors.items() if name != "encoder.layer.1.output.dense.weight"}
    save_file(left_out, folder / "model.safetensors")
    refused(folder, r"encoder\.layer\.1\.output\.dense\.weight")
    save_file(tensors | {"encoder.layer.0.adapter.weight": torch.ones(3)}, folder / "model.safetensors")
    refused(folder, r"encoder\.layer\.0\.adapter\.weight")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"linear__weight": (6, 16)}, r"it lacks linear\.bias"),
        ({"linear__weight": (6, 16), "linear__bias": (6,), "extra": (1,)}, "it holds extra, which nothing uses"),
        ({"linear__weight": (16, 6), "linear__bias": (6,)}, r"the shape \(16, 6\) where \(6, 16\) is declared"),
    ],
)
def test_weights_of_a_dense_module(tmp_path, shapes, message):
    folder = followed(tmp_path, ("2_Dense", "Dense"))
    tiny.write_json(folder / "2_Dense" / "config.json", {"in_features": 16, "out_features": 6, "bias": True})
    tiny.weights(folder / "2_Dense", **shapes)
    refused(folder, message)


def test_a_dense_module_of_another_width(tmp_path):
    folder = followed(tmp_path, ("2_Dense", "Dense"))
    tiny.write_json(folder / "2_Dense" / "config.json", {"in_features": 12, "out_features": 6, "bias": False})
    tiny.weights(folder / "2_Dense", linear__weight=(6, 12))
    refused(folder, "takes 12 components, but is given 16")


@pytest.mark.parametrize("activation", ["os.system", "torch.hub.load", "torch.nn.Module", "own.module.Swish"])
def test_activations_are_torchs_own(tmp_path, activation):
    folder = followed(tmp_path, ("2_Dense", "Dense"))
    config = {"in_features": 16, "out_features": 6, "bias": False, "activation_function": activation}
    tiny.write_json(folder / "2_Dense" / "config.json", config)
    tiny.weights(folder / "2_Dense", linear__weight=(6, 16))
    refused(folder, "which is not one of torch's and is not imported")


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["SEMSEARCH_HOME"],)


@pytest.mark.parametrize("old", [True, False], ids=["plain pickle", "torch file"])
def test_a_pickle_runs_nothing(tmp_path, old):
    folder = classic(tmp_path, safe=False)
    if old:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings": Bomb()}, protocol=2))
    else:
        torch.save({"embeddings": Bomb()}, folder / "pytorch_model.bin")
    refused(folder, "can't be read as weights")
    assert not Path(os.environ["SEMSEARCH_HOME"]).exists()


def test_damaged_files(tmp_path):
    folder = classic(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    refused(folder, r"model\.safetensors can't be read as weights")
    (folder / "model.safetensors").unlink()
    refused(folder, "holds no weights: none of model.safetensors, ")
    (folder / "model.safetensors").write_bytes(whole)
    tokenizer = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(tokenizer[:200], "utf-8")
    refused(folder, r"tokenizer\.json can't be read as a tokenizer")
    (folder / "tokenizer.json").write_text(tokenizer, "utf-8")
    (folder / "1_Pooling" / "config.json").write_text("{", "utf-8")
    refused(folder, r"config\.json is not JSON")


def test_a_module_without_its_configuration(tmp_path):
    folder = classic(tmp_path)
    (folder / "1_Pooling" / "config.json").unlink()
    refused(folder, r"1_Pooling lacks config\.json, which its module pooling needs")


def test_a_folder_without_a_model(tmp_path):
    refused(tmp_path, "neither a modules.json nor a config.json")


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a/../../b"])
def test_paths_that_lead_out(tmp_path, path):
    folder = classic(tmp_path)
    tiny.modules_json(folder, ("", OLD + "Transformer"), (path, OLD + "Pooling"))
    refused(folder, "names a path outside of itself")


def test_an_adapter(tmp_path):
    tiny.write_json(classic(tmp_path) / "adapter_config.json", {"peft_type": "LORA"})
    refused(tmp_path, "holds an adapter")


def test_settings_that_could_change_a_vector(tmp_path):
    folder = classic(tmp_path, settings={"max_seq_length": 32, "model_args": {"rope_scaling": {"factor": 2}}})
    refused(folder, "wants model_args that semsearch doesn't know: rope_scaling")
    classic(tmp_path / "b", settings={"max_seq_length": 32, "model_args": {"attn_implementation": "eager"}})
    load_encoder(str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transformer_task": "fill-mask", "module_output_name": "token_embeddings"}, "for 'fill-mask'"),
        (
            {
                "modality_config": {"text": {"method": "get_text_features", "method_output_name": None}},
                "module_output_name": "sentence_embedding",
            },
            "output 'sentence_embedding' of 'get_text_features'",
        ),
        (
            {
                "modality_config": {
                    kind: {"method": "forward", "method_output_name": "last_hidden_state"}
                    for kind in ("text", "message")
                },
                "module_output_name": "token_embeddings",
            },
            "wraps its texts in a chat template",
        ),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "processing_kwargs .*: add_special_tokens"),
        ({"query_expansion": {"strategy": "fixed", "length": 32}}, r"late-interaction \(ColBERT\)"),
        ({"tokenizer_args": {"add_prefix_space": True}}, "tokenizer_args .*: add_prefix_space"),
        ({"config_args": {"layer_norm_eps": 0.1}}, "config_args .*: layer_norm_eps"),
    ],
)
def test_uses_of_a_transformer_that_are_not_known(tmp_path, settings, message):
    refused(classic(tmp_path, settings=settings), message)


def test_a_similarity_that_no_index_has(tmp_path):
    tiny.write_json(classic(tmp_path) / "config_sentence_transformers.json", {"similarity_fn_name": "manhattan"})
    refused(tmp_path, "compares vectors by 'manhattan'; known are cosine, dot")


def test_numbers_that_are_none_name_their_text(tmp_path):
    folder = classic(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][(tiny.SPECIAL + tiny.WORDS).index("vaccines")] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    with pytest.raises(EncodingFailed, match=r"NaN or infinite numbers for .*'why do vaccines work"):
        encoder.encode_documents(TEXTS)
    assert np.isfinite(encoder.encode_documents([text for text in TEXTS if "vaccines" not in text])).all()


def test_arguments(tmp_path):
    folder = str(classic(tmp_path))
    for settings, message in (
        ({"device": "abacus"}, "'abacus' names no device"),
        ({"dtype": "int8"}, "'int8' is no dtype to compute in"),
        ({"truncate_dim": 0}, "between 1 and the model's 16"),
        ({"truncate_dim": 17}, "between 1 and the model's 16"),
        ({"prompts": {"question": "?"}}, "the roles are query and document"),
    ):
        with pytest.raises(UsageError, match=message):
            load_encoder(folder, **settings)
    encoder = load_encoder(folder)
    with pytest.raises(UsageError, match="must be a list of texts"):
        encoder.encode_queries("why")
    with pytest.raises(UsageError, match="text 1 is no text but a NoneType"):
        encoder.encode_documents(["why", None])
    with pytest.raises(DataError, match=r"'why \\ud800' can't be written as UTF-8"):
        encoder.encode_documents(["why \ud800"])


def test_no_texts_and_empty_ones(tmp_path):
    encoder = load_encoder(str(classic(tmp_path)), dtype="float32")
    assert encoder.encode_documents([]).shape == (0, 16)
    assert np.isfinite(encoder.encode_documents(["", " ", "\0", "cat"])).all()


def test_a_text_of_megabytes_is_clipped_and_gives_the_same(tmp_path):
    encoder = load_encoder(str(classic(tmp_path)), dtype="float32")
    short, long = "the cat sat on the mat " * 20, "the cat sat on the mat " * 100_000
    assert (encoder.encode_documents([long]) == encoder.encode_documents([short])).all()
    one_word = "x" * 300_000 + " cat"  # a word too long for the vocabulary is one unknown token
    assert np.abs(encoder.encode_documents([one_word]) - encoder.encode_documents(["x" * 200 + " cat"])).max() < 1e-6
