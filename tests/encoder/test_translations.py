"""A model of many languages finds the translations that sentence-transformers finds with the same folder."""

import os
from pathlib import Path

import numpy as np
import pytest

import semsearch

pytestmark = pytest.mark.weights

FOLDER = Path(os.environ.get("SEMSEARCH_MODELS", "-")) / "multilingual-e5-small-q4"


def accuracies(foreign, english):
    cosines = foreign @ english.T
    own = np.arange(len(cosines))
    return [100 * float((cosines.argmax(axis=axis) == own).mean()) for axis in (1, 0)]


@pytest.mark.parametrize("language", ["cmn", "deu", "fra", "jpn", "rus", "spa"])
def test_translations_are_found_as_by_sentence_transformers(language, data):
    if not FOLDER.is_dir():
        pytest.skip("set SEMSEARCH_MODELS to a folder with multilingual-e5-small-q4")
    from sentence_transformers import SentenceTransformer

    encoder = semsearch.load_encoder(str(FOLDER), device="cpu", dtype="float32")
    assert (encoder.prompts.query, encoder.prompts.document) == ("query: ", "passage: ")
    peer = SentenceTransformer(str(FOLDER), device="cpu", local_files_only=True)
    file = data / "tatoeba" / f"tatoeba.{language}-eng.eng"
    texts = [path.read_text("utf-8").splitlines()[:100] for path in (file.with_suffix(f".{language}"), file)]
    ours = accuracies(*map(encoder.encode_documents, texts))
    theirs = accuracies(*(peer.encode_document(some, normalize_embeddings=True) for some in texts))
    assert ours == pytest.approx(theirs, abs=0.1)
    assert min(ours) > 80
