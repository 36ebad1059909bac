"""LlamaIndex's nodes as semsearch keeps them, and back: text, metadata, relationships and kind as they were."""

from __future__ import annotations

from typing import Any, Final

from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from semsearch.adaptors.unseen_text import STAND_IN, seen
from semsearch.types import Document, Hit
from semsearch.validation import check_document

NODE: Final = "_llamaindex"  # a list with a map in it, within which no filter looks
NODE_ID: Final = "_node_id"
OF_DOCUMENT: Final = "ref_doc_id"


def kept_node(node: BaseNode) -> Document:
    """What is stored for a node.

    Raises:
        DataError: Its metadata hold what JSON does not, for which LlamaIndex would write something else.
    """
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    kept = seen(text)
    check_document(Document(node.node_id, kept, metadata=node.metadata))
    metadata = node_to_metadata_dict(node, remove_text=kept == text != STAND_IN, flat_metadata=False)
    content, kind = metadata.pop("_node_content"), metadata["_node_type"]
    return Document(
        node.node_id, kept, metadata={**metadata, NODE_ID: node.node_id, NODE: [{"node": content, "kind": kind}]}
    )


def found_node(hit: Hit) -> BaseNode:
    """The node of a hit; of a document that something else put in, its passage."""
    if NODE in hit.metadata:
        return node_of(hit.document)
    return _plain_node(hit.id, hit.text, hit.title, hit.metadata)


def node_of(document: Document) -> BaseNode:
    """The node that is stored, or one of a document that something else put in."""
    if NODE not in document.metadata:
        return _plain_node(document.id, document.text, document.title, document.metadata)
    (kept,) = document.metadata[NODE]
    given = {"_node_content": kept["node"], "_node_type": kept["kind"]}
    return metadata_dict_to_node(given, None if document.text == STAND_IN else document.text)


def _plain_node(identity: str, text: str, title: str, metadata: Any) -> TextNode:
    return TextNode(id_=identity, text=text, metadata={**({"title": title} if title else {}), **metadata})
