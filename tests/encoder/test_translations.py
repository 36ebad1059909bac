"""A model of many languages finds the translations, and the answers, that sentence-transformers finds with it."""

import os
from pathlib import Path

import numpy as np
import pytest

import semsearch

pytestmark = pytest.mark.weights

FOLDER = Path(os.environ.get("SEMSEARCH_MODELS", "-")) / "multilingual-e5-small-q4"


LANGUAGES = ["cmn", "deu", "fra", "jpn", "rus", "spa"]


def accuracies(foreign, english):
    cosines = foreign @ english.T
    own = np.arange(len(cosines))
    return [100 * float((cosines.argmax(axis=axis) == own).mean()) for axis in (1, 0)]


@pytest.fixture(scope="module")
def encoder():
    if not FOLDER.is_dir():
        pytest.skip("set SEMSEARCH_MODELS to a folder with multilingual-e5-small-q4")
    return semsearch.load_encoder(str(FOLDER), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def peer(encoder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(FOLDER), device="cpu", local_files_only=True)


def translations(data, language):
    file = data / "tatoeba" / f"tatoeba.{language}-eng.eng"
    return [path.read_text("utf-8").splitlines()[:100] for path in (file.with_suffix(f".{language}"), file)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_found_as_by_sentence_transformers(language, encoder, peer, data):
    assert (encoder.prompts.query, encoder.prompts.document) == ("query: ", "passage: ")
    texts = translations(data, language)
    ours = accuracies(*map(encoder.encode_documents, texts))
    theirs = accuracies(*(peer.encode_document(some, normalize_embeddings=True) for some in texts))
    assert ours == pytest.approx(theirs, abs=0.1)
    assert min(ours) > 80


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions_in_one_language_find_documents_in_another(language, encoder, peer, data, tmp_path):
    foreign, english = translations(data, language)
    with semsearch.create("english", encoder=encoder, home=tmp_path) as collection:
        collection.add([semsearch.Document(str(place), text) for place, text in enumerate(english)])
        found = [hits[0].id for hits in collection.search_many(foreign, k=1)]
    right = sum(own == str(place) for place, own in enumerate(found))
    asked = peer.encode_query(foreign, normalize_embeddings=True)
    documents = peer.encode_document(english, normalize_embeddings=True)
    assert right == pytest.approx(accuracies(asked, documents)[0], abs=0.1)
    assert right > 80
