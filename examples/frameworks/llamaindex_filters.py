"""LlamaIndex: an index over a semsearch collection, asked by meaning and words, within a filter.

Needs `pip install 'semsearch[llamaindex]'`. Run it:
`python examples/frameworks/llamaindex_filters.py "how are tables indexed?"`
"""

import json
import sys
import tempfile
from pathlib import Path

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from semsearch.llamaindex import SemsearchEmbedding, SemsearchVectorStore

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(question: str = "how does a database find a row fast?") -> list[NodeWithScore]:
    """Put nodes in, and ask among those of one subject."""
    lines = (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    nodes = [TextNode(text=one["text"], metadata={"title": one["title"], "subject": one["subject"]}) for one in records]
    filters = MetadataFilters(filters=[MetadataFilter(key="subject", value="databases")])
    with tempfile.TemporaryDirectory() as home:
        store = SemsearchVectorStore("samples", home=home)
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex(nodes, storage_context=context, embed_model=SemsearchEmbedding())
        retriever = index.as_retriever(similarity_top_k=3, vector_store_query_mode="hybrid", alpha=0.7, filters=filters)
        found = retriever.retrieve(question)
        for hit in found:
            print(f"  {hit.score:.2f}  {hit.node.metadata['title']}")
        store.close()
        return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
