"""Tiny checkpoints of rerankers in published layouts, and sentence-transformers' scores to hold ours against."""

import json

import numpy as np
import torch

from semsearch import load_reranker
from support import tiny

QUERY = "why do vaccines work?"
PASSAGES = [*tiny.TEXTS, "the cat", "Vaccines work, do they not? why", "a", "the river in the city " * 4]
BASE = "sentence_transformers.base.modules."


def peer(folder):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", local_files_only=True)


def assert_as_peer(folder, tolerance=5e-6, dtype="float32"):
    """predict and rank give sentence-transformers' scores and order, and tell the passages apart."""
    reranker = load_reranker(str(folder), device="cpu", dtype=dtype)
    theirs = peer(folder)
    pairs = [(QUERY, passage) for passage in PASSAGES] + [(passage, QUERY) for passage in PASSAGES]
    expected = theirs.predict(pairs, batch_size=3)
    scores = reranker.predict(pairs)
    assert scores.dtype == np.float32
    assert scores.shape == expected.shape
    assert np.abs(scores - expected).max() <= tolerance * max(1, np.abs(expected).max())
    assert np.ptp(scores, axis=0).max() > 1e-4
    raw = reranker.predict(pairs, activation=torch.nn.Identity())
    expected_raw = theirs.predict(pairs, batch_size=3, activation_fn=torch.nn.Identity())
    assert np.abs(raw - expected_raw).max() <= tolerance * max(1, np.abs(expected_raw).max())
    if reranker.num_labels == 1:
        ranking = reranker.rank(QUERY, PASSAGES, top_k=5, return_documents=True)
        wanted = theirs.rank(QUERY, PASSAGES, top_k=5, return_documents=True)
        assert [entry["corpus_id"] for entry in ranking] == [entry["corpus_id"] for entry in wanted]
        assert [entry["text"] for entry in ranking] == [entry["text"] for entry in wanted]
        assert np.allclose([e["score"] for e in ranking], [e["score"] for e in wanted], atol=1e-5)
        assert np.array_equal(reranker.score(QUERY, PASSAGES), reranker.predict(pairs[: len(PASSAGES)]))
    return reranker


def widened(model, std=0.3):
    """Weights wide enough for texts to differ."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


SIZES = {
    "vocab_size": len(tiny.SPECIAL + tiny.WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def classifier(folder, family="Bert", *, labels=1, tokenizer=tiny.bert_tokenizer, **settings):
    """A sequence-classification folder as transformers saves it."""
    import transformers

    sizes = SIZES | settings
    config = getattr(transformers, f"{family}Config")(num_labels=labels, **sizes)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    return tiny.save(widened(model), folder, tokenizer=tokenizer)


def amend(path, **values):
    written = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    tiny.write_json(path, written | values)


def roberta_tokenizer(folder, *, length=60):
    """Words with <s> and </s>, two of them between a pair, as RoBERTa has them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *tiny.WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=length,
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)


def plain_tokenizer(folder):
    """BERT's special tokens, no token types: what DistilBERT, ModernBERT and DeBERTa hand on."""
    tiny.bert_tokenizer(folder)
    amend(folder / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    amend(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])


TEMPLATE = (
    "{%- set asked = messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first -%}"
    "<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n<Instruct>: {{ asked | default('Find.') }}\n"
    "<Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n"
    "<Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


def causal(folder, *, template=TEMPLATE, length=None):
    """A tiny Qwen3 with the tokens 'yes' and 'no'."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("Ġ", "t"), ("h", "e")]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    end = "<|endoftext|>"
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token=end, pad_token=end, model_max_length=length or 400)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer) + 2,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    widened(Qwen3ForCausalLM(config)).save_pretrained(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, "utf-8")
    return folder
