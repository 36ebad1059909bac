"""Published figures of other models; each test skips where the weights can't be had."""

import numpy as np
import pytest
from support.sts import sts_benchmark

from semsearch import load_encoder
from semsearch.encoder.catalog import ModelTask, models
from semsearch.errors import ModelError

pytestmark = pytest.mark.weights

CORPUS = [
    *("A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."),
    *("A man is riding a horse.", "A woman is playing violin.", "Two men pushed carts through the woods."),
    *("A man is riding a white horse on an enclosed ground.", "A monkey is playing drums."),
    "A cheetah is running behind its prey.",
]
QUERIES = [
    "A man is eating pasta.",
    "Someone in a gorilla costume is playing a set of drums.",
    "A cheetah chases prey on across a field.",
]


def opened(name):
    try:
        return load_encoder(name, dtype="float32")
    except ModelError as error:
        if "was not found" not in str(error):
            raise
        pytest.skip(f"the weights of {name} are not here")


@pytest.mark.parametrize(
    ("name", "first", "published"),
    [
        (
            "bert-base-nli-mean-tokens",  # the README of version 0.1
            "A man is eating a food.",
            [
                [(1, 0.8518), (0, 0.8020), (7, 0.4167), (3, 0.2621), (6, 0.2379)],
                [(7, 0.8514), (1, 0.3671), (0, 0.3559), (3, 0.3153), (2, 0.2589)],
                [(8, 0.9073), (5, 0.3896), (3, 0.3789), (6, 0.3544), (7, 0.3435)],
            ],
        ),
        (
            "distilbert-base-nli-stsb-mean-tokens",  # the README of version 0.4
            "A man is eating food.",
            [
                [(0, 0.5777), (1, 0.4986), (3, 0.1581), (6, 0.1474), (5, 0.0992)],
                [(7, 0.6435), (1, 0.1719), (0, 0.1240), (6, 0.0706), (8, 0.0352)],
                [(8, 0.7769), (6, 0.2485), (3, 0.2116), (7, 0.1820), (5, 0.0869)],
            ],
        ),
    ],
)
def test_five_hits_of_the_old_documentation(name, first, published):
    encoder = opened(name)
    scores = encoder.encode_queries(QUERIES) @ encoder.encode_documents([first, *CORPUS[1:]]).T
    for row, hits in zip(scores, published, strict=True):
        assert np.argsort(-row)[:5].tolist() == [place for place, _ in hits]
        assert row[[place for place, _ in hits]] == pytest.approx([score for _, score in hits], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        (card.name, figure.value)
        for card in models()
        for figure in card.quality
        if figure[::2] == ("STS benchmark, Spearman", "sbert.net, pretrained models of 2021")
        and ModelTask.RERANK not in card.tasks
    ],
)
def test_sts_benchmark(name, figure, data):
    assert sts_benchmark(opened(name), data) == pytest.approx(figure, abs=0.1)
