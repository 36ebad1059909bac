"""The catalogue says what is true, and of what the field recommends nothing is missing."""

import pytest

from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.catalog import ModelTask, advice, card_of, doubt_of_languages, models

NAMED = """
    all-MiniLM-L6-v2 paraphrase-distilroberta-base-v1 paraphrase-xlm-r-multilingual-v1 stsb-roberta-large
    stsb-roberta-base stsb-bert-large stsb-distilbert-base quora-distilbert-base quora-distilbert-multilingual
    distilbert-multilingual-nli-stsb-quora-ranking msmarco-distilroberta-base-v2 msmarco-roberta-base-v2
    msmarco-distilbert-base-v2 distiluse-base-multilingual-cased distiluse-base-multilingual-cased-v2
    stsb-xlm-r-multilingual T-Systems-onsite/cross-en-de-roberta-sentence-transformer LaBSE allenai-specter
    average_word_embeddings_glove.6B.300d average_word_embeddings_glove.840B.300d
    average_word_embeddings_komninos average_word_embeddings_levy_dependency bert-base-nli-mean-tokens
    bert-large-nli-mean-tokens roberta-base-nli-mean-tokens roberta-large-nli-stsb-mean-tokens
    distilbert-base-nli-mean-tokens bert-base-nli-stsb-mean-tokens xlm-r-100langs-bert-base-nli-mean-tokens
    AIDA-UPM/mstsb-paraphrase-multilingual-mpnet-base-v2 clip-ViT-B-32 clip-ViT-B-32-multilingual-v1
    cross-encoder/ms-marco-MiniLM-L6-v2 naver/splade-cocondenser-ensembledistil
""".split()  # noqa: SIM905 (names are read as names)


@pytest.mark.parametrize("name", NAMED)
def test_is_in_the_catalogue(name):
    assert card_of(name) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stsb-roberta-large", 86.39),
        ("stsb-roberta-base", 85.44),
        ("stsb-bert-large", 85.29),
        ("stsb-distilbert-base", 85.16),
        ("msmarco-distilroberta-base-v2", 28.55),
        ("msmarco-roberta-base-v2", 29.17),
        ("msmarco-distilbert-base-v2", 30.77),
        ("AIDA-UPM/mstsb-paraphrase-multilingual-mpnet-base-v2", 0.8359),
        ("all-MiniLM-L6-v2", 82.03),
    ],
)
def test_published_figures(name, value):
    assert value in [figure.value for figure in card_of(name).quality]


def test_cards_are_whole():
    cards = models()
    assert len({card.name for card in cards}) == len(cards)
    for card in cards:
        assert card.tasks
        assert card.languages
        assert all(figure.source and figure.measure and figure.value > 0 for figure in card.quality)
        assert card.dim or set(card.tasks) <= {ModelTask.RERANK, ModelTask.SPARSE}


def test_every_task_has_a_model():
    assert {task for card in models() for task in card.tasks} == set(ModelTask)


def test_what_this_version_opens():
    assert card_of(DEFAULT_MODEL).supported
    assert card_of("clip-ViT-B-32-multilingual-v1").supported  # its texts; the images are another model's
    assert card_of("cross-encoder/ms-marco-MiniLM-L6-v2").supported  # as a reranker
    assert card_of("clip-ViT-B-32").supported  # its texts and its images
    assert card_of("naver/splade-v3").supported  # as a sparse encoder
    assert not card_of("Alibaba-NLP/gte-base-en-v1.5").supported


def test_a_model_of_english_alone_is_doubted_for_texts_in_other_languages():
    assert doubt_of_languages("all-MiniLM-L6-v2", ("de", "en")).count("multilingual-e5-small") == 1
    for name, languages in (("all-MiniLM-L6-v2", ("en",)), ("all-MiniLM-L6-v2", ()), ("./my-own", ("de",))):
        assert doubt_of_languages(name, languages) is None
    assert doubt_of_languages("intfloat/multilingual-e5-small", ("de",)) is None


def test_prompts_come_from_the_table_of_families():
    assert card_of("intfloat/e5-small-v2").needs_prompts
    assert card_of("BAAI/bge-small-en-v1.5").needs_prompts
    assert not card_of("all-MiniLM-L6-v2").needs_prompts
    assert not card_of("BAAI/bge-m3").needs_prompts


def test_symmetric_models_are_advised_against_for_search():
    assert "trained to compare texts of one kind (duplicate questions)" in advice("quora-distilbert-base")
    assert advice("sentence-transformers/LaBSE") is not None
    for name in ("all-MiniLM-L6-v2", "msmarco-distilbert-base-v2", "intfloat/e5-small-v2", "./my-own-model"):
        assert advice(name) is None
