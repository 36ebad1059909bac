"""Models of pictures and texts give what transformers and sentence-transformers give, in every layout."""

import json
import warnings

import numpy as np
import pytest
import torch
from support import image_checkpoints as shown
from support import tiny

from semsearch import load_encoder
from semsearch.encoder.image_text import ImageTextEncoder
from semsearch.errors import DataError, EncodingFailed, ModelError, UsageError

TEXTS = ["a cat", "Two dogs, on the mat!", "", "the big dog runs under the small house on the river " * 3]
PICTURES = [shown.picture(seed, size) for seed, size in enumerate([(60, 40), (24, 24), (13, 90), (300, 20), (23, 31)])]
LAYOUTS = {
    "transformers": shown.clip,
    "SigLIP": shown.siglip,
    "0_CLIPModel": shown.wrapped,
    "at the root": lambda folder: shown.wrapped(folder, path=""),
    "newer wrapper": lambda folder: shown.wrapped(
        folder, kind="sentence_transformers.sentence_transformer.modules.clip_model.CLIPModel"
    ),
    "by modality": shown.modal,
    "no scaling of colours": lambda folder: shown.clip(folder, do_normalize=False, resample=2),
    "scaled to a square": lambda folder: shown.clip(
        folder, size={"height": 24, "width": 24}, do_center_crop=False, image_mean=[0.1, 0.2, 0.3]
    ),
}


def opened(folder, **how):
    return load_encoder(str(folder), device="cpu", dtype="float32", **how)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_transformers(folder):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    siglip = model.config.model_type == "siglip"
    how = {"padding": "max_length", "max_length": 20} if siglip else {"padding": True, "max_length": 32}
    tokens = tokenizer(TEXTS, truncation=True, return_tensors="pt", **how)
    given = {"input_ids": tokens["input_ids"]} if siglip else {k: tokens[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        texts = model.get_text_features(**given).pooler_output.numpy()
        pixels = processor(PICTURES, return_tensors="pt")["pixel_values"]
        return texts, model.get_image_features(pixel_values=pixels).pooler_output.numpy()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_vectors_of_transformers(layout, tmp_path):
    folder = LAYOUTS[layout](tmp_path / "model")
    encoder = opened(folder)
    assert isinstance(encoder, ImageTextEncoder)
    inner = folder / "0_CLIPModel"
    texts, pictures = by_transformers(inner if inner.is_dir() else folder)
    assert encoder.dim == texts.shape[1]
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), unit(texts), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), unit(texts), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_images(PICTURES), unit(pictures), atol=2e-5)
    assert encoder.description()["images"] is True


@pytest.mark.parametrize("layout", ["0_CLIPModel", "by modality"])
def test_what_sentence_transformers_opens_has_its_vectors(layout, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = LAYOUTS[layout](tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        texts, pictures = peer.encode(TEXTS), peer.encode(PICTURES)
    encoder = opened(folder, normalize=False)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), texts, atol=5e-5)
    np.testing.assert_allclose(encoder.encode_images(PICTURES), pictures, atol=5e-5)


def test_a_picture_has_the_same_vector_in_any_company_and_as_an_array(tmp_path):
    encoder = opened(shown.clip(tmp_path / "model"))
    together = encoder.encode_images(PICTURES * 10)
    assert together.shape == (50, 16)
    for picture, vector in zip(PICTURES, together, strict=False):
        np.testing.assert_allclose(encoder.encode_images([np.asarray(picture)])[0], vector, atol=1e-6)
    assert encoder.encode_images([]).shape == (0, 16)


def test_texts_are_read_in_any_company_too(tmp_path):
    for make in (shown.clip, shown.siglip):
        encoder = opened(make(tmp_path / make.__name__))
        together = encoder.encode_documents(TEXTS * 20)
        for text, vector in zip(TEXTS * 20, together, strict=True):
            np.testing.assert_allclose(encoder.encode_documents([text])[0], vector, atol=1e-5)


def test_what_is_no_picture_is_named(tmp_path):
    encoder = opened(shown.clip(tmp_path / "model"))
    for wrong in ("a path.jpg", np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(DataError, match="image 1 must be"):
            encoder.encode_images([PICTURES[0], wrong])


def test_another_text_tower_stands_beside_the_image_tower(tmp_path):
    images, texts = shown.wrapped(tmp_path / "clip"), shown.text_tower(tmp_path / "texts")
    encoder = opened(f"images:{images}#{texts}")
    np.testing.assert_allclose(encoder.encode_images(PICTURES), opened(images).encode_images(PICTURES))
    np.testing.assert_allclose(encoder.encode_queries(TEXTS[:2]), opened(texts).encode_queries(TEXTS[:2]), atol=1e-6)
    assert encoder.name == f"images:{images}#{texts}"
    assert encoder.fingerprint not in (opened(images).fingerprint, opened(texts).fingerprint)
    with pytest.raises(ModelError, match="not of one space"):
        opened(f"images:{images}#{shown.text_tower(tmp_path / 'wide', 12)}")
    with pytest.raises(ModelError, match="reads no pictures"):
        opened(f"images:{texts}#{texts}")
    with pytest.raises(UsageError, match="names no two models"):
        opened(f"images:{images}")


def test_another_preparation_is_another_fingerprint(tmp_path):
    folder = shown.clip(tmp_path / "model")
    first = opened(folder).fingerprint
    file = folder / "preprocessor_config.json"
    said = json.loads(file.read_text("utf-8"))
    tiny.write_json(file, said | {"image_mean": [0.5, 0.5, 0.5]})
    assert opened(folder).fingerprint != first


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"size": {"shortest_edge": 10**9}}, "between 1 and 4,096"),
        ({"size": {"height": "x", "width": 3}}, "between 1 and 4,096"),
        ({"do_resize": False}, "any size"),
        ({"do_pad": True}, "pads pictures"),
        ({"image_std": [0, 1, 1]}, "image_std"),
        ({"image_mean": 7}, "can't be understood"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(tmp_path, said, says):
    folder = shown.clip(tmp_path / "model")
    file = folder / "preprocessor_config.json"
    tiny.write_json(file, json.loads(file.read_text("utf-8")) | said)
    with pytest.raises(ModelError, match=says):
        opened(folder)


def test_weights_that_do_not_fit_are_refused_and_those_that_are_not_finite_named(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shown.clip(tmp_path / "model")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"visual_projection.weight": torch.full((16, 32), torch.nan)}, file, {"format": "pt"})
    with pytest.raises(EncodingFailed, match="image 0"):
        opened(folder).encode_images(PICTURES)
    del tensors["visual_projection.weight"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match="missing are visual_projection"):
        opened(folder)
