"""The lean forward pass against transformers' own, on a tiny random model of each family, and what it refuses."""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from semsearch.encoder.features import Features
from semsearch.encoder.forward import LeanEncoder
from semsearch.encoder.mapped_weights import Unsupported
from semsearch.encoder.numpy_forward import TextFeatures
from semsearch.encoder.numpy_modules import NumpyModules
from semsearch.encoder.packing import plan
from semsearch.encoder.padded import PaddedEncoder
from semsearch.encoder.transformer import load_transformer
from semsearch.errors import ModelError

pytestmark = pytest.mark.threads

SIZES = {
    "vocab_size": 120,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 90,
}
LEAN = {
    "bert": (transformers.BertModel, transformers.BertConfig(**SIZES, type_vocab_size=2)),
    "bert-relu": (transformers.BertModel, transformers.BertConfig(**SIZES, hidden_act="relu")),
    "bert-silu": (transformers.BertModel, transformers.BertConfig(**SIZES, hidden_act="silu")),
    "bert-tanh": (transformers.BertModel, transformers.BertConfig(**SIZES, hidden_act="gelu_new")),
    "roberta": (transformers.RobertaModel, transformers.RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1)),
    "xlm-roberta": (transformers.XLMRobertaModel, transformers.XLMRobertaConfig(**SIZES, pad_token_id=1)),
    "camembert": (transformers.CamembertModel, transformers.CamembertConfig(**SIZES, pad_token_id=1)),
    "mpnet": (transformers.MPNetModel, transformers.MPNetConfig(**SIZES, pad_token_id=1)),
    "distilbert": (
        transformers.DistilBertModel,
        transformers.DistilBertConfig(
            vocab_size=120, dim=48, n_layers=3, n_heads=4, hidden_dim=80, max_position_embeddings=90
        ),
    ),
    "electra": (transformers.ElectraModel, transformers.ElectraConfig(**SIZES, embedding_size=32)),
    "electra-wide": (transformers.ElectraModel, transformers.ElectraConfig(**SIZES, embedding_size=48)),
    "albert": (transformers.AlbertModel, transformers.AlbertConfig(**SIZES, embedding_size=32)),
}
PADDED = {
    "gpt2": (
        transformers.GPT2Model,
        transformers.GPT2Config(vocab_size=120, n_embd=48, n_layer=2, n_head=4, n_positions=90),
    ),
    "t5": (
        transformers.T5Model,
        transformers.T5Config(vocab_size=120, d_model=48, d_kv=12, d_ff=80, num_layers=2, num_heads=4),
    ),
    "bart": (
        transformers.BartModel,
        transformers.BartConfig(
            vocab_size=120,
            d_model=48,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=80,
            decoder_ffn_dim=80,
            max_position_embeddings=90,
        ),
    ),
    "mbart": (  # its decoder begins with the last token before the padding
        transformers.MBartModel,
        transformers.MBartConfig(
            vocab_size=120,
            d_model=48,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=80,
            decoder_ffn_dim=80,
            max_position_embeddings=90,
            pad_token_id=1,
        ),
    ),
    "modernbert": (
        transformers.ModernBertModel,
        transformers.ModernBertConfig(
            **SIZES, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2
        ),
    ),
}


@pytest.fixture(scope="module", params=[*LEAN, *PADDED])
def family(request, tmp_path_factory):
    """A tiny random checkpoint: its name, its folder, transformers' model."""
    kind, config = (LEAN | PADDED)[request.param]
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # biases and norms start at 0 and 1: nothing would be tested
            parameter.add_(torch.randn_like(parameter) * (0.1 if "norm" in name.lower() or "bias" in name else 0.03))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return request.param, folder, model


@pytest.fixture(scope="module")
def texts():
    generator = torch.Generator().manual_seed(1)
    lengths = [1, 2, 5, 5, 9, 17, 30, 32, 33, 40, 64, 85]
    return [torch.randint(5, 120, (length,), generator=generator) for length in lengths]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def features(texts, rows=None):
    lengths = torch.tensor([len(text) for text in texts])
    return Features(torch.cat(texts), lengths, torch.zeros_like(lengths), rows=rows)


def tokens(module, texts):
    with torch.inference_mode():
        made = module(features(texts))
    return made.tokens.split([len(text) for text in texts])


def whole(model):
    """What gives the last state: of T5 the encoder alone, of BART the decoder behind it."""
    return model.get_encoder() if model.config.model_type == "t5" else model


def expected(model, texts):
    with torch.inference_mode():
        return [whole(model)(input_ids=text[None]).last_hidden_state[0] for text in texts]


def close(got, wanted, tolerance=1e-5):
    for own, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(own.float(), reference, atol=tolerance, rtol=tolerance)


def test_tokens_are_those_of_transformers(family, texts):
    name, folder, model = family
    module = load_transformer(folder, config_of(folder), None, torch.float32, "cpu")
    assert isinstance(module, LeanEncoder if name in LEAN else PaddedEncoder)
    close(tokens(module, texts), expected(model, texts))


def test_tokens_by_numpy_are_the_same(family, texts):
    name, folder, model = family
    numpy = NumpyModules()
    if name in PADDED:
        with pytest.raises(Unsupported):
            numpy.transformer(folder, config_of(folder), None, all_layers=False)
        return
    module = numpy.transformer(folder, config_of(folder), None, all_layers=False)
    made = [TextFeatures(text.numpy(), 0) for text in texts]
    for one in made:
        module(one)
    close([torch.from_numpy(one.tokens) for one in made], expected(model, texts))


def test_planned_batches_give_the_same(family, texts):
    _, folder, model = family
    module = load_transformer(folder, config_of(folder), None, torch.float32, "cpu")
    wanted = expected(model, texts)
    lengths = np.array([len(text) for text in texts])
    for batch in plan(lengths, 256, share=module.shares_rows):
        chosen = [texts[i] for i in batch.texts]
        with torch.inference_mode():
            made = module(features(chosen, batch.rows(lengths[batch.texts])))
        close(made.tokens.split([len(text) for text in chosen]), [wanted[i] for i in batch.texts])


def test_bfloat16_stays_near(family, texts):
    _, folder, model = family
    module = load_transformer(folder, config_of(folder), None, torch.bfloat16, "cpu")
    for own, reference in zip(tokens(module, texts), expected(model, texts), strict=True):
        assert torch.cosine_similarity(own.float(), reference).min() > 0.995


def test_hidden_layers(family, texts):
    name, folder, model = family
    if name in ("bart", "mbart"):
        with pytest.raises(ModelError, match=r"weighs the layers of a model with an encoder and a decoder"):
            load_transformer(folder, config_of(folder), None, torch.float32, "cpu", all_layers=True)
        return
    module = load_transformer(folder, config_of(folder), None, torch.float32, "cpu", all_layers=True)
    with torch.inference_mode():
        made = module(features(texts[-1:]))
        wanted = whole(model)(input_ids=texts[-1][None], output_hidden_states=True).hidden_states
    close(made.layers, [states[0] for states in wanted])


def test_a_spelt_out_padding_token_counts_as_in_transformers(texts, tmp_path):
    model = transformers.RobertaModel(LEAN["roberta"][1]).eval()
    model.save_pretrained(tmp_path)
    module = load_transformer(tmp_path, config_of(tmp_path), None, torch.float32, "cpu")
    odd = torch.tensor([0, 8, 1, 1, 9, 2])
    close(tokens(module, [texts[4], odd, texts[5]]), expected(model, [texts[4], odd, texts[5]]))


def test_attention_in_chunks_is_attention(texts, tmp_path, monkeypatch):
    model = transformers.MPNetModel(LEAN["mpnet"][1]).eval()
    model.save_pretrained(tmp_path)
    module = load_transformer(tmp_path, config_of(tmp_path), None, torch.bfloat16, "cpu")
    fused, chunked, small = [], [], []
    for amx, cached, got in ((True, 1, fused), (False, 10**9, chunked), (False, 1, small)):
        monkeypatch.setattr("semsearch.encoder.forward.cpu_has", lambda feature, amx=amx: amx)
        monkeypatch.setattr("semsearch.encoder.forward.CACHED", cached)
        got.extend(tokens(module, texts))
    close(chunked, [own.float() for own in small], 0)
    close(chunked, [own.float() for own in fused], 0.05)


# Layouts of the weights.


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    model = transformers.BertModel(LEAN["bert"][1]).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model


def rewrite(folder, change):
    stored = load_file(folder / "model.safetensors")
    save_file(change(stored), folder / "model.safetensors")


def test_weights_of_a_model_with_a_head(bert, texts):
    folder, model = bert
    head = {"cls.predictions.bias": torch.zeros(120), "bert.embeddings.position_ids": torch.arange(90)[None]}
    rewrite(folder, lambda stored: {f"bert.{name}": tensor for name, tensor in stored.items()} | head)
    close(
        tokens(load_transformer(folder, config_of(folder), None, torch.float32, "cpu"), texts), expected(model, texts)
    )


def test_names_of_2019(bert, texts):
    folder, model = bert
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def change(stored):
        for new, name in old.items():
            stored = {key.replace(new, name): tensor for key, tensor in stored.items()}
        return stored

    rewrite(folder, change)
    close(
        tokens(load_transformer(folder, config_of(folder), None, torch.float32, "cpu"), texts), expected(model, texts)
    )


def test_pickled_weights(bert, texts):
    folder, model = bert
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    close(
        tokens(load_transformer(folder, config_of(folder), None, torch.float32, "cpu"), texts), expected(model, texts)
    )


def test_sharded_weights(bert, texts):
    folder, model = bert
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").is_file()
    close(
        tokens(load_transformer(folder, config_of(folder), None, torch.float32, "cpu"), texts), expected(model, texts)
    )


@pytest.mark.parametrize("name", list(LEAN))
def test_a_missing_weight_is_refused(name, tmp_path):
    kind, config = LEAN[name]
    kind(config).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    gone = next(key for key in sorted(stored) if "lin1.weight" in key or "ffn.weight" in key or "intermediate" in key)
    del stored[gone]
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=gone.rpartition("layer.")[2]):
        load_transformer(tmp_path, config_of(tmp_path), None, torch.float32, "cpu")


def test_a_left_over_weight_is_refused(bert):
    folder, _ = bert
    rewrite(folder, lambda stored: stored | {"encoder.layer.3.output.dense.bias": torch.zeros(48)})
    with pytest.raises(ModelError, match=r"nothing uses encoder\.layer\.3\.output\.dense\.bias"):
        load_transformer(folder, config_of(folder), None, torch.float32, "cpu")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("encoder.layer.1.output.dense.weight", (48, 79)),
        ("encoder.layer.0.attention.self.key.bias", (47,)),
        ("embeddings.position_embeddings.weight", (90, 40)),
        ("embeddings.LayerNorm.weight", (1,)),
    ],
)
def test_a_weight_of_another_shape_is_refused(bert, name, size):
    folder, _ = bert
    rewrite(folder, lambda stored: stored | {name: torch.zeros(size)})
    with pytest.raises(ModelError, match=r"shape|wide"):
        load_transformer(folder, config_of(folder), None, torch.float32, "cpu")


def test_a_missing_weight_of_another_architecture_is_refused(tmp_path):
    kind, config = PADDED["gpt2"]
    kind(config).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda stored: {name: tensor for name, tensor in stored.items() if name != "h.1.mlp.c_fc.weight"})
    with pytest.raises(ModelError, match=r"missing are .*h\.1\.mlp\.c_fc\.weight"):
        load_transformer(tmp_path, config_of(tmp_path), None, torch.float32, "cpu")


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    config = {"model_type": "novel", "auto_map": {"AutoModel": "modeling_novel.NovelModel"}}
    with pytest.raises(ModelError, match="runs no code from checkpoints"):
        load_transformer(tmp_path, config, None, torch.float32, "cpu")


def test_layers_that_are_one_are_packed_once(tmp_path):
    kind, config = LEAN["albert"]
    kind(config).save_pretrained(tmp_path)
    module = load_transformer(tmp_path, config_of(tmp_path), None, torch.float32, "cpu")
    assert len({id(layer) for layer in module.layers}) == 1
    assert len(module.layers) == 3


@pytest.mark.real
def test_the_real_minilm(minilm):
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    module = load_transformer(minilm, config_of(minilm), None, torch.float32, "cpu")
    generator = torch.Generator().manual_seed(2)
    real = [torch.randint(1000, 30000, (length,), generator=generator) for length in (3, 11, 16, 31, 47, 120, 256)]
    close(tokens(module, real), expected(model, real))
