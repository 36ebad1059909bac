"""mteb's own evaluation of semsearch's models and collections gives what `semsearch eval` gives."""

import json

import numpy as np
import pytest
from support.command_line import run
from support.fakes import HashEncoder

pytest.importorskip("mteb", reason="mteb is not installed")

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

import semsearch
from semsearch.evaluation.judgements import qrels_file, read_qrels
from semsearch.evaluation.metrics import answers, scored
from semsearch.mteb import CollectionSearch, MTEBCrossEncoder, MTEBEncoder

ADAPTOR = "semsearch.mteb"
MEASURES = {"ndcg_at_10": "nDCG@10", "mrr_at_10": "MRR@10", "recall_at_10": "R@10", "recall_at_100": "R@100"}
SAME = {"abs": 1e-6, "rel": 0}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _unrounded(monkeypatch):
    """mteb tells five decimals; what it computed is compared here."""
    exactly = lambda value, digits=None: value if digits == 5 else round(value, digits)  # noqa: E731
    monkeypatch.setattr("mteb._evaluators.retrieval_metrics.round", exactly, raising=False)


def task_of(name, corpus, queries, relevant, top_ranked=None):
    """A retrieval task of mteb's, made of rows."""

    class Local(AbsTaskRetrieval):
        k_values = (1, 3, 5, 10, 100)
        metadata = TaskMetadata(
            name=name,
            description="a local set",
            reference="https://example.org",
            dataset={"path": "local", "revision": "1"},
            type="Retrieval" if top_ranked is None else "Reranking",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=("2020-01-01", "2020-01-01"),
            domains=[],
            task_subtypes=[],
            license="cc-by-4.0",
            annotations_creators="derived",
            dialect=[],
            modalities=["text"],
            sample_creation="found",
            bibtex_citation="",
        )

        def load_data(self, **kwargs):
            asked = [row for row in queries if any(grade > 0 for grade in relevant.get(row["id"], {}).values())]
            rows = {
                "corpus": Dataset.from_list(corpus),
                "queries": Dataset.from_list(asked),
                "relevant_docs": {row["id"]: dict(relevant[row["id"]]) for row in asked},
                "top_ranked": top_ranked,
            }
            self.dataset, self.data_loaded = {"default": {"test": rows}}, True

    return Local()


def figures(model, task):
    (found,) = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results
    return found.scores["test"][0]


def generated(seed=0):
    rng = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(60)]
    corpus = [
        {"id": f"d{n}", "title": f"t{n % 7}" if n % 3 else "", "text": " ".join(rng.choice(words, 12))}
        for n in range(150)
    ]
    queries = [{"id": f"q{n}", "text": " ".join(rng.choice(words, 4))} for n in range(20)]
    relevant = {q["id"]: {f"d{d}": int(rng.integers(0, 3)) for d in rng.choice(150, 8, replace=False)} for q in queries}
    return corpus, queries, relevant


class Overlap:
    def score(self, query, texts):
        return np.array([len({*query.split()} & {*text.split()}) + len(text) / 1e4 for text in texts], dtype=np.float32)


RERANKED = {"mode": "hybrid", "rerank": Overlap(), "candidates": 30}


@pytest.mark.parametrize(
    "how",
    [{"mode": "dense"}, {"mode": "lexical"}, {"mode": "hybrid"}, RERANKED],
    ids=["dense", "lexical", "hybrid", "reranked"],
)
def test_a_collection_on_a_task(tmp_path, how):
    corpus, queries, relevant = generated()
    with CollectionSearch(home=tmp_path, encoder=HashEncoder(), **how) as model:
        found = figures(model, task_of("Generated", corpus, queries, relevant))
        texts = {row["id"]: row["text"] for row in queries}
        own = scored(answers(model._made, texts, how), relevant)
    for name, measure in MEASURES.items():
        assert found[name] == pytest.approx(own.mean(measure), **SAME), name


def test_an_encoder_on_a_task(tmp_path):
    corpus, queries, relevant = generated(1)
    encoder = HashEncoder()
    found = figures(MTEBEncoder("hash", encoder=encoder), task_of("Generated", corpus, queries, relevant))
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=encoder.dim) as made:
        texts = [f"{row['title']} {row['text']}".strip() for row in corpus]
        made.add([semsearch.Document(row["id"], row["text"]) for row in corpus], encoder.encode_documents(texts))
        vectors = encoder.encode_queries([row["text"] for row in queries])
        hits = made.search_many(None, 100, vectors=vectors)
    own = scored(
        {row["id"]: {hit.id: hit.score for hit in found} for row, found in zip(queries, hits, strict=True)}, relevant
    )
    for name, measure in MEASURES.items():
        assert found[name] == pytest.approx(own.mean(measure), abs=1e-6), name


def test_the_candidates_of_a_reranking_task_are_heeded(tmp_path):
    corpus, queries, relevant = generated(2)
    candidates = {query: [*grades, "d1", "d2"] for query, grades in relevant.items()}
    task = task_of("Candidates", corpus, queries, relevant, candidates)
    kept = {}
    with CollectionSearch(home=tmp_path, encoder=HashEncoder(), mode="hybrid") as model:
        search = model.search
        model.search = lambda *args, **kwargs: kept.update(search(*args, **kwargs)) or kept
        figures(model, task)
    assert kept
    for query, found in kept.items():
        assert set(found) == set(candidates[query])
    found = figures(MTEBCrossEncoder("overlap", reranker=Overlap()), task)
    texts = {row["id"]: f"{row['title']} {row['text']}".strip() for row in corpus}
    run_ = {
        row["id"]: dict(
            zip(
                candidates[row["id"]],
                Overlap().score(row["text"], [texts[d] for d in candidates[row["id"]]]),
                strict=True,
            )
        )
        for row in queries
    }
    own = scored({query: {doc: float(score) for doc, score in one.items()} for query, one in run_.items()}, relevant)
    assert found["ndcg_at_10"] == pytest.approx(own.mean("nDCG@10"), abs=1e-6)


UNRANKED = "CrossEncoder search requires top_ranked documents"  # what mteb says of any


@pytest.mark.parametrize(
    "make",
    [
        lambda: MTEBEncoder(encoder=HashEncoder()),
        lambda: CollectionSearch(encoder=HashEncoder(), mode="hybrid"),
        lambda: MTEBCrossEncoder(reranker=Overlap()),
    ],
    ids=["encoder", "collection", "cross-encoder"],
)
def test_mtebs_own_check_of_models(make):
    told = {name: one for name, one in mteb.mock_run(make()).task_results.items() if one is not None}
    failed = {name: one.exception for name, one in told.items() if hasattr(one, "exception")}
    assert all(UNRANKED in said for said in failed.values()), failed
    assert len(told) > len(failed) + 3


def test_results_are_kept_apart(tmp_path):
    """mteb takes a result from its cache where model, revision and experiment are the same."""
    cache, task = mteb.ResultCache(tmp_path / "cache"), task_of("Generated", *generated())

    def ndcg(model):
        (found,) = mteb.evaluate(model, task, cache=cache, co2_tracker=False, show_progress_bar=False).task_results
        return found.scores["test"][0]["ndcg_at_10"]

    ways = [{"mode": "dense"}, {"mode": "lexical"}, {"mode": "hybrid"}, {"mode": "hybrid", "dense_weight": 0.9}]
    found = [ndcg(CollectionSearch(encoder=HashEncoder(), **how)) for how in ways]
    assert found == [figures(CollectionSearch(encoder=HashEncoder(), **how), task)["ndcg_at_10"] for how in ways]
    assert len(set(found)) == len(ways)
    one, other = MTEBEncoder(encoder=HashEncoder(8)), MTEBEncoder(encoder=HashEncoder(64))
    assert [ndcg(one), ndcg(other)] == [figures(model, task)["ndcg_at_10"] for model in (one, other)]
    assert one.mteb_model_meta.revision != other.mteb_model_meta.revision
    names = [MTEBEncoder().mteb_model_meta.name, one.mteb_model_meta.name]
    assert names[0] == "sentence-transformers/all-MiniLM-L6-v2"
    assert names[1] == "semsearch/semsearch.testing.encoder.HashEncoder"


def test_a_collection_is_found_the_next_time(tmp_path):
    corpus, queries, relevant = generated()
    for rows in (corpus, corpus[10:], corpus):
        task = task_of("Generated", rows, queries, relevant)
        with CollectionSearch(home=tmp_path, encoder=HashEncoder(), mode="hybrid") as model:
            assert figures(model, task) == figures(CollectionSearch(encoder=HashEncoder(), mode="hybrid"), task)
            assert len(model._made) == len(rows)
    assert semsearch.list_collections(home=tmp_path) == ["Generated-default-test"]


def test_mtebs_own_tutorials_with_the_models_exchanged(tmp_path):
    from mteb.models.cache_wrappers import CachedEmbeddingWrapper

    quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    corpus, *asked = generated()
    plain = [row | {"title": ""} for row in corpus]  # mteb's wrapper puts a title down twice
    task = task_of("Plain", plain, *asked)
    encoder, cross_encoder = MTEBEncoder(encoder=HashEncoder()), MTEBCrossEncoder(reranker=Overlap())
    expected = mteb.evaluate(encoder, task, prediction_folder=tmp_path, **quiet)[0].get_score()
    kept = CachedEmbeddingWrapper(encoder, cache_path=tmp_path / "vectors")
    for _ in range(2):
        assert mteb.evaluate(kept, task, **quiet)[0].get_score() == pytest.approx(expected, **SAME)
    second = mteb.evaluate(cross_encoder, task.convert_to_reranking(tmp_path, top_k=100), **quiet)[0].get_score()
    with CollectionSearch(encoder=HashEncoder(), rerank=Overlap(), candidates=100, rerank_weight=1.0) as model:
        (alike,) = mteb.evaluate(model, task_of("Plain", plain, *asked), **quiet).task_results
    assert second == pytest.approx(alike.get_score(), **SAME)


@pytest.mark.real
@pytest.mark.parametrize("corpus", ["cranfield"])
def test_a_real_collection_scores_as_semsearch_eval_says(data, encoded, corpus):
    home, name = encoded(corpus)
    ended = run("eval", name, data / corpus, "--home", home, "--json", "--mode", "dense", "--mode", "hybrid")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["runs"]
    rows = [json.loads(line) for line in (data / corpus / "corpus.jsonl").read_text("utf-8").splitlines()]
    documents = [{"id": row["_id"], "title": row.get("title") or "", "text": row["text"]} for row in rows]
    rows = [json.loads(line) for line in (data / corpus / "queries.jsonl").read_text("utf-8").splitlines()]
    # in the order in which `eval` asks them: what a question is encoded beside moves its last bits
    queries = sorted(({"id": row["_id"], "text": row["text"]} for row in rows), key=lambda row: row["id"])
    task = task_of(corpus.capitalize(), documents, queries, read_qrels(qrels_file(data / corpus, "test")))
    with semsearch.open(name, home=home) as collection:
        for mode in ("dense", "hybrid"):
            found = figures(CollectionSearch(collection=collection, mode=mode), task)
            for measure, own in MEASURES.items():
                assert found[measure] == pytest.approx(told[mode][own], **SAME), (mode, measure)
