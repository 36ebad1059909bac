"""LangChain: a vector store, a retriever by meaning and words, and an index that is kept in step.

Needs `pip install 'semsearch[langchain]'`. Run it:
`python examples/frameworks/langchain_questions.py "how do I treat a burn?"`
"""

import json
import sys
import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.indexing import index

from semsearch.langchain import SemsearchRecordManager, SemsearchRetriever, SemsearchVectorStore

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(question: str = "how do I treat a burn?") -> list[Document]:
    """Index the samples twice, and ask."""
    lines = (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()
    documents = [
        Document(record["text"], metadata={"title": record["title"], "subject": record["subject"]})
        for record in map(json.loads, lines)
    ]
    with tempfile.TemporaryDirectory() as home:
        store = SemsearchVectorStore("samples", home=home)
        record = SemsearchRecordManager(store)
        for run in ("first", "second"):
            told = index(documents, record, store, cleanup="full", source_id_key="title", key_encoder="sha256")
            print(f"{run} run: {told['num_added']} added, {told['num_skipped']} left as they were")
        retriever = SemsearchRetriever(collection=store.collection, k=3, search_kwargs={"mode": "hybrid"})
        found = retriever.invoke(question)
        for document in found:
            print(f"  {document.metadata['subject']}: {document.metadata['title']}")
        store.close()
        return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
