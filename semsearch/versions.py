"""The ways of making something of documents that a collection keeps the numbers of, whatever its engine.

Two machines with two versions of semsearch may use one collection. One that knows less than a number says refuses the
collection before it writes or answers; one that knows more brings the collection forward.
"""

from __future__ import annotations

ANALYSIS = 4  # of texts into words: `semsearch.search.analysis`; others would be found by another; and NFC of metadata
SAME_WORDS = frozenset({3})  # made the same words where a collection is told no languages, which it did not know of
ENCODING = (
    1  # of documents into vectors: the same model would give others, by splitting, composing or pooling otherwise
)
