"""A cross-encoder of the real MiniLM's weights on real passages: what sentence-transformers computes, and its order."""

import itertools
import json

import numpy as np
import pytest
import torch

from semsearch import load_reranker
from semsearch.encoder.checkpoint import tokenizer_files

pytestmark = pytest.mark.real
QUERY = "Vaccination against measles lowers the mortality of other infectious diseases in children."


@pytest.fixture(scope="module")
def folder(minilm, tmp_path_factory):
    """all-MiniLM-L6-v2 with a head drawn from a seed: the shape of ms-marco-MiniLM-L6-v2."""
    from transformers import BertForSequenceClassification

    folder = tmp_path_factory.mktemp("minilm")
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(minilm, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.save_pretrained(folder)
    for path in tokenizer_files(minilm):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def passages(data):
    with (data / "scifact" / "corpus.jsonl").open(encoding="utf-8") as file:
        records = [json.loads(line) for line in itertools.islice(file, 40)]
    return [" ".join(f"{record['title']} {record['text']}".split()[:150]) for record in records]


def test_real_weights_on_real_passages(folder, passages):
    from sentence_transformers import CrossEncoder

    raw = torch.nn.Identity()
    pairs = [(QUERY, passage) for passage in passages]
    theirs = CrossEncoder(str(folder), device="cpu").predict(pairs, activation_fn=raw)
    exact = load_reranker(str(folder), device="cpu", dtype="float32").predict(pairs, activation=raw)
    assert np.abs(exact - theirs).max() < 1e-4
    quick = load_reranker(str(folder), device="cpu", dtype="bfloat16").predict(pairs, activation=raw)
    above = np.triu_indices(len(pairs), 1)
    agree = np.sign(quick[above[0]] - quick[above[1]]) == np.sign(theirs[above[0]] - theirs[above[1]])
    assert agree.mean() > 0.98
    assert len(np.unique(quick)) == len(np.unique(theirs))  # nothing was made equal
