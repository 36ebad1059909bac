"""Every layout of published cross-encoders, generated tiny and compared with sentence-transformers' CrossEncoder."""

import warnings

import numpy as np
import pytest
import torch
from support import tiny
from support.reranker_checkpoints import (
    BASE,
    PASSAGES,
    QUERY,
    amend,
    assert_as_peer,
    causal,
    classifier,
    peer,
    plain_tokenizer,
    roberta_tokenizer,
)

from semsearch import load_reranker

pytestmark = pytest.mark.slow

DENSE_MODULE = BASE + "dense.Dense"


@pytest.fixture(scope="module", autouse=True)
def _quiet_peer():
    """What sentence-transformers warns of when it opens old layouts is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- sequence classification ----------------------------------------------------------------------------------------


def test_bert_of_before_version_4(tmp_path):
    classifier(tmp_path)
    amend(tmp_path / "config.json", sbert_ce_default_activation_function="torch.nn.modules.linear.Identity")
    reranker = assert_as_peer(tmp_path)
    assert reranker.num_labels == 1
    assert reranker.window == 61
    assert reranker.modules == ("LeanEncoder", "Head")


def test_bert_of_version_4_with_the_activation_in_its_new_place(tmp_path):
    classifier(tmp_path)
    named = {"activation_fn": "torch.nn.modules.activation.Tanh", "version": "4.0.0"}
    amend(tmp_path / "config.json", sentence_transformers=named)
    assert type(assert_as_peer(tmp_path).activation).__name__ == "Tanh"


def test_a_silent_folder_gets_a_sigmoid(tmp_path):
    reranker = assert_as_peer(classifier(tmp_path))
    scores = reranker.score(QUERY, PASSAGES)
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_several_labels_stay_raw_and_can_be_made_to_sum_to_one(tmp_path):
    classifier(tmp_path, labels=3)
    reranker = assert_as_peer(tmp_path)
    pairs = [(QUERY, passage) for passage in PASSAGES]
    shares = reranker.predict(pairs, apply_softmax=True)
    assert np.allclose(shares.sum(1), 1, atol=1e-6)
    assert np.allclose(shares, peer(tmp_path).predict(pairs, apply_softmax=True), atol=1e-5)


@pytest.mark.parametrize("family", ["Roberta", "XLMRoberta"])
def test_roberta_and_its_kin(tmp_path, family):
    settings = {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0}
    vocab = {"vocab_size": len(tiny.WORDS) + 5, "eos_token_id": 2}
    classifier(tmp_path, family, tokenizer=roberta_tokenizer, **settings, **vocab)
    assert assert_as_peer(tmp_path).modules == ("LeanEncoder", "Head")


def test_electra(tmp_path):
    classifier(tmp_path, "Electra", embedding_size=8)
    assert assert_as_peer(tmp_path).modules == ("LeanEncoder", "Head")


def test_albert(tmp_path):
    classifier(tmp_path, "Albert", embedding_size=8)
    assert assert_as_peer(tmp_path).modules == ("LeanEncoder", "Head")


def test_distilbert(tmp_path):
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    classifier(tmp_path, "DistilBert", tokenizer=plain_tokenizer, **sizes)
    assert assert_as_peer(tmp_path).modules == ("LeanEncoder", "Head")


def test_mpnet(tmp_path):
    settings = {"max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    classifier(tmp_path, "MPNet", tokenizer=roberta_tokenizer, vocab_size=len(tiny.WORDS) + 5, **settings)
    assert assert_as_peer(tmp_path).modules == ("LeanEncoder", "Head")


def test_deberta_v2_as_mxbai_rerank_has_it(tmp_path):
    settings = {
        **{"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
        **{
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "pooler_hidden_size": 16,
        },
    }
    classifier(tmp_path, "DebertaV2", tokenizer=plain_tokenizer, **settings)
    assert assert_as_peer(tmp_path).modules == ("PaddedScorer",)


def test_modernbert(tmp_path):
    settings = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    classifier(tmp_path, "ModernBert", tokenizer=plain_tokenizer, global_attn_every_n_layers=2, **settings)
    assert assert_as_peer(tmp_path, tolerance=2e-5).modules == ("PaddedScorer",)


def test_another_architecture_with_token_types(tmp_path):
    """Funnel and its like come through transformers, token types and all."""
    classifier(tmp_path, "MegatronBert")
    assert assert_as_peer(tmp_path).modules == ("PaddedScorer",)


def test_a_decoder_with_a_head_looks_at_its_last_token(tmp_path):
    classifier(tmp_path, "Qwen3", tokenizer=plain_tokenizer, num_key_value_heads=1, head_dim=8, pad_token_id=0)
    assert assert_as_peer(tmp_path).modules == ("PaddedScorer",)


def test_bfloat16_is_near_and_its_logits_are_float32(tmp_path):
    for family in ("Bert", "MegatronBert"):
        folder = classifier(tmp_path / family, family)
        exact = load_reranker(str(folder), dtype="float32", device="cpu")
        quick = load_reranker(str(folder), dtype="bfloat16", device="cpu")
        raw = torch.nn.Identity()
        pairs = [(QUERY, passage) for passage in PASSAGES]
        near, far = quick.predict(pairs, activation=raw), exact.predict(pairs, activation=raw)
        assert np.abs(near - far).max() < 0.03 * np.abs(far).max()
        assert (torch.from_numpy(near).bfloat16().float().numpy() != near).any()


# ---- version 5.4 and later ------------------------------------------------------------------------------------------


def chain_settings(folder, **settings):
    said = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity", "prompts": {}}
    tiny.write_json(folder / "config_sentence_transformers.json", said | settings)


def test_a_classifier_as_version_5_4_saves_it(tmp_path):
    made = classifier(tmp_path / "made")
    peer(made).save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "modules.json").is_file()
    assert np.array_equal(
        assert_as_peer(tmp_path / "saved").score(QUERY, PASSAGES),
        load_reranker(str(made), dtype="float32").score(QUERY, PASSAGES),
    )


@pytest.mark.parametrize("prompt", [None, "query: "])
def test_a_chain_of_encoder_pooling_dense_norm_and_dense(tmp_path, prompt):
    tiny.bert(tmp_path, layers=2)
    tiny.write_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    tiny.pooling(tmp_path / "1_Pooling", pooling_mode_cls_token=True)
    gelu = {"in_features": 16, "out_features": 12, "bias": False, "activation_function": "torch.nn.GELU"}
    tiny.write_json(tmp_path / "2_Dense" / "config.json", gelu)
    tiny.weights(tmp_path / "2_Dense", linear__weight=(12, 16))
    tiny.write_json(tmp_path / "3_LayerNorm" / "config.json", {"dimension": 12})
    tiny.weights(tmp_path / "3_LayerNorm", norm__weight=(12,), norm__bias=(12,))
    last = {"in_features": 12, "out_features": 1, "bias": True, "activation_function": "torch.nn.Identity"}
    tiny.write_json(tmp_path / "4_Dense" / "config.json", last | {"module_output_name": "scores"})
    tiny.weights(tmp_path / "4_Dense", linear__weight=(1, 12), linear__bias=(1,))
    norm = "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm"
    pool = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    transformer = BASE + "transformer.Transformer"
    parts = (("", transformer), ("1_Pooling", pool), ("2_Dense", DENSE_MODULE), ("3_LayerNorm", norm))
    tiny.modules_json(tmp_path, *parts, ("4_Dense", DENSE_MODULE))
    chain_settings(tmp_path, **({"prompts": {"q": prompt}, "default_prompt_name": "q"} if prompt else {}))
    reranker = assert_as_peer(tmp_path, tolerance=1e-5)
    assert reranker.modules[-2:] == ("Dense", "ScoringHead")
    assert reranker.window == 45


# ---- causal rerankers -----------------------------------------------------------------------------------------------


def test_a_bare_causal_reranker_answers_yes_or_no(tmp_path):
    reranker = assert_as_peer(causal(tmp_path), tolerance=2e-5)
    assert reranker.modules == ("PaddedScorer",)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [None, "Find what answers."])
def test_a_causal_reranker_as_version_5_4_saves_it(tmp_path, prompt):
    theirs = peer(causal(tmp_path / "made"))
    theirs.save_pretrained(str(tmp_path / "saved"))
    if prompt:
        said = tmp_path / "saved" / "config_sentence_transformers.json"
        amend(said, prompts={"web": prompt}, default_prompt_name="web")
    reranker = assert_as_peer(tmp_path / "saved", tolerance=2e-5)
    bare = load_reranker(str(tmp_path / "made"), dtype="float32")
    same = np.allclose(reranker.score(QUERY, PASSAGES), bare.score(QUERY, PASSAGES), atol=1e-6)
    assert same is (prompt is None)


def test_a_template_that_takes_contents_apart(tmp_path):
    """Templates of models for pictures too want each content as a list of parts."""
    parts = "{%- for message in messages %}<{{ message.role }}>{{ message.content[0].text }}\n{% endfor %}Judge:"
    assert_as_peer(causal(tmp_path, template=parts), tolerance=2e-5)


def test_qwen3_reranker_of_before_its_template_took_a_pair(tmp_path):
    """Its chat template knew users and assistants only; the wording stood in its model card."""
    users = "{%- for message in messages if message.role == 'user' %}{{ message.content }}{% endfor %}"
    old = load_reranker(str(causal(tmp_path / "Qwen3-Reranker-0.6B", template=users)), dtype="float32")
    from semsearch.reranker.text_pairs import QWEN, QWEN_PROMPT

    wording = QWEN.format(prompt=QWEN_PROMPT, query="{{ messages[0].content }}", document="{{ messages[1].content }}")
    new = peer(causal(tmp_path / "new", template=wording + "\n"))  # jinja drops the last line's end
    pairs = [(QUERY, passage) for passage in PASSAGES[:4]]
    assert np.allclose(old.predict(pairs), new.predict(pairs), atol=2e-5)
