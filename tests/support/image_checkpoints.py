"""Tiny models of pictures and texts in the layouts of transformers and sentence-transformers, and pictures to read."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from support import tiny

SIDE = 24


def clip_tokenizer(folder: Path) -> None:
    """Bytes with CLIP's ends of words."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=32).save_pretrained(folder)


def _random(model, seed):
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.2)
    return model


def clip(folder: Path, seed: int = 0, *, width: int = 16, **said) -> Path:
    """As transformers saves CLIP."""
    from transformers import AutoImageProcessor, CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    clip_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    end = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    words = {"vocab_size": len(tokenizer), "max_position_embeddings": 32, "pad_token_id": 1}
    config = CLIPConfig(
        text_config=sizes | words | end,
        vision_config=sizes | {"image_size": SIDE, "patch_size": 8},
        projection_dim=width,
    )
    _random(CLIPModel(config), seed).save_pretrained(folder)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    CLIPImageProcessorPil(**size | said).save_pretrained(folder)
    del AutoImageProcessor
    return folder


def siglip(folder: Path, seed: int = 1) -> Path:
    """As transformers saves SigLIP, its texts filled up to their window."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    folder.mkdir(parents=True, exist_ok=True)
    tiny.generic_tokenizer(folder, end="[SEP]")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = {"vocab_size": len(tiny.SPECIAL + tiny.WORDS), "max_position_embeddings": 20, "pad_token_id": 0}
    words |= {"bos_token_id": 2, "eos_token_id": 3}
    config = SiglipConfig(text_config=sizes | words, vision_config=sizes | {"image_size": SIDE, "patch_size": 8})
    _random(SiglipModel(config), seed).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def wrapped(
    folder: Path, *, path: str = "0_CLIPModel", kind: str = "sentence_transformers.models.CLIPModel", **how
) -> Path:
    """As sentence-transformers saved CLIP before version 5.4."""
    clip(folder / path, **how)
    tiny.modules_json(folder, (path, kind))
    return folder


def modal(folder: Path, **how) -> Path:
    """As sentence-transformers saves CLIP since."""
    clip(folder, **how)
    ways = {
        kind: {"method": f"get_{kind}_features", "method_output_name": "pooler_output"} for kind in ("text", "image")
    }
    said = {
        "transformer_task": "feature-extraction",
        "modality_config": ways,
        "module_output_name": "sentence_embedding",
    }
    tiny.write_json(folder / "sentence_bert_config.json", said)
    tiny.modules_json(folder, ("", "sentence_transformers.base.modules.transformer.Transformer"))
    tiny.write_json(folder / "config_sentence_transformers.json", {"model_type": "SentenceTransformer"})
    return folder


def text_tower(folder: Path, dim: int = 16) -> Path:
    """A text encoder for the vectors of another's pictures, as clip-ViT-B-32-multilingual-v1 is."""
    tiny.bert(folder)
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    sizes = {"in_features": 16, "out_features": dim, "bias": False}
    said = sizes | {"activation_function": "torch.nn.modules.linear.Identity"}
    tiny.write_json(folder / "2_Dense" / "config.json", said)
    tiny.weights(folder / "2_Dense", linear__weight=(dim, 16))
    names = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"))
    tiny.modules_json(folder, *((path, tiny.OLD + name) for path, name in names))
    return folder


def picture(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Blots of colour, (width, height)."""
    random = np.random.default_rng(seed)
    blots = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC)


def exif(**said) -> Image.Exif:
    """EXIF with a date, a camera, a place and an orientation, as they are given."""
    made = Image.Exif()
    if "camera" in said:
        made[0x010F], made[0x0110] = said["camera"]
    if "orientation" in said:
        made[0x0112] = said["orientation"]
    if "description" in said:
        made[0x010E] = said["description"]
    if "taken" in said:
        made.get_ifd(0x8769)[0x9003] = said["taken"]
    if "place" in said:
        gps = made.get_ifd(0x8825)
        (gps[1], gps[2]), (gps[3], gps[4]) = said["place"]
    return made


def written(image: Image.Image, kind: str, **how) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()
