"""A static model out of an encoder: a vector for each word of a collection, averaged over a text.

Each token of the encoder's vocabulary, and each word that the collection uses often, is encoded by itself; principal
components keep what tells them apart, and a word counts the less the more often it stands in the collection
(a / (a + p), "SIF"; Arora, Liang and Ma, 2017), as model2vec does it (Tulkens and van Dongen, 2024). Then the table
learns to give the texts of the collection the directions that the encoder gives them (tokenlearn).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import ModelError
from semsearch.training.encoder_folder import write_static
from semsearch.training.trainable import TrainableEncoder
from semsearch.training.written import written
from semsearch.types import Vectors

STATIC_DIMS = 256
MOST_WORDS_ADDED = 20_000  # of the collection, to those that the tokenizer has
LEAST_USES = 3  # of a word that is added
SIF = 1e-4  # the a of a / (a + p): from which share of all words on a word counts half
TEXTS_OF_STEP = 256
STATIC_EPOCHS = 20
STATIC_RATE = 1e-2  # not tuned: no collection has been asked


def distil(encoder: TextEncoder, texts: Sequence[str], folder: Path, dims: int = STATIC_DIMS) -> NDArray[np.float32]:
    """Write a static model of an encoder and of these texts' words; the components `(d, dims)` that it keeps.

    Args:
        encoder: The teacher; it has a tokenizer.
        texts: Of the collection.
        folder: Where the model goes.
        dims: Components of its vectors; fewer where there are fewer.

    Raises:
        ModelError: The encoder has no tokenizer of subwords.
    """
    tokenizer = getattr(encoder, "tokenizer", None)
    if tokenizer is None:
        raise ModelError(f"{encoder.name} has no tokenizer of subwords that a static model could take over.")
    own = _with_words(tokenizer, texts)
    names = own.get_vocab(with_added_tokens=True)
    special = {int(number) for number, token in own.get_added_tokens_decoder().items() if token.special}
    tokens = sorted(names, key=lambda name: names[name])
    table = np.zeros((max(names.values()) + 1, encoder.dim), np.float32)
    asked = [token for token in tokens if names[token] not in special]
    vectors = encoder.encode_documents([_plain(token) or token for token in asked])
    table[[names[token] for token in asked]] = vectors
    counted = [names[token] for token in asked]
    mean = table[counted].mean(axis=0)
    centred = table[counted] - mean
    _, _, axes = np.linalg.svd(centred.T @ centred / len(centred), hermitian=True)
    kept = np.ascontiguousarray(axes[: min(dims, encoder.dim)].T, dtype=np.float32)  # (d, dims)
    counts = np.zeros(len(table))
    for encoding in own.encode_batch(list(texts), add_special_tokens=False):
        np.add.at(counts, np.array(encoding.ids, dtype=np.int64), 1)
    share = counts / max(1.0, counts.sum())
    reduced = np.zeros((len(table), kept.shape[1]), np.float32)
    reduced[counted] = centred @ kept
    weighed = reduced * (SIF / (SIF + share))[:, None]
    with written(folder) as part:
        write_static(part, torch.from_numpy(weighed.astype(np.float32)), own)
    return kept


def _with_words(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer, with the frequent words of the texts as tokens where it is one of word pieces."""
    said = json.loads(tokenizer.to_str())
    said["truncation"] = said["padding"] = None
    if said["model"].get("type") != "WordPiece":
        return Tokenizer.from_str(json.dumps(said))
    counts: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer is not None else text
        pieces = tokenizer.pre_tokenizer.pre_tokenize_str(normal) if tokenizer.pre_tokenizer is not None else []
        counts.update(word for word, _ in pieces)
    vocabulary = said["model"]["vocab"]
    free = max(vocabulary.values()) + 1
    words = [word for word, count in counts.most_common() if count >= LEAST_USES and word not in vocabulary]
    for place, word in enumerate(words[:MOST_WORDS_ADDED]):
        vocabulary[word] = free + place
    return Tokenizer.from_str(json.dumps(said))


def _plain(token: str) -> str:
    """A token as it is written: without the signs by which tokenizers mark beginnings and continuations."""
    return token.removeprefix("##").lstrip("Ġ▁").strip()


def follow(
    student: TrainableEncoder,
    passages: int,
    taught: Vectors,
    seed: int,
    say: Callable[[str], None],
    epochs: int = STATIC_EPOCHS,
) -> list[float]:
    """Learn the directions that a teacher gives the student's passages; the mean loss of each pass.

    Args:
        student: A static model over these passages.
        passages: How many.
        taught: (passages, dims) in the components that the student keeps.
        seed: Draws the order.
        say: Is told how it goes.
        epochs: Passes over all.
    """
    wanted = functional.normalize(torch.from_numpy(taught), dim=1)
    optimizer = torch.optim.Adam(student.learnt, STATIC_RATE)
    rng = np.random.default_rng(seed)
    told: list[float] = []
    for epoch in range(epochs):
        order = rng.permutation(passages)
        losses: list[float] = []
        for start in range(0, passages, TEXTS_OF_STEP):
            chosen = order[start : start + TEXTS_OF_STEP].tolist()

            def loss(_: Tensor, made: Tensor, chosen: list[int] = chosen) -> Tensor:
                return (1 - (functional.normalize(made, dim=1) * wanted[chosen].to(made.device)).sum(1)).mean()

            for group in optimizer.param_groups:
                group["lr"] = STATIC_RATE * (1 - epoch / epochs)
            losses.append(student.backward([], chosen, loss, seed + epoch))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        told.append(float(np.mean(losses)))
    say(f"the static model follows its teacher to a mean cosine of {1 - told[-1]:.3f}, after {1 - told[0]:.3f}.")
    return told
