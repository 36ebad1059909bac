"""A tiny model to make rerankers of."""

import pytest
from support import tiny

from semsearch import load_encoder


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Its folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny.bert(folder)
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(folder, ("", tiny.OLD + "Transformer"), ("1_Pooling", tiny.OLD + "Pooling"))
    return folder


@pytest.fixture(scope="session")
def encoder(base):
    """It, opened."""
    return load_encoder(str(base), device="cpu", dtype="float32")
