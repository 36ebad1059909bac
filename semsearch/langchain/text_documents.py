"""LangChain's documents as semsearch keeps them, and back: id, text and metadata as they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document as TextDocument

from semsearch.adaptors.unseen_text import STAND_IN, seen
from semsearch.errors import DataError
from semsearch.types import Document, Hit

OWN_FIELDS = "_langchain_"  # how the names of metadata fields begin that are the adaptor's own
PAGE_CONTENT = f"{OWN_FIELDS}page_content"  # of a text in whose place something else is stored


def stored_document(identity: str, text: str, metadata: Mapping[str, Any]) -> Document:
    """What is stored for a text.

    Raises:
        DataError: It is no text, or its metadata have a field of the adaptor's own.
    """
    kept = seen(text)
    if own := next((name for name in metadata if str(name).startswith(OWN_FIELDS)), None):
        raise DataError(
            f"document {identity!r:.100}: the metadata, {own!r:.60}, begins as the adaptor's own fields do."
        )
    return Document(identity, kept, metadata=dict(metadata) if kept == text else {**metadata, PAGE_CONTENT: text})


def text_document(document: Document) -> TextDocument:
    """What LangChain gets of a stored document; a title that something else gave it stands in the metadata."""
    metadata = {name: value for name, value in document.metadata.items() if not name.startswith(OWN_FIELDS)}
    if document.title:
        metadata.setdefault("title", document.title)
    text = document.metadata.get(PAGE_CONTENT, document.text) if document.text == STAND_IN else document.text
    return TextDocument(id=document.id, page_content=text, metadata=metadata)


def found_passage(hit: Hit) -> TextDocument:
    """The passage of a hit, with its place in the document as `start_index` and `end_index`."""
    whole = text_document(Document(hit.id, hit.text, hit.title, hit.metadata))
    whole.metadata = {**whole.metadata, "start_index": hit.start, "end_index": hit.end}
    return whole
