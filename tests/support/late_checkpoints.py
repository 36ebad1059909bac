"""Tiny late-interaction checkpoints in the layouts of PyLate, sentence-transformers 6 and Stanford."""

import string

import torch
from safetensors.torch import load_file, save_file

from support import tiny

MARKERS = ["[unused0]", "[unused1]"]
TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
DENSE = "sentence_transformers.base.modules.dense.Dense"
NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"
LATE = "sentence_transformers.multi_vector_encoder.modules."
IDENTITY = "torch.nn.modules.linear.Identity"
TOKENS = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
DIM = 8


def tokenizer(folder, *, extra=(), **settings):
    """BERT's with the markers in its vocabulary, as ColBERT has them, and `extra` tokens added behind it."""
    from tokenizers import AddedToken
    from transformers import BertTokenizer

    vocab = {word: i for i, word in enumerate(tiny.SPECIAL + tiny.WORDS + MARKERS + list("[]()qd'"))}
    made = BertTokenizer(vocab=vocab, **settings)
    made.add_tokens([AddedToken(token, normalized=True) for token in extra])
    made.save_pretrained(folder)


def transformer(folder, family="Bert", *, extra=(), seed=7, **settings):
    """A transformer of wide random weights with its tokenizer."""
    import transformers

    torch.manual_seed(seed)
    size = len(tiny.SPECIAL + tiny.WORDS + MARKERS) + 7 + len(extra)
    sizes = {"vocab_size": size, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 64}
    if family == "ModernBert":
        sizes |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    model = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**sizes | settings))
    for name, parameter in model.named_parameters():
        wide = parameter.dim() < 2 or "word" in name or "tok_embeddings" in name  # no two tokens nearly alike
        torch.nn.init.normal_(parameter, std=1.0 if wide else 0.3)
    return tiny.save(model, folder, tokenizer=lambda where: tokenizer(where, extra=extra, model_max_length=64))


def dense(folder, **said):
    sizes = {"in_features": 16, "out_features": DIM, "bias": False, "activation_function": IDENTITY}
    tiny.write_json(folder / "config.json", sizes | said)
    tiny.weights(folder, linear__weight=(DIM, 16))


def version_6(
    folder, *, expansion=None, lengths=None, prompts=None, mask=None, pooling=None, similarity="maxsim", **how
):
    """As sentence-transformers 6 saves it."""
    transformer(folder, **how)
    modality = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    said = {"transformer_task": "feature-extraction", "modality_config": modality}
    said |= {"module_output_name": "token_embeddings"} | (lengths or {})
    said |= {"query_expansion": expansion} if expansion else {}
    tiny.write_json(folder / "sentence_bert_config.json", said)
    dense(folder / "1_Dense", **TOKENS)
    tiny.write_json(folder / "2_MultiVectorMask" / "config.json", {"skiplist_words": []} | (mask or {}))
    tiny.write_json(folder / "3_Normalize" / "config.json", TOKENS)
    modules = [("", TRANSFORMER), ("1_Dense", DENSE), ("2_MultiVectorMask", LATE + "multi_vector_mask.MultiVectorMask")]
    modules.append(("3_Normalize", NORMALIZE))
    if pooling:
        tiny.write_json(folder / "4_HierarchicalTokenPooling" / "config.json", pooling)
        modules.append(("4_HierarchicalTokenPooling", LATE + "token_pooling.HierarchicalTokenPooling"))
    tiny.modules_json(folder, *modules)
    settings = {"model_type": "MultiVectorEncoder", "similarity_fn_name": similarity, "prompts": prompts or {}}
    tiny.write_json(folder / "config_sentence_transformers.json", settings)
    return folder


def pylate(folder, *, third=True, beside=None, extra=("[Q] ", "[D] "), lengths=True, **how):
    """As PyLate saves it: its third version names its kind, those before don't."""
    transformer(folder, extra=extra, **how)
    tiny.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 30, "do_lower_case": False})
    dense(folder / "1_Dense")
    tiny.modules_json(folder, ("", tiny.OLD + "Transformer"), ("1_Dense", "pylate.models.Dense.Dense"))
    said = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim"}
    said |= {"query_prefix": "[Q] ", "document_prefix": "[D] ", "attend_to_expansion_tokens": False}
    said |= {"query_length": 16, "document_length": 20} if lengths else {}
    said |= {"model_type": "ColBERT"} if third else {}
    said |= {"skiplist_words": list(string.punctuation)}
    tiny.write_json(folder / "config_sentence_transformers.json", said | (beside or {}))
    return folder


def stanford(folder, *, metadata=None, **how):
    """As Stanford's ColBERT saves it: the projection beside the transformer's weights."""
    transformer(folder, **how)
    file = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(5)
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(tensors | {"linear.weight": torch.randn((DIM, 16), generator=generator)}, file, {"format": "pt"})
    import json

    config = json.loads((folder / "config.json").read_text("utf-8"))
    tiny.write_json(folder / "config.json", config | {"architectures": ["HF_ColBERT"]})
    if metadata is not None:
        tiny.write_json(folder / "artifact.metadata", metadata)
    return folder
