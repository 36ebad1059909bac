"""Questions made of a collection's own passages, to measure a recall on where nobody gave any.

A few words out of the middle of a passage, encoded as a question, lie as far from what is stored as what people ask,
or further: their best cosine was 0.45 in NFCorpus, where that of its real questions is 0.54 and that of points between
stored vectors 0.80. Settings chosen on them for a recall of 0.9 and 0.95 gave the dev questions of NFCorpus and those
of SciFact (train) and Cranfield at least as much, with lists of FAISS, and with a graph in NFCorpus and Cranfield;
whole sentences and titles were too easy in NFCorpus.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from semsearch.engine import EngineView
from semsearch.errors import SemsearchError
from semsearch.search.recall import OF_A_PASSAGE, Synthesis, synthetic_queries
from semsearch.types import Keys, Vectors

log = logging.getLogger("semsearch")

SHORTEST_QUESTION, LONGEST_QUESTION = 2, 8  # of a question
RUN_LETTERS = 2  # that count as a word where no blanks part words


def passage_queries(
    view: Callable[[], AbstractContextManager[EngineView]], encode: Callable[[Sequence[str]], Vectors]
) -> Synthesis:
    """What makes questions of passages, which `encode` turns into vectors; where it can't, vectors stand in."""

    def made(count: int, rng: np.random.Generator) -> tuple[Vectors, Keys]:
        with view() as state:
            keys = state.sample(count, rng)
            passages = [passage for passage in state.passages_of(keys) if passage is not None]
        order = rng.permutation(len(passages))
        places = [*order.tolist(), *rng.choice(order, max(count - len(order), 0)).tolist()] if passages else []
        texts = [text for place in places if (text := few_words(passages[place].text, rng))]
        try:
            if texts:
                vectors = encode(texts)
                return vectors, np.full(len(vectors), OF_A_PASSAGE, dtype=np.int64)
        except SemsearchError as error:  # the index is worth more than the best way to measure it
            log.warning("no questions can be made of passages to measure the recall on, vectors stand in: %s", error)
        with view() as state:
            return synthetic_queries(*state.arrays(), count, rng)

    return made


def few_words(text: str, rng: np.random.Generator) -> str:
    """Two to eight words of a text that follow one another; fewer where it has fewer."""
    from semsearch.search.analysis import words  # takes a while to import

    spans: list[tuple[int, int]] = []
    for start, end, apart in words(text):
        if apart:
            spans.append((start, end))
        else:
            spans += [(place, min(place + RUN_LETTERS, end)) for place in range(start, end, RUN_LETTERS)]
    if not spans:
        return ""
    count = int(rng.integers(SHORTEST_QUESTION, LONGEST_QUESTION + 1))
    first = int(rng.integers(max(len(spans) - count, 0) + 1))
    return text[spans[first][0] : spans[min(first + count, len(spans)) - 1][1]]
