"""Checkpoints whose files were made for it: a sentence comes before memory is taken, time is lost or a path is left."""

import contextlib
import errno
import json
import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny
from support.encoder_checkpoints import V5, classic, followed
from support.tiny import OLD

from semsearch import load_encoder, load_reranker
from semsearch.errors import ModelError


@pytest.fixture(autouse=True)
def _bounded():
    """What takes gigabytes fails here, and not the machine."""
    if os.name != "posix":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (24 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def refused(folder, message=r"\.$"):
    with pytest.raises(ModelError, match=message) as caught:
        load_encoder(str(folder), device="cpu", dtype="float32").encode_documents(["a cat sat"])
    assert str(caught.value).endswith(".")


def reconfigure(file, **changes):
    tiny.write_json(file, json.loads(file.read_text("utf-8")) | changes)


SIZES = [
    *[("num_hidden_layers", value) for value in (10**9, 10**18, -1, 0, 1.5, "2", True, [2, 10**9], 500)],
    *[("num_attention_heads", value) for value in (0, -2, 3, 10**9, "2")],
    *[("hidden_size", value) for value in (0, -16, 17, 10**12, "16", 16.0)],
    *[("intermediate_size", value) for value in (0, -1, 10**15, 10**6)],
    *[("vocab_size", value) for value in (0, -1, 10**12, 10**7)],
    *[("max_position_embeddings", value) for value in (10**12, 65, "64", -7)],
    *[("type_vocab_size", value) for value in (-1, 10**12, {})],
    *[("layer_norm_eps", value) for value in ("small", None, [])],
    *[("hidden_act", value) for value in ({}, ["gelu"])],
    *[("model_type", value) for value in ({}, "nonsense", None, 7)],
    *[("architectures", value) for value in (7, [7], {})],
    ("auto_map", 7),
]


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize(("key", "value"), SIZES, ids=lambda value: f"{value!r:.20}")
def test_sizes_of_a_transformer(tmp_path, kind, key, value):
    """Of a family with a lean forward pass, and of one that transformers builds."""
    folder = classic(tmp_path)
    reconfigure(folder / "config.json", **({"model_type": kind} | {key: value}))
    if kind == "bert" and (key, value) in (("architectures", 7), ("architectures", [7]), ("architectures", {})):
        load_encoder(str(folder))  # nobody asks for them
        return
    refused(folder)


@pytest.mark.parametrize("key", ["max_seq_length", "model_max_length"])
@pytest.mark.parametrize(
    "value", [10**12, -4, "many", float("inf"), float("nan"), 10**400, [1]], ids=lambda value: f"{value!r:.9}"
)
def test_lengths(tmp_path, key, value):
    folder = classic(tmp_path, settings={"do_lower_case": False})
    file = "sentence_bert_config.json" if key == "max_seq_length" else "tokenizer_config.json"
    reconfigure(folder / file, **{key: value})
    with contextlib.suppress(ModelError):  # else it is read as no limit
        encoder = load_encoder(str(folder), device="cpu", dtype="float32")
        assert encoder.window == 62
        assert encoder.encode_documents(["cat " * 5000]).shape == (1, 16)


MODULES = {
    "Dense": [
        {"in_features": a, "out_features": b}
        for a, b in ((-4, 6), (16, -4), (10**12, 10**12), (16, 0), ("16", 6), (10**6, 10**6))
    ],
    "LayerNorm": [{"dimension": value} for value in (-4, 0, 10**15, "16", None, 10**6)],
    "WeightedLayerPooling": [
        {"layer_start": a, "num_hidden_layers": b} for a, b in ((9, 2), (-1, 2), (0, 10**12), ("0", 2))
    ],
    "CNN": [
        {"in_word_embedding_dimension": a, "out_channels": b, "kernel_sizes": c}
        for a, b, c in ((-4, 8, [1]), (16, -1, [1]), (10**6, 10**6, [1]), (16, 8, [10**9 + 1]), (16, 8, []), (16, 8, 7))
    ],
    "LSTM": [
        {"word_embedding_dimension": a, "hidden_dim": b, "num_layers": c}
        for a, b, c in ((-4, 8, 1), (16, -8, 1), (16, 10**6, 1), (16, 8, 10**9), (16, 8, 0), (16, 8, -1), ("a", 8, 1))
    ],
    "Pooling": [{"pooling_mode": value} for value in ("none", 7, [7], {})],
    "Normalize": [{"module_input_name": value} for value in (7, [], "__class__")],
}


@pytest.mark.parametrize(
    ("kind", "config"), [(kind, config) for kind, configs in MODULES.items() for config in configs], ids=str
)
def test_sizes_of_modules(tmp_path, kind, config):
    folder = followed(tmp_path, ("2_It", kind))
    if kind == "Normalize" and config["module_input_name"] == []:
        pytest.skip("nothing is said")
    tiny.write_json(folder / "2_It" / "config.json", config)
    tiny.write_json(folder / "2_It" / f"{kind.lower()}_config.json", config)
    tiny.weights(folder / "2_It", linear__weight=(6, 16))
    refused(folder)


@pytest.mark.parametrize("value", [-4, 0, 17, 10**12, "8", 2.5, [8], float("inf")])
def test_the_dim_that_a_checkpoint_is_cut_to(tmp_path, value):
    tiny.write_json(classic(tmp_path) / "config_sentence_transformers.json", {"truncate_dim": value})
    refused(tmp_path, "truncate_dim")


NAMES = (
    "config.json",
    "modules.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "tokenizer.json",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, "", "7", "null", '"a"', "\ud800", "9" * 9999],
)
def test_json_that_is_none(tmp_path, name, content):
    (classic(tmp_path) / name).write_text(content, "utf-8", "surrogatepass")
    refused(tmp_path)


@pytest.mark.parametrize(
    "modules",
    [
        [{"path": "", "type": OLD + "Transformer"}] * 100_000,
        [7], {"a": 1}, [{}], [{"path": 7, "type": 7}], [{"path": "", "type": OLD + "Transformer", "kwargs": 7}], [[]],
        [{"path": "a\0b", "type": OLD + "Pooling"}],
        [{"path": "a" * 5000, "type": OLD + "Pooling"}],
    ],
    ids=lambda modules: f"{modules!s:.40}",
)  # fmt: skip
def test_lists_of_modules_that_are_none(tmp_path, modules):
    tiny.write_json(classic(tmp_path) / "modules.json", modules)
    refused(tmp_path)


@pytest.mark.parametrize("path", ["", ".", "./.", "inner/.."])
def test_a_router_in_itself(tmp_path, path):
    folder = classic(tmp_path)
    tiny.modules_json(folder, ("", V5 + "Router"))
    config = {"types": {path: V5 + "Router"}, "structure": {"query": [path], "document": [path]}}
    tiny.write_json(folder / "router_config.json", config)
    refused(folder)


def test_a_router_of_many_modules(tmp_path):
    folder = classic(tmp_path)
    tiny.modules_json(folder, ("", V5 + "Router"))
    for structure in ({"query": ["a"] * 10**6, "document": ["a"]}, 7, {"query": 7}, {"query": ["b"]}):
        config = {"types": {"a": OLD + "Normalize"}, "structure": structure}
        tiny.write_json(folder / "router_config.json", config)
        refused(folder)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_module_behind_a_link(tmp_path):
    folder = classic(tmp_path / "model")
    (folder / "1_Pooling").rename(tmp_path / "elsewhere")
    (folder / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    refused(folder, r"names a path outside of itself \('1_Pooling' leads to ")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_the_links_of_the_hubs_cache_are_its_own(tmp_path):
    """A snapshot is made of links to blobs beside it; those that lead out of the model are refused there, too."""
    home = tmp_path / "models--own--model"
    snapshot = classic(home / "snapshots" / "abc")
    (home / "blobs").mkdir()
    (snapshot / "1_Pooling").rename(home / "blobs" / "pooling")
    (snapshot / "1_Pooling").symlink_to("../../blobs/pooling")
    assert load_encoder(str(snapshot), dtype="float32").dim == 16
    (home / "blobs" / "pooling").rename(tmp_path / "elsewhere")
    (snapshot / "1_Pooling").unlink()
    (snapshot / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    refused(snapshot, "names a path outside of itself")


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", 7, ["a"], "a\0b"])
def test_shards_that_lead_out(tmp_path, shard):
    folder = classic(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    tiny.write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    refused(folder)


def test_a_tokenizer_that_names_a_file_elsewhere(tmp_path):
    folder = classic(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (tmp_path / "secret.txt").write_text("\n".join(tiny.SPECIAL + tiny.WORDS))
    for said in (str(tmp_path / "secret.txt"), "../secret.txt"):
        tiny.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "vocab_file": said})
        refused(folder, "names a file outside of itself")


def header(said, length=None, body=bytes(64)):
    content = json.dumps(said).encode() if not isinstance(said, bytes) else said
    return struct.pack("<Q", len(content) if length is None else length) + content + body


def entry(*offsets, shape=(2, 2), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS = {
    "a header of a hundred gigabytes": header({}, 100 << 30),
    "a header of all there is": header({}, (1 << 64) - 1),
    "a header of nothing": header({}, 0),
    "offsets beyond the file": header({"a": entry(0, 1 << 40)}),
    "offsets that run backwards": header({"a": entry(16, 0)}),
    "offsets below zero": header({"a": entry(-16, 0)}),
    "parts that overlap": header({"a": entry(0, 16), "b": entry(8, 24)}),
    "a shape that overflows": header({"a": entry(0, 16, shape=(1 << 62, 4))}),
    "a shape below zero": header({"a": entry(0, 16, shape=(-2, -2))}),
    "a shape of another size": header({"a": entry(0, 16, shape=(9, 9))}),
    "a shape without end": header({"a": entry(0, 16, shape=[1] * 100_000)}),
    "numbers that are none": header({"a": entry(0, 16, dtype="PICKLE")}),
    "JSON in JSON": header(b'{"a":' * 100_000),
    "what is no JSON": header(b"\xff" * 100),
    "a name twice": header(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        body=bytes(4),
    ),
    "too short for anything": b"\0\0\0",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HEADERS)
def test_safetensors_with_a_hostile_header(tmp_path, what):
    (classic(tmp_path) / "model.safetensors").write_bytes(HEADERS[what])
    refused(tmp_path)


@pytest.mark.parametrize("shape", [(0, 16), (64, 0), (64,), (64, 16, 1), (1, 16), (63, 16)])
def test_weights_of_other_shapes(tmp_path, shape):
    folder = classic(tmp_path)
    for name in (
        "embeddings.position_embeddings.weight",
        "encoder.layer.0.attention.self.query.weight",
        "embeddings.LayerNorm.bias",
    ):
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors | {name: torch.zeros(shape)}, folder / "model.safetensors")
        refused(folder)
        save_file(tensors, folder / "model.safetensors")


REGEXES = [
    "(a+)+$",
    "(.*)*" * 20 + "x",
    "(?<",
    "[",
    "(?:" * 100_000 + ")" * 100_000,
    "((a{1000}){1000}){1000}",
    "\\p{Nonsense}",
    "(?R)",
]


@pytest.mark.parametrize("regex", REGEXES, ids=lambda regex: f"{regex:.12}")
def test_a_tokenizer_of_hostile_expressions(tmp_path, regex):
    """Refused when it is opened or when it splits, or harmless; time is bounded by the library."""
    folder = classic(tmp_path)
    file = folder / "tokenizer.json"
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    reconfigure(file, pre_tokenizer=split)
    with contextlib.suppress(ModelError):
        found = load_encoder(str(folder), dtype="float32").encode_documents(["a" * 60 + "!", "a cat"])
        assert found.shape == (2, 16)


def test_a_reranker_is_held_to_the_same(tmp_path):
    folder = classic(tmp_path)
    (folder / "modules.json").unlink()
    for changes in ({"num_hidden_layers": 10**9}, {"num_attention_heads": 0}, {"vocab_size": -1}, {"id2label": 7}):
        reconfigure(
            tiny.bert(tmp_path / "r") / "config.json", architectures=["BertForSequenceClassification"], **changes
        )
        with pytest.raises(ModelError, match=r"\.$"):
            load_reranker(str(tmp_path / "r"), device="cpu")


SCARCE = [
    MemoryError("no 2 GB"),
    *(OSError(number, os.strerror(number)) for number in (errno.ENOMEM, errno.EMFILE, errno.ENFILE)),
]


@pytest.mark.parametrize("error", SCARCE, ids=repr)
@pytest.mark.parametrize("load", [load_encoder, load_reranker])
def test_want_of_memory_or_files_is_no_fault_of_the_checkpoint(tmp_path, monkeypatch, error, load):
    def failing(*_, **__):
        raise error

    folder = classic(tmp_path)
    monkeypatch.setattr("json.loads", failing)
    with pytest.raises(type(error)) as raised:
        load(str(folder))
    assert raised.value is error
