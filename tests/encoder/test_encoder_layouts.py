"""Every layout of published checkpoints, generated tiny and compared with sentence-transformers' vectors."""

import json
import warnings

import numpy as np
import pytest
import torch
from support import tiny
from support.encoder_checkpoints import BASE, V5, assert_as_peer, classic, dense, followed
from support.tiny import OLD, TEXTS

from semsearch import load_encoder
from semsearch.errors import ModelError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _quiet_peer():
    """What sentence-transformers warns of when it opens old layouts is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- transformers of every generation -------------------------------------------------------------------------------


def test_version_0_folder_with_a_pickle(tmp_path):
    folder = classic(tmp_path, safe=False, module=OLD + "BERT", path="0_BERT")
    tiny.write_json(tmp_path / "config.json", {"__version__": "0.2.5"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "0_BERT" / name).unlink()
    (folder / "0_BERT" / "vocab.txt").write_text("\n".join(tiny.SPECIAL + tiny.WORDS) + "\n", "utf-8")
    tiny.write_json(folder / "0_BERT" / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 64})
    # version 6 no longer knows the names of the wrappers
    peer = tiny.copy(folder, tmp_path.with_name(tmp_path.name + "-peer"))
    tiny.modules_json(peer, ("0_BERT", OLD + "Transformer"), ("1_Pooling", OLD + "Pooling"))
    assert assert_as_peer(folder, peer=peer).window == 30


def test_version_2_in_the_root_cut_to_its_length(tmp_path):
    encoder = assert_as_peer(classic(tmp_path, settings={"max_seq_length": 12, "do_lower_case": False}))
    assert encoder.window == 10
    assert encoder.truncated > 0


@pytest.mark.parametrize("name", ["roberta", "distilbert", "xlm-roberta", "xlnet", "albert", "camembert"])
def test_configuration_under_the_names_of_version_0(tmp_path, name):
    folder = classic(tmp_path, settings={})
    (folder / "sentence_bert_config.json").unlink()
    tiny.write_json(folder / f"sentence_{name}_config.json", {"max_seq_length": 9, "do_lower_case": False})
    assert assert_as_peer(folder).window == 7


def test_lower_casing_of_a_cased_model(tmp_path):
    folder = classic(tmp_path, settings={"max_seq_length": 32, "do_lower_case": True})
    tiny.bert_tokenizer(folder, do_lower_case=False)
    encoder = assert_as_peer(folder)
    assert (encoder.encode_documents(["CATS"]) == encoder.encode_documents(["cats"])).all()


def test_settings_of_the_tokenizer_count_more_than_its_file(tmp_path):
    folder = classic(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["do_lower_case"] is True
    tiny.write_json(folder / "tokenizer_config.json", settings | {"do_lower_case": False})
    encoder = assert_as_peer(folder)
    assert (encoder.encode_documents(["CATS"]) != encoder.encode_documents(["cats"])).any()


def test_a_bert_lower_cases_unless_told(tmp_path):
    folder = classic(tmp_path)
    tiny.bert_tokenizer(folder, do_lower_case=False)
    (folder / "tokenizer_config.json").unlink()
    encoder = assert_as_peer(folder)
    assert (encoder.encode_documents(["CATS"]) == encoder.encode_documents(["cats"])).all()


def test_vocabulary_files_of_roberta(tmp_path):
    """As its v0.x checkpoints came: vocab.json and merges.txt, no tokenizer.json."""
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    letters = {
        letter: i + 4
        for i, letter in enumerate([*"abcdefghijklmnopqrstuvwxyz.,?", "Ġ", "T", "W", "N", "Y", "th", "Ġth"])
    }
    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **letters, "<mask>": len(letters) + 4}
    folder = tmp_path / "0_RoBERTa"
    folder.mkdir()
    tiny.write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nĠ th\n", "utf-8")
    config = RobertaConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    tiny.save(RobertaModel(config), folder, safe=False)
    tiny.write_json(folder / "sentence_roberta_config.json", {"max_seq_length": 64, "do_lower_case": False})
    tiny.pooling(tmp_path / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(tmp_path, ("0_RoBERTa", OLD + "RoBERTa"), ("1_Pooling", OLD + "Pooling"))
    peer = tiny.copy(tmp_path, tmp_path.with_name(tmp_path.name + "-peer"))
    tiny.modules_json(peer, ("0_RoBERTa", OLD + "Transformer"), ("1_Pooling", OLD + "Pooling"))
    encoder = assert_as_peer(tmp_path, [text[:30] for text in TEXTS], peer=peer)
    assert encoder.window == 36  # of 40 positions, RoBERTa's begin behind the padding id; two are special
    assert np.isfinite(encoder.encode_documents(["th" * 200])).all()


def test_sentencepiece_of_xlm_roberta(tmp_path):
    """As its v0.x checkpoints came: sentencepiece.bpe.model, no tokenizer.json."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import XLMRobertaConfig, XLMRobertaModel

    folder = tmp_path / "0_XLMRoBERTa"
    folder.mkdir()
    (tmp_path / "text.txt").write_text("\n".join(TEXTS * 3), "utf-8")
    sentencepiece.SentencePieceTrainer.Train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "spm"),
        vocab_size=50,
        minloglevel=2,
        num_threads=1,
    )
    (tmp_path / "spm.model").rename(folder / "sentencepiece.bpe.model")
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=70,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=80,
    )
    tiny.save(XLMRobertaModel(config), folder, safe=False)
    tiny.write_json(folder / "sentence_xlm-roberta_config.json", {"max_seq_length": 64, "do_lower_case": False})
    tiny.pooling(tmp_path / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(tmp_path, ("0_XLMRoBERTa", OLD + "XLMRoBERTa"), ("1_Pooling", OLD + "Pooling"))
    peer = tiny.copy(tmp_path, tmp_path.with_name(tmp_path.name + "-peer"))
    tiny.modules_json(peer, ("0_XLMRoBERTa", OLD + "Transformer"), ("1_Pooling", OLD + "Pooling"))
    assert_as_peer(tmp_path, peer=peer)


def test_version_5_4_spells_it_anew(tmp_path):
    tiny.bert(tmp_path)
    tiny.write_json(
        tmp_path / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        },
    )
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    tiny.write_json(tmp_path / "tokenizer_config.json", settings | {"model_max_length": 11})
    tiny.write_json(
        tmp_path / "1_Pooling" / "config.json",
        {"embedding_dimension": 16, "pooling_mode": ["max", "cls"], "include_prompt": True},
    )
    tiny.write_json(
        tmp_path / "2_Normalize" / "config.json",
        {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"},
    )
    tiny.modules_json(
        tmp_path,
        ("", BASE + "transformer.Transformer"),
        ("1_Pooling", V5 + "pooling.Pooling"),
        ("2_Normalize", BASE + "normalize.Normalize"),
    )
    tiny.write_json(
        tmp_path / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "prompts": {"query": "query : ", "document": ""},
            "similarity_fn_name": "cosine",
        },
    )
    encoder = assert_as_peer(tmp_path)
    assert (encoder.window, encoder.dim) == (9, 32)
    assert encoder.prompts.query == "query : "


def test_lengths_by_role(tmp_path):
    folder = classic(tmp_path, settings={"query_length": 6, "document_length": 11})
    encoder = assert_as_peer(folder)
    assert encoder.window == 9
    long, cut = TEXTS[-1], " ".join(TEXTS[-1].split()[:4])
    assert (encoder.encode_queries([long]) == encoder.encode_queries([cut])).all()


def test_lengths_of_the_processing(tmp_path):
    folder = classic(tmp_path, settings={"max_seq_length": 30, "processing_kwargs": {"text": {"max_length": 7}}})
    assert assert_as_peer(folder).window == 5


def test_what_version_6_itself_writes(tmp_path):
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SentenceTransformer(str(classic(tmp_path / "old")), device="cpu").save(str(tmp_path / "new"))
    old, new = (assert_as_peer(tmp_path / name) for name in ("old", "new"))
    assert np.abs(old.encode_documents(TEXTS) - new.encode_documents(TEXTS)).max() == 0


def test_bare_transformer_is_pooled_by_the_mean(tmp_path):
    assert assert_as_peer(tiny.bert(tmp_path)).modules == ("Transformer (bert)", "Pooling")


def test_bare_causal_model_gives_its_last_token(tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=300,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    )
    encoder = assert_as_peer(tiny.save(model, tmp_path, tokenizer=tiny.qwen_tokenizer))
    assert encoder.tokenizer.encode("a").ids[-1] == 256
    assert encoder.truncated > 0  # and the end is there all the same


def test_sharded_weights(tmp_path):
    folder = classic(tmp_path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, held in shards.items() for name in held}}
    tiny.write_json(folder / "model.safetensors.index.json", index)
    assert_as_peer(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002.safetensors"):
        load_encoder(str(folder))


def test_sharded_pickles(tmp_path):
    folder = classic(tmp_path, safe=False)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for shard, held in shards.items():
        torch.save({name: tensors[name] for name in held}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, held in shards.items() for name in held}}
    tiny.write_json(folder / "pytorch_model.bin.index.json", index)
    assert_as_peer(folder)


def test_encoder_of_an_encoder_decoder(tmp_path):
    from transformers import T5Config, T5Model

    torch.manual_seed(0)
    config = T5Config(vocab_size=100, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    folder = tiny.save(T5Model(config), tmp_path, tokenizer=lambda folder: tiny.generic_tokenizer(folder, end="[SEP]"))
    tiny.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.write_json(
        folder / "2_Dense" / "config.json",
        {
            "in_features": 16,
            "out_features": 8,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    tiny.weights(folder / "2_Dense", safe=False, linear__weight=(8, 16))
    tiny.modules_json(
        folder,
        ("", OLD + "Transformer"),
        ("1_Pooling", OLD + "Pooling"),
        ("2_Dense", OLD + "Dense"),
        ("3_Normalize", OLD + "Normalize"),
    )
    assert_as_peer(folder)


BOTH = {
    **{"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 100, "pad_token_id": 0},
    **{"bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3},
}
T5 = {
    **{"vocab_size": 100, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    **{"pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0},
}


def encoder_decoder(folder, kind, config, **settings):
    """A model of a family of transformers as sentence-transformers lays it out, its decoder along."""
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**settings))
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    tiny.save(model, folder, tokenizer=lambda folder: tiny.generic_tokenizer(folder, end="[SEP]"))
    tiny.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(folder, ("", OLD + "Transformer"), ("1_Pooling", OLD + "Pooling"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "config", "settings"),
    [
        ("BartModel", "BartConfig", BOTH),
        ("BartForConditionalGeneration", "BartConfig", BOTH),
        ("MBartModel", "MBartConfig", BOTH),
        ("PLBartModel", "PLBartConfig", BOTH),
        ("MvpModel", "MvpConfig", BOTH),
        ("LEDModel", "LEDConfig", BOTH | {"attention_window": 4}),
        ("BigBirdPegasusModel", "BigBirdPegasusConfig", BOTH | {"attention_type": "original_full"}),
        ("MT5Model", "MT5Config", T5),
        ("UMT5Model", "UMT5Config", T5),
        ("LongT5Model", "LongT5Config", T5),
        (
            "SwitchTransformersModel",
            "SwitchTransformersConfig",
            T5 | {"num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
        ),
    ],
)
def test_vectors_come_from_the_state_that_the_peer_takes(tmp_path, kind, config, settings):
    assert_as_peer(encoder_decoder(tmp_path, kind, config, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Pegasus", "Marian", "Blenderbot", "M2M100"])
def test_of_a_family_that_the_peer_opens_by_its_encoder_the_encoder_is_taken(tmp_path, kind):
    """The peer looks for the encoder's weights under names that only its own files have, and makes them at random."""
    import transformers

    folder = encoder_decoder(tmp_path, f"{kind}Model", f"{kind}Config", **BOTH)
    encoder = load_encoder(str(folder), device="cpu", dtype="float32", normalize=False)
    states = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval().get_encoder()
    with torch.inference_mode():
        for text, ours in zip(TEXTS, encoder.encode_documents(TEXTS), strict=True):
            ids, _ = encoder.stream("document").tokenize([text], "")
            wanted = states(input_ids=torch.tensor(ids)).last_hidden_state[0].mean(dim=0)
            np.testing.assert_allclose(ours, wanted.numpy(), atol=1e-5)


def test_a_decoder_of_an_unknown_family_is_refused(tmp_path):
    folder = encoder_decoder(tmp_path, "NllbMoeModel", "NllbMoeConfig", **BOTH, num_experts=2)
    with pytest.raises(
        ModelError, match=r"a decoder, of a family \('nllb-moe'\) .* whose last state .* Choose another"
    ):
        load_encoder(str(folder))


def test_a_decoder_whose_weights_are_not_there_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = encoder_decoder(tmp_path, "BartModel", "BartConfig", **BOTH)
    file = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "decoder.layers.1.fc1" not in k}, file)
    with pytest.raises(ModelError, match=r"not those of the bart .* missing are decoder\.layers\.1\.fc1"):
        load_encoder(str(folder))


def test_the_decoders_vectors_have_another_fingerprint_than_the_encoders_had(tmp_path, monkeypatch):
    folder = encoder_decoder(tmp_path, "BartModel", "BartConfig", **BOTH)
    now = load_encoder(str(folder)).fingerprint
    monkeypatch.setattr("semsearch.encoder.assemble.DECODER_STATE", set())
    assert load_encoder(str(folder)).fingerprint != now


# ---- pooling --------------------------------------------------------------------------------------------------------

MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@pytest.mark.parametrize("mode", MODES)
def test_each_pooling(tmp_path, mode):
    assert_as_peer(classic(tmp_path, **{f"pooling_mode_{mode}": True}))


def test_all_poolings_joined(tmp_path):
    encoder = assert_as_peer(classic(tmp_path, **{f"pooling_mode_{mode}": True for mode in reversed(MODES)}))
    assert encoder.dim == 16 * 6


def test_pooling_without_a_mode_is_the_mean(tmp_path):
    assert_as_peer(classic(tmp_path, pooling_mode_mean_tokens=False))


@pytest.mark.parametrize("mode", MODES)
def test_pooling_without_the_prompt(tmp_path, mode):
    folder = classic(tmp_path, **{f"pooling_mode_{mode}": True, "include_prompt": False})
    prompts = {"query": "why do : ", "document": "search the document : "}
    tiny.write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    assert_as_peer(folder)


# ---- what follows the pooling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "activation",
    ["torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU", None],
)
def test_dense(tmp_path, activation):
    folder = followed(tmp_path, ("2_Dense", "Dense"))
    config = {"in_features": 16, "out_features": 6, "bias": True}
    tiny.write_json(
        folder / "2_Dense" / "config.json", config | ({"activation_function": activation} if activation else {})
    )
    tiny.weights(folder / "2_Dense", safe=False, linear__weight=(6, 16), linear__bias=(6,))
    assert assert_as_peer(folder).dim == 6


@pytest.mark.parametrize("out", [16, 6])
def test_dense_with_a_residual(tmp_path, out):
    folder = followed(tmp_path, ("2_Dense", "Dense"))
    config = {"in_features": 16, "out_features": out, "bias": False, "use_residual": True}
    tiny.write_json(folder / "2_Dense" / "config.json", config)
    extra = {} if out == 16 else {"residual__weight": (out, 16)}
    tiny.weights(folder / "2_Dense", linear__weight=(out, 16), **extra)
    assert_as_peer(folder)


def test_dense_on_tokens(tmp_path):
    folder = classic(tmp_path)
    tiny.write_json(
        folder / "1_Dense" / "config.json",
        {"in_features": 16, "out_features": 6, "bias": False, "module_input_name": "token_embeddings"},
    )
    tiny.weights(folder / "1_Dense", linear__weight=(6, 16))
    tiny.pooling(folder / "2_Pooling", dim=6, pooling_mode_mean_tokens=True)
    tiny.modules_json(folder, ("", OLD + "Transformer"), ("1_Dense", OLD + "Dense"), ("2_Pooling", OLD + "Pooling"))
    assert assert_as_peer(folder).dim == 6


def test_layer_norm_dropout_and_normalize(tmp_path):
    folder = followed(tmp_path, ("2_LayerNorm", "LayerNorm"), ("3_Dropout", "Dropout"), ("4_Normalize", "Normalize"))
    tiny.write_json(folder / "2_LayerNorm" / "config.json", {"dimension": 16})
    tiny.weights(folder / "2_LayerNorm", safe=False, norm__weight=(16,), norm__bias=(16,))
    tiny.write_json(folder / "3_Dropout" / "config.json", {"dropout": 0.4})
    assert_as_peer(folder)


def test_weighted_layer_pooling(tmp_path):
    """Compared with its definition: sentence-transformers 6 no longer asks the transformer for its layers."""
    folder = classic(tmp_path)
    tiny.write_json(
        folder / "1_WeightedLayerPooling" / "config.json",
        {"word_embedding_dimension": 16, "layer_start": 1, "num_hidden_layers": 2},
    )
    tensors = {"layer_weights": torch.tensor([0.3, 1.7])}
    torch.save(tensors, folder / "1_WeightedLayerPooling" / "pytorch_model.bin")
    tiny.pooling(folder / "2_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(
        folder,
        ("", OLD + "Transformer"),
        ("1_WeightedLayerPooling", OLD + "WeightedLayerPooling"),
        ("2_Pooling", OLD + "Pooling"),
    )
    from transformers import AutoModel, AutoTokenizer

    given = AutoTokenizer.from_pretrained(str(folder))(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        layers = AutoModel.from_pretrained(str(folder))(**given, output_hidden_states=True).hidden_states
    mean = ((0.3 * layers[1] + 1.7 * layers[2]) / 2.0)[0].mean(dim=0)
    ours = load_encoder(str(folder), device="cpu", dtype="float32").encode_documents(TEXTS[:1])[0]
    assert np.abs(ours - (mean / mean.norm()).numpy()).max() < 1e-6


# ---- asymmetric models ----------------------------------------------------------------------------------------------


def test_router_before_all_else(tmp_path):
    types = {}
    structure = {}
    for seed, route in enumerate(("query", "document")):
        names = [f"{route}_0_Transformer", f"{route}_1_Pooling"]
        tiny.bert(tmp_path / names[0], seed)
        tiny.write_json(
            tmp_path / names[0] / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False}
        )
        tiny.pooling(tmp_path / names[1], pooling_mode_mean_tokens=True)
        types |= {names[0]: BASE + "transformer.Transformer", names[1]: V5 + "pooling.Pooling"}
        structure[route] = names
    parameters = {"default_route": "document", "allow_empty_key": True}
    tiny.write_json(tmp_path / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})
    tiny.modules_json(tmp_path, ("", BASE + "router.Router"), ("1_Normalize", OLD + "Normalize"))
    encoder = assert_as_peer(tmp_path)
    assert np.abs(encoder.encode_queries(TEXTS) - encoder.encode_documents(TEXTS)).max() > 0.01


def test_router_with_mappings(tmp_path):
    for seed, name in enumerate(("fast_0_Transformer", "slow_0_Transformer")):
        tiny.bert(tmp_path / name, seed)
        tiny.write_json(tmp_path / name / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    tiny.write_json(
        tmp_path / "router_config.json",
        {
            "types": {f"{route}_0_Transformer": BASE + "transformer.Transformer" for route in ("fast", "slow")},
            "structure": {route: [f"{route}_0_Transformer"] for route in ("fast", "slow")},
            "parameters": {
                "default_route": None,
                "allow_empty_key": False,
                "route_mappings": {"('query', 'text')": "fast", "('document', None)": "slow"},
            },
        },
    )
    tiny.pooling(tmp_path / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(tmp_path, ("", BASE + "router.Router"), ("1_Pooling", OLD + "Pooling"))
    assert_as_peer(tmp_path)


def test_asym_after_the_pooling(tmp_path):
    """Compared with its definition: the query's Dense for queries, the document's for documents."""
    folder = followed(tmp_path, ("2_Asym", "Asym"))
    names = {"query": "139706574_Dense", "doc": "139706575_Dense"}
    for seed, name in enumerate(names.values()):
        dense(folder / "2_Asym" / name, seed)
    tiny.write_json(
        folder / "2_Asym" / "config.json",
        {
            "types": {name: OLD + "Dense" for name in names.values()},
            "structure": {route: [name] for route, name in names.items()},
            "parameters": {"allow_empty_key": False},
        },
    )
    encoder = load_encoder(str(folder), device="cpu", dtype="float32", normalize=False)
    (tmp_path / "plain").mkdir()
    plain = load_encoder(str(classic(tmp_path / "plain")), device="cpu", dtype="float32", normalize=False)
    from safetensors.torch import load_file

    for name, encode in ((names["query"], encoder.encode_queries), (names["doc"], encoder.encode_documents)):
        matrix = load_file(folder / "2_Asym" / name / "model.safetensors")["linear.weight"].numpy()
        assert np.abs(encode(TEXTS) - np.tanh(plain.encode_documents(TEXTS) @ matrix.T)).max() < 1e-6


def test_router_without_a_route_for_a_role_is_refused(tmp_path):
    folder = followed(tmp_path, ("2_Asym", "Asym"))
    dense(folder / "2_Asym" / "1_Dense", 0)
    tiny.write_json(
        folder / "2_Asym" / "config.json",
        {"types": {"1_Dense": OLD + "Dense"}, "structure": {"left": ["1_Dense"]}, "parameters": {}},
    )
    with pytest.raises(ModelError, match=r"none of the router's routes \(left\) is meant for a (query|document)"):
        load_encoder(str(folder))
