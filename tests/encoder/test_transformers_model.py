"""Models that transformers opens: no bar is drawn over what a command tells, and who wants bars keeps theirs."""

import pytest
import torch
from support import image_checkpoints, reranker_checkpoints, sparse_checkpoints
from transformers import AutoModel
from transformers.utils import logging

import semsearch
from semsearch.encoder.transformers_model import open_by_transformers

OPENED = {
    "pictures": (image_checkpoints.clip, semsearch.load_encoder),
    "sparse": (lambda folder: sparse_checkpoints.splade(folder, "ModernBert"), semsearch.load_sparse_encoder),
    "reranker": (lambda folder: reranker_checkpoints.causal(folder), semsearch.load_reranker),
}


@pytest.mark.parametrize("kind", OPENED)
def test_no_bar_is_drawn(tmp_path, capfd, kind):
    made, load = OPENED[kind]
    folder = tmp_path / "model"
    made(folder)
    capfd.readouterr()
    load(str(folder), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_bars_are_drawn_again_for_whom_they_were_drawn(tmp_path):
    folder = image_checkpoints.clip(tmp_path / "model")
    assert logging.is_progress_bar_enabled()
    open_by_transformers(AutoModel, folder, torch.float32)
    assert logging.is_progress_bar_enabled()
    with pytest.raises(OSError, match="no_model"):
        open_by_transformers(AutoModel, tmp_path / "no_model", torch.float32)
    assert logging.is_progress_bar_enabled()
