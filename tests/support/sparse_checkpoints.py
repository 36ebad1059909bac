"""Tiny sparse checkpoints in the layouts of sentence-transformers."""

import torch

from support import tiny
from support.tiny import SPECIAL, WORDS

V5 = "sentence_transformers.sparse_encoder.models."
V6 = "sentence_transformers.sparse_encoder.modules."
TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
FILL_MASK = {
    "transformer_task": "fill-mask",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "token_embeddings",
}
SIZES = {"vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 64}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
MODERN = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
FAMILIES = {
    "Bert": BERT,
    "Roberta": BERT | {"pad_token_id": 0},
    "DistilBert": DISTILBERT,
    "MPNet": BERT | {"pad_token_id": 1},
    "Electra": BERT | {"embedding_size": 8},
    "Albert": BERT | {"embedding_size": 8},
    "ModernBert": BERT | MODERN,
}


def masked(folder, family="Bert", seed=0, *, safe=True, **settings):
    """A masked language model with its tokenizer, biases and untied norms that differ from 0 and 1."""
    import transformers

    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**SIZES | FAMILIES[family] | settings)
    model = getattr(transformers, f"{family}ForMaskedLM")(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tiny.save(model, folder, safe=safe, tokenizer=tiny.bert_tokenizer)


def splade(folder, family="Bert", *, names=(TRANSFORMER, V6 + "splade_pooling.SpladePooling"), said=None, **how):
    masked(folder, family, **how)
    tiny.write_json(folder / "sentence_bert_config.json", FILL_MASK)
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "embedding_dimension": None}
    tiny.write_json(folder / "1_SpladePooling" / "config.json", pooling | (said or {}))
    tiny.modules_json(folder, ("", names[0]), ("1_SpladePooling", names[1]))
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    return folder


def router(folder, *, idf=None, weight=True, names=(V6 + "sparse_static_embedding.SparseStaticEmbedding", TRANSFORMER)):
    """Questions by a table of words, documents by SPLADE."""
    query, document, pooling = folder / "query_0_Static", folder / "document_0_MLM", folder / "document_1_Pooling"
    masked(document)
    tiny.write_json(document / "sentence_bert_config.json", FILL_MASK)
    tiny.write_json(pooling / "config.json", {"pooling_strategy": "max", "activation_function": "log1p_relu"})
    tiny.bert_tokenizer(query)
    if weight:
        tiny.weights(query, weight=(SIZES["vocab_size"],))
    tiny.write_json(query / "config.json", {"frozen": True} | ({"path": str(query / "idf.json")} if idf else {}))
    if idf:
        tiny.write_json(query / "idf.json", idf)
    types = {query.name: names[0], document.name: names[1], pooling.name: V6 + "splade_pooling.SpladePooling"}
    structure = {"query": [query.name], "document": [document.name, pooling.name]}
    parameters = {"default_route": "document", "allow_empty_key": True}
    config = {"types": types, "structure": structure, "parameters": parameters}
    tiny.write_json(folder / "router_config.json", config)
    tiny.modules_json(folder, ("", "sentence_transformers.base.modules.router.Router"))
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    return folder


def csr(folder, name=V6 + "sparse_auto_encoder.SparseAutoEncoder", *, safe=True, **said):
    tiny.bert(folder)
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    code = folder / "2_SparseAutoEncoder"
    tiny.write_json(code / "config.json", {"input_dim": 16, "hidden_dim": 40, "k": 6, "k_aux": 8} | said)
    if safe:  # of what is stored once one name is left
        shapes = {"decoder__linear__weight": (40, 16), "stats_last_nonzero": (40,)}
    else:
        shapes = {"encoder__weight": (40, 16), "decoder__linear__weight": (40, 16)}
    tiny.weights(code, safe=safe, **shapes, pre_bias=(16,), latent_bias=(40,))
    if not safe:
        tensors = torch.load(code / "pytorch_model.bin")
        tensors |= {"decoder.linear.weight": tensors["encoder.weight"], "stats_last_nonzero": torch.zeros(40).long()}
        torch.save(tensors, code / "pytorch_model.bin")
    tiny.modules_json(folder, ("", TRANSFORMER), ("1_Pooling", tiny.OLD + "Pooling"), (code.name, name))
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    return folder
