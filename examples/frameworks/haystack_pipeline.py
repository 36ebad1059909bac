"""Haystack: a pipeline with a hybrid retriever over a semsearch collection, written down and read back.

Needs `pip install 'semsearch[haystack]'`. Run it:
`python examples/frameworks/haystack_pipeline.py "how do I treat a burn?"`
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # Haystack's own

from haystack import Document, Pipeline

from semsearch.haystack import SemsearchDocumentStore, SemsearchHybridRetriever

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(question: str = "how do I treat a burn?") -> list[Document]:
    """Write documents, run a pipeline that was read back from text."""
    lines = (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()
    documents = [
        Document(id=record["id"], content=record["text"], meta={"title": record["title"], "subject": record["subject"]})
        for record in map(json.loads, lines)
    ]
    with tempfile.TemporaryDirectory() as home:
        store = SemsearchDocumentStore("samples", home=home)
        print(f"{store.write_documents(documents)} documents written")
        pipeline = Pipeline()
        pipeline.add_component("retriever", SemsearchHybridRetriever(store, top_k=3))
        own = [
            "semsearch.haystack.retrievers",
            "semsearch.haystack.haystack_store",
        ]  # Haystack asks whose classes to trust
        again = Pipeline.loads(pipeline.dumps(), allowed_modules=own)
        found = again.run({"retriever": {"query": question}})["retriever"]["documents"]
        for document in found:
            print(f"  {document.score:.2f}  {document.meta['subject']}: {document.meta['title']}")
        again.get_component("retriever").document_store.close()
        store.close()
        return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
