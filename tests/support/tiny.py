"""Tiny checkpoints with random weights, written in the exact layouts of their generations."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

WORDS = """
    the a cat cats dog dogs sat sleeps runs on under mat house river water boils at sea level why how do does not
    vaccines work new york city is big small weather lovely today sunny outside he drove to stadium ##s ##ing ##ed
    query passage : search document , . ? !
""".split()  # noqa: SIM905 (words are read as words)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "The cat sat on the mat.",
    "why do vaccines work?",
    "Water boils at sea level, does it not",
    "he drove to the stadium in New York",
    "dogs",
    "the big dog runs under the small house on the river and the cat sleeps, sleeps, sleeps today outside the city",
]
OLD = "sentence_transformers.models."


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def modules_json(folder: Path, *modules: tuple[str, str]) -> None:
    """Modules as (path, type), in their order."""
    entries = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    write_json(folder / "modules.json", entries)


def bert_tokenizer(folder: Path, **settings) -> None:
    """A WordPiece tokenizer as transformers saves it."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(SPECIAL + WORDS)}, **settings)
    tokenizer.save_pretrained(folder)


def bert(
    folder: Path, seed: int = 0, *, layers: int = 2, safe: bool = True, tokenizer: bool = True, **settings
) -> Path:
    """A BERT with its tokenizer; `safe=False` writes pytorch_model.bin."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        **settings,
    )
    model = BertModel(config)
    for parameter in model.parameters():  # wide weights, so that texts differ
        torch.nn.init.normal_(parameter, std=0.3)
    return save(model, folder, safe=safe, tokenizer=bert_tokenizer if tokenizer else None)


def save(model, folder: Path, *, safe: bool = True, tokenizer=None) -> Path:
    """A transformers model, in safetensors or as a pickle, with a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    if tokenizer is not None:
        tokenizer(folder)
    return folder


def pooling(folder: Path, dim: int = 16, **modes) -> None:
    """A Pooling configuration as versions up to 5.3 wrote it."""
    keys = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    written = {"word_embedding_dimension": dim, **{f"pooling_mode_{key}": False for key in keys}}
    write_json(folder / "config.json", written | modes)


def weights(folder: Path, seed: int = 7, *, safe: bool = True, **shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Random tensors; a double underscore in a name stands for a dot."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name.replace("__", "."): torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if safe:
        save_file(tensors, folder / "model.safetensors")
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    return tensors


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def generic_tokenizer(folder: Path, *, end: str | None = None) -> None:
    """Words and white space, with a special token at the end, as decoders and T5 have it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if end is not None:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, vocab[end])])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token=end, model_max_length=64
    )
    fast.save_pretrained(folder)


def qwen_tokenizer(folder: Path) -> None:
    """Bytes, and an end that tokenizer.json adds, as Qwen3-Embedding has it."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    vocab = {byte: i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    end = "<|endoftext|>"
    Qwen2Tokenizer(vocab=vocab, merges=[], eos_token=end, pad_token=end, model_max_length=64).save_pretrained(folder)
    file = folder / "tokenizer.json"
    written = json.loads(file.read_text("utf-8"))
    pieces = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}]
    written["post_processor"] = {
        "type": "TemplateProcessing",
        "single": pieces,
        "pair": pieces,
        "special_tokens": {end: {"id": end, "ids": [256], "tokens": [end]}},
    }
    write_json(file, written)
