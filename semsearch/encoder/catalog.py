"""The models that the field recommends, by task: what `semsearch models` prints.

A figure stands here only with its source; where none is known, the place is empty. Two models compare only by figures
of the same measure. Any other model opens by its name just as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from semsearch.encoder.prompts import family_of


class Task(StrEnum):
    """What a model was trained to find."""

    SEARCH = "search"  # passages that answer a question: the two sides are of different kinds
    PARAPHRASE = "paraphrase"
    SIMILARITY = "similarity"  # how near two sentences are in meaning (STS)
    DUPLICATES = "duplicate questions"
    BITEXT = "bitext"  # translations
    PAPERS = "papers"  # scientific papers by title and abstract
    IMAGES = "image-text"
    RERANK = "rerank"  # scores pairs of texts, gives no vectors
    SPARSE = "sparse search"  # a weight for each word instead of a vector


SYMMETRIC = frozenset({Task.PARAPHRASE, Task.SIMILARITY, Task.DUPLICATES, Task.BITEXT, Task.PAPERS})
OPENED = SYMMETRIC | {Task.SEARCH, Task.RERANK}  # tasks whose models this version opens, as encoders or rerankers


class Figure(NamedTuple):
    """A published result."""

    measure: str
    value: float
    source: str


@dataclass(frozen=True)
class ModelCard:
    """A model as the catalogue knows it; None is "not known"."""

    name: str
    tasks: tuple[Task, ...]
    dim: int | None  # None: gives no vectors
    window: int | None  # tokens it reads, special ones included; None also for models without a limit
    languages: str
    parameters: float | None  # millions; four bytes each on disk
    quality: tuple[Figure, ...] = ()
    note: str = ""
    own_code: bool = False  # its checkpoint asks for code of its own, which semsearch does not run

    @property
    def supported(self) -> bool:
        """Whether this version opens it: as an encoder, or to rerank as a reranker."""
        return not self.own_code and any(task in OPENED for task in self.tasks)

    @property
    def needs_prompts(self) -> bool:
        """Whether questions or documents get a fixed beginning; semsearch knows it and puts it there."""
        family = family_of(self.name)
        return family is not None and bool(family.query or family.document)

    @property
    def symmetric(self) -> bool:
        """Whether it was trained to compare texts of one kind only, and not to answer questions with passages."""
        return all(task in SYMMETRIC for task in self.tasks)


def models() -> list[ModelCard]:
    """The catalogue, in the order in which one would try them within a task."""
    return list(CATALOGUE)


def card_of(name: str) -> ModelCard | None:
    """The catalogue's card of a model, under its full or its bare name."""
    known = {card.name: card for card in CATALOGUE}
    return known.get(name) or known.get(f"sentence-transformers/{name}")


def advice(name: str) -> str | None:
    """What speaks against a model for answering questions with passages; None where nothing is known to."""
    card = card_of(name)
    if card is None or not card.symmetric:
        return None
    return (
        f"{card.name} was trained to compare texts of one kind ({', '.join(card.tasks)}). To find passages that answer "
        "questions, a model for search, such as multi-qa-MiniLM-L6-cos-v1 or all-MiniLM-L6-v2, usually finds more."
    )


SBERT = "sbert.net, pretrained models"
SBERT_2021 = "sbert.net, pretrained models of 2021"
README = "sentence-transformers, README of 2020"
MSMARCO = "sbert.net, MS MARCO models"
CARD = "its model card"
STSB = "STS benchmark, Spearman"
SENTENCES = "14 sentence tasks, mean"
SEARCHES = "6 search tasks, mean"
MRR = "MS MARCO dev, MRR@10"
DL19 = "TREC DL 2019 reranking, nDCG@10"
BEIR = "MTEB retrieval (BEIR), nDCG@10"
ENGLISH, FIFTY = "English", "50+ languages"
GENERAL = (Task.SEARCH, Task.PARAPHRASE, Task.SIMILARITY)


def _own(
    name: str,
    tasks: tuple[Task, ...] | Task,
    dim: int | None,
    window: int | None,
    parameters: float | None,
    *quality: Figure,
    languages: str = ENGLISH,
    note: str = "",
) -> ModelCard:
    """A model of the sentence-transformers organisation."""
    tasks = tasks if isinstance(tasks, tuple) else (tasks,)
    return ModelCard(f"sentence-transformers/{name}", tasks, dim, window, languages, parameters, quality, note)


def _both(sentences: float, searches: float) -> tuple[Figure, Figure]:
    return Figure(SENTENCES, sentences, SBERT), Figure(SEARCHES, searches, SBERT)


def _msmarco(mrr: float, dl19: float) -> tuple[Figure, Figure]:
    return Figure(MRR, mrr, MSMARCO), Figure(DL19, dl19, MSMARCO)


def _stsb(value: float, source: str = SBERT_2021) -> Figure:
    return Figure(STSB, value, source)


_WORDS_NOTE = "Averaged word vectors: very fast, much less precise."
_OLD_NLI = "Of 2019 and 2020; the models above have overtaken it."

CATALOGUE: tuple[ModelCard, ...] = (
    # ---- all-round -------------------------------------------------------------------------------------------------
    _own(
        "all-MiniLM-L6-v2",
        GENERAL,
        384,
        256,
        22.7,
        *_both(68.06, 49.54),
        Figure(STSB, 82.03, "MTEB"),
        Figure("SciFact, nDCG@10", 0.645, "MTEB"),
        Figure("NFCorpus, nDCG@10", 0.316, "MTEB"),
        note="The default: small, fast, good at most things.",
    ),
    _own("all-MiniLM-L12-v2", GENERAL, 384, 256, 33.4, *_both(68.70, 50.82)),
    _own("all-distilroberta-v1", GENERAL, 768, 512, 82.1, *_both(68.73, 50.94)),
    _own("all-mpnet-base-v2", GENERAL, 768, 384, 109.5, *_both(69.57, 57.02)),
    _own("all-roberta-large-v1", GENERAL, 1024, 256, 355.4, *_both(70.23, 53.05)),
    # ---- search: questions to passages -----------------------------------------------------------------------------
    _own("multi-qa-MiniLM-L6-cos-v1", Task.SEARCH, 384, 512, 22.7, Figure(SEARCHES, 51.83, SBERT)),
    _own("multi-qa-distilbert-cos-v1", Task.SEARCH, 768, 512, 66.4, Figure(SEARCHES, 52.83, SBERT)),
    _own("multi-qa-mpnet-base-cos-v1", Task.SEARCH, 768, 512, 109.5, Figure(SEARCHES, 57.46, SBERT)),
    _own("multi-qa-MiniLM-L6-dot-v1", Task.SEARCH, 384, 512, 22.7, Figure(SEARCHES, 49.19, SBERT)),
    _own("multi-qa-mpnet-base-dot-v1", Task.SEARCH, 768, 512, 109.5, Figure(SEARCHES, 57.60, SBERT)),
    ModelCard("BAAI/bge-small-en-v1.5", (Task.SEARCH,), 384, 512, ENGLISH, 33.4, (Figure(BEIR, 51.68, CARD),)),
    ModelCard("BAAI/bge-base-en-v1.5", (Task.SEARCH,), 768, 512, ENGLISH, 109.5, (Figure(BEIR, 53.25, CARD),)),
    ModelCard("BAAI/bge-large-en-v1.5", (Task.SEARCH,), 1024, 512, ENGLISH, 335.1, (Figure(BEIR, 54.29, CARD),)),
    ModelCard(
        "Snowflake/snowflake-arctic-embed-xs", (Task.SEARCH,), 384, 512, ENGLISH, 22.6, (Figure(BEIR, 50.15, CARD),)
    ),
    ModelCard(
        "Snowflake/snowflake-arctic-embed-s", (Task.SEARCH,), 384, 512, ENGLISH, 33.2, (Figure(BEIR, 51.98, CARD),)
    ),
    ModelCard(
        "Snowflake/snowflake-arctic-embed-m", (Task.SEARCH,), 768, 512, ENGLISH, 109.0, (Figure(BEIR, 54.90, CARD),)
    ),
    ModelCard("intfloat/e5-small-v2", (Task.SEARCH,), 384, 512, ENGLISH, 33.4),
    ModelCard("intfloat/e5-base-v2", (Task.SEARCH,), 768, 512, ENGLISH, 109.5),
    ModelCard("thenlper/gte-small", GENERAL, 384, 512, ENGLISH, 33.4),
    ModelCard("mixedbread-ai/mxbai-embed-large-v1", GENERAL, 1024, 512, ENGLISH, 335.1, note="Can be truncated."),
    ModelCard(
        "nomic-ai/nomic-embed-text-v1.5",
        GENERAL,
        768,
        8192,
        ENGLISH,
        136.7,
        note="Can be truncated to 512, 256, 128 or 64; opens through transformers' own NomicBERT.",
    ),
    ModelCard("nomic-ai/modernbert-embed-base", GENERAL, 768, 8192, ENGLISH, 149.0, note="Can be truncated to 256."),
    ModelCard(
        "minishlab/potion-retrieval-32M",
        (Task.SEARCH,),
        512,
        512,
        ENGLISH,
        32.3,
        note="Static vectors: hundreds of times faster on a CPU, less precise.",
    ),
    ModelCard(
        "minishlab/potion-base-8M",
        GENERAL,
        256,
        512,
        ENGLISH,
        7.6,
        note="Static vectors: hundreds of times faster on a CPU, less precise.",
    ),
    _own(
        "static-retrieval-mrl-en-v1",
        Task.SEARCH,
        1024,
        None,
        31.3,
        note="Static vectors, can be truncated: very fast on a CPU, less precise.",
    ),
    _own("msmarco-bert-base-dot-v5", Task.SEARCH, 768, 512, 109.5, *_msmarco(38.08, 70.51)),
    _own("msmarco-distilbert-dot-v5", Task.SEARCH, 768, 512, 66.4, *_msmarco(37.25, 70.14)),
    _own("msmarco-distilbert-base-tas-b", Task.SEARCH, 768, 512, 66.4, *_msmarco(34.43, 71.04)),
    _own("msmarco-distilbert-cos-v5", Task.SEARCH, 768, 512, 66.4, *_msmarco(33.79, 70.24)),
    _own("msmarco-MiniLM-L6-cos-v5", Task.SEARCH, 384, 512, 22.7, *_msmarco(32.27, 67.46)),
    _own("msmarco-distilbert-base-v2", Task.SEARCH, 768, None, 66.4, *_msmarco(30.77, 68.35)),
    _own("msmarco-roberta-base-v2", Task.SEARCH, 768, None, 124.6, *_msmarco(29.17, 67.18)),
    _own("msmarco-distilroberta-base-v2", Task.SEARCH, 768, None, 82.1, *_msmarco(28.55, 65.65)),
    ModelCard("jinaai/jina-embeddings-v2-small-en", (Task.SEARCH,), 512, 8192, ENGLISH, 32.7, note="", own_code=True),
    ModelCard("Alibaba-NLP/gte-base-en-v1.5", GENERAL, 768, 8192, ENGLISH, 136.8, own_code=True),
    # ---- paraphrase, similarity, duplicate questions ---------------------------------------------------------------
    _own("paraphrase-mpnet-base-v2", Task.PARAPHRASE, 768, 512, 109.5, *_both(67.97, 47.43)),
    _own("paraphrase-MiniLM-L6-v2", Task.PARAPHRASE, 384, 128, 22.7, *_both(64.82, 40.31)),
    _own("paraphrase-MiniLM-L3-v2", Task.PARAPHRASE, 384, 128, 17.4, *_both(62.29, 39.19)),
    _own("paraphrase-albert-small-v2", Task.PARAPHRASE, 768, 256, 11.7, *_both(64.46, 40.04)),
    _own("paraphrase-distilroberta-base-v1", Task.PARAPHRASE, 768, 128, 82.1),
    _own("stsb-mpnet-base-v2", Task.SIMILARITY, 768, None, 109.5, _stsb(88.57)),
    _own("stsb-roberta-base-v2", Task.SIMILARITY, 768, None, 124.6, _stsb(87.21)),
    _own("stsb-distilroberta-base-v2", Task.SIMILARITY, 768, None, 82.1, _stsb(86.41)),
    _own("stsb-roberta-large", Task.SIMILARITY, 1024, 128, 355.4, _stsb(86.39)),
    _own("stsb-roberta-base", Task.SIMILARITY, 768, 128, 124.6, _stsb(85.44)),
    _own("stsb-bert-large", Task.SIMILARITY, 1024, 128, 335.1, _stsb(85.29)),
    _own("stsb-distilbert-base", Task.SIMILARITY, 768, 128, 66.4, _stsb(85.16)),
    _own("quora-distilbert-base", Task.DUPLICATES, 768, 128, 66.4),
    # ---- many languages --------------------------------------------------------------------------------------------
    _own(
        "paraphrase-multilingual-MiniLM-L12-v2",
        Task.PARAPHRASE,
        384,
        128,
        117.7,
        *_both(64.25, 39.19),
        languages=FIFTY,
    ),
    _own(
        "paraphrase-multilingual-mpnet-base-v2", Task.PARAPHRASE, 768, 128, 278.0, *_both(65.83, 41.68), languages=FIFTY
    ),
    ModelCard(
        "AIDA-UPM/mstsb-paraphrase-multilingual-mpnet-base-v2",
        (Task.SIMILARITY,),
        768,
        128,
        "15 languages",
        278.0,
        (Figure("multilingual STS benchmark, 31 tasks, mean Spearman", 0.8359, CARD),),
    ),
    _own("paraphrase-xlm-r-multilingual-v1", Task.PARAPHRASE, 768, 128, 278.0, languages=FIFTY),
    _own("stsb-xlm-r-multilingual", Task.SIMILARITY, 768, 128, 278.0, languages=FIFTY),
    _own("quora-distilbert-multilingual", Task.DUPLICATES, 768, 128, 134.7, languages=FIFTY),
    _own("distilbert-multilingual-nli-stsb-quora-ranking", Task.DUPLICATES, 768, 128, 134.7, languages=FIFTY),
    _own(
        "distiluse-base-multilingual-cased-v1",
        Task.SIMILARITY,
        512,
        128,
        135.1,
        *_both(61.30, 29.87),
        languages="15 languages",
    ),
    _own(
        "distiluse-base-multilingual-cased-v2", Task.SIMILARITY, 512, 128, 135.1, *_both(60.18, 27.35), languages=FIFTY
    ),
    _own("distiluse-base-multilingual-cased", Task.SIMILARITY, 512, 128, 135.1, languages="15 languages"),
    ModelCard(
        "T-Systems-onsite/cross-en-de-roberta-sentence-transformer",
        (Task.SIMILARITY,),
        768,
        None,
        "English, German",
        278.0,
    ),
    *(
        _own(f"xlm-r-{size}", Task.SIMILARITY, 768, 128, 278.0, languages=FIFTY, note=_OLD_NLI)
        for size in (
            "100langs-bert-base-nli-mean-tokens",
            "100langs-bert-base-nli-stsb-mean-tokens",
            "bert-base-nli-stsb-mean-tokens",
            "distilroberta-base-paraphrase-v1",
        )
    ),
    ModelCard("intfloat/multilingual-e5-small", (Task.SEARCH,), 384, 512, "100 languages", 117.7),
    ModelCard("intfloat/multilingual-e5-base", (Task.SEARCH,), 768, 512, "100 languages", 278.0),
    ModelCard("intfloat/multilingual-e5-large-instruct", (Task.SEARCH,), 1024, 512, "100 languages", 559.9),
    ModelCard("BAAI/bge-m3", (Task.SEARCH,), 1024, 8192, "100+ languages", 567.8),
    ModelCard("Snowflake/snowflake-arctic-embed-l-v2.0", (Task.SEARCH,), 1024, 8192, "74 languages", 567.8),
    ModelCard(
        "Qwen/Qwen3-Embedding-0.6B",
        GENERAL,
        1024,
        32768,
        "100+ languages",
        595.8,
        (Figure("MTEB multilingual, mean of tasks", 64.33, CARD),),
        note="Can be truncated.",
    ),
    ModelCard(
        "google/embeddinggemma-300m",
        GENERAL,
        768,
        2048,
        "100+ languages",
        307.6,
        (Figure("MTEB multilingual v2, mean of tasks", 61.15, CARD),),
        note="Can be truncated to 512, 256 or 128; its terms must be accepted on the hub; float16 doesn't suit it.",
    ),
    _own(
        "static-similarity-mrl-multilingual-v1",
        Task.SIMILARITY,
        1024,
        None,
        108.4,
        languages=FIFTY,
        note="Static vectors, can be truncated: very fast on a CPU, less precise.",
    ),
    _own(
        "LaBSE",
        Task.BITEXT,
        768,
        256,
        470.9,
        languages="109 languages",
        note="The best for finding translations; weaker at judging how similar other sentences are.",
    ),
    # ---- scientific papers -----------------------------------------------------------------------------------------
    _own("allenai-specter", Task.PAPERS, 768, 512, 109.9, note="Wants 'title[SEP]abstract' as its text."),
    # ---- of 2019 and 2020 ------------------------------------------------------------------------------------------
    *(
        _own(
            f"{base}-nli-{rest}mean-tokens",
            Task.SIMILARITY,
            dim,
            128,
            parameters,
            *((_stsb(figure, README),) if figure is not None else ()),
            note=_OLD_NLI,
        )
        for base, dim, parameters, nli, stsb in (
            ("bert-base", 768, 109.5, 77.12, 85.14),
            ("bert-large", 1024, 335.1, 79.19, 85.29),
            ("roberta-base", 768, 124.6, None, 85.44),
            ("roberta-large", 1024, 355.4, None, 86.39),
            ("distilbert-base", 768, 66.4, None, 85.16),
        )
        for rest, figure in (("", nli), ("stsb-", stsb))
    ),
    # ---- averaged word vectors -------------------------------------------------------------------------------------
    _own(
        "average_word_embeddings_glove.6B.300d",
        Task.SIMILARITY,
        300,
        None,
        120.0,
        *_both(49.79, 22.71),
        note=_WORDS_NOTE,
    ),
    _own("average_word_embeddings_glove.840B.300d", Task.SIMILARITY, 300, None, None, note=_WORDS_NOTE),
    _own("average_word_embeddings_komninos", Task.SIMILARITY, 300, None, None, *_both(51.13, 21.64), note=_WORDS_NOTE),
    _own("average_word_embeddings_levy_dependency", Task.SIMILARITY, 300, None, None, note=_WORDS_NOTE),
    # ---- images and texts ------------------------------------------------------------------------------------------
    *(
        _own(name, Task.IMAGES, dim, 77, parameters, Figure("ImageNet zero-shot, top 1", top, SBERT))
        for name, dim, parameters, top in (
            ("clip-ViT-L-14", 768, 427.6, 75.4),
            ("clip-ViT-B-16", 512, 149.6, 68.1),
            ("clip-ViT-B-32", 512, 151.3, 63.3),
        )
    ),
    _own(
        "clip-ViT-B-32-multilingual-v1",
        (Task.IMAGES, Task.SIMILARITY),
        512,
        128,
        135.1,
        languages=FIFTY,
        note="Texts only; its vectors compare with the image vectors of clip-ViT-B-32.",
    ),
    # ---- rerankers -------------------------------------------------------------------------------------------------
    *(
        ModelCard(f"cross-encoder/{name}", (Task.RERANK,), None, 512, ENGLISH, parameters, figures)
        for name, parameters, figures in (
            ("ms-marco-MiniLM-L6-v2", 22.7, _msmarco(39.01, 74.30)),
            ("ms-marco-MiniLM-L12-v2", 33.4, _msmarco(39.02, 74.31)),
            ("ms-marco-TinyBERT-L2-v2", 4.4, _msmarco(32.56, 69.84)),
            ("ms-marco-electra-base", 109.5, _msmarco(36.41, 71.99)),
            ("stsb-roberta-base", 124.6, (_stsb(90.17, SBERT),)),
        )
    ),
    ModelCard("BAAI/bge-reranker-v2-m3", (Task.RERANK,), None, 8192, "100+ languages", 567.8),
    # ---- sparse ----------------------------------------------------------------------------------------------------
    ModelCard(
        "naver/splade-cocondenser-ensembledistil",
        (Task.SPARSE,),
        None,
        512,
        ENGLISH,
        109.5,
        (
            Figure(MRR, 38.0, "sbert.net, sparse encoders"),
            Figure("BEIR-13, nDCG@10", 50.5, "sbert.net, sparse encoders"),
        ),
        note="A sparse vector over 30,522 word pieces.",
    ),
    ModelCard(
        "naver/splade-v3",
        (Task.SPARSE,),
        None,
        512,
        ENGLISH,
        109.5,
        (
            Figure(MRR, 40.2, "sbert.net, sparse encoders"),
            Figure("BEIR-13, nDCG@10", 51.7, "sbert.net, sparse encoders"),
        ),
        note="A sparse vector over 30,522 word pieces; its terms must be accepted on the hub.",
    ),
)
