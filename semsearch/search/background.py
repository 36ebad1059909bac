"""How well questions that have nothing to do with some texts are answered by them: what a real answer must exceed.

Where there is no collection to keep a calibration, the texts at hand are calibrated on a few dozen questions about
everyday things. Of each the best score counts: so more texts, among which more is alike by chance, ask for more.

A single word is near to any short text, whatever it means, so it is held against single words.
"""

from __future__ import annotations

import numpy as np

from semsearch.types import Encoder, Metric, Vectors
from semsearch.vectors import stored_form

QUESTIONS = (
    "how to bake bread",
    "the train was late again",
    "who wrote the letter",
    "symptoms of a cold",
    "price of a used car",
    "the match ended in a draw",
    "repairing a roof",
    "a walk along the river",
    "rules of the road",
    "learning to play the piano",
    "the company's annual report",
    "what plants need to grow",
    "a film about two friends",
    "opening hours of the museum",
    "how the moon moves",
    "borrowing money from a bank",
    "the history of the town",
    "washing clothes by hand",
    "a recipe for soup",
    "looking after an old dog",
    "the election results",
    "how to tie a knot",
    "travel by sea",
    "the colour of the walls",
    "an error in the program",
    "settings of a network",
    "treatment of pain",
    "music for a wedding",
    "the age of the earth",
    "a contract of sale",
    "fishing in winter",
    "the speed of light",
)
UNRELATED_WORDS = (
    *("bread", "train", "letter", "cold", "car", "match", "roof", "river", "road", "piano", "report", "plant", "film"),
    *("museum", "moon", "bank", "town", "clothes", "soup", "dog", "election", "knot", "sea", "colour", "error"),
    *("network", "pain", "music", "earth", "contract", "fishing", "light"),
)
SHARE = 0.75  # of the questions, whose best answers an answer must exceed: the texts may be about a few of them
ROWS = 65_536  # scored at a time


def background(encoder: Encoder, vectors: Vectors, query: str) -> float:
    """The score that three in four of the questions do not reach among texts with these `vectors` `(n, dim)`.

    The questions are of the kind of `query`: several words, or one.
    """
    unrelated = QUESTIONS if len(query.split()) > 1 else UNRELATED_WORDS
    asked = stored_form(encoder.encode_queries(list(unrelated)), encoder.dim, encoder.metric)
    best = np.full(len(asked), -np.inf)
    for start in range(0, len(vectors), ROWS):
        some = vectors[start : start + ROWS]
        scores = some @ asked.T
        if encoder.metric == Metric.L2:
            scores = 2 * scores - (some**2).sum(axis=1)[:, None] - (asked**2).sum(axis=1)[None]
        best = np.maximum(best, scores.max(axis=0))
    return float(np.quantile(best, SHARE))
