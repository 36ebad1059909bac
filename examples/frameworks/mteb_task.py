"""mteb: a task of one's own, on which a model and a whole collection are measured as on the leaderboard's.

Needs `pip install 'semsearch[mteb]'`. Run it:
`python examples/frameworks/mteb_task.py`
"""

import csv
import json
from pathlib import Path

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from semsearch.mteb import CollectionSearch, MTEBEncoder

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


class SampleTask(AbsTaskRetrieval):
    """The shipped samples with their judged questions."""

    metadata = TaskMetadata(
        name="Samples",
        description="Short texts on many subjects, with judged questions.",
        reference=None,
        dataset={"path": "samples", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, **kwargs: object) -> None:
        """Read the files, instead of fetching them."""
        corpus = [json.loads(line) for line in (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()]
        queries = [json.loads(line) for line in (SAMPLES / "queries.jsonl").read_text("utf-8").splitlines()]
        relevant: dict[str, dict[str, int]] = {}
        with (SAMPLES / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_list(
                        [{"id": r["id"], "title": r["title"], "text": r["text"]} for r in corpus]
                    ),
                    "queries": Dataset.from_list(
                        [{"id": q["_id"], "text": q["text"]} for q in queries if q["_id"] in relevant]
                    ),
                    "relevant_docs": relevant,
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


def main() -> dict[str, float]:
    """Print nDCG@10 of the model alone, and of a collection that is asked by meaning and words."""
    found = {}
    for name, model in {"the model": MTEBEncoder(), "hybrid": CollectionSearch(mode="hybrid")}.items():
        results = mteb.evaluate(model, SampleTask(), cache=None, co2_tracker=False)
        found[name] = results.task_results[0].scores["test"][0]["ndcg_at_10"]
        print(f"nDCG@10 of {name}: {found[name]:.3f}")
    return found


if __name__ == "__main__":
    main()
