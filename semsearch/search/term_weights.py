"""What words weigh in BM25, in every engine: the constants, and the weight of each word of a query.

All constants were chosen on cranfield, cacm, cisi, DL19 and train and dev queries of SciFact and NFCorpus, together.
"""

from __future__ import annotations

from collections.abc import Mapping

from semsearch.search.function_words import function_weight
from semsearch.search.languages import Languages
from semsearch.search.matches import empty_terms

K1 = 1.2  # how soon more of the same word stops counting; from 0.9 to 1.5 it matters less than 0.002 nDCG@10
B = 0.6  # how much longer passages are held back
TITLE = 2  # times that a word in the title counts
DOCUMENT_SHARE = 0.7  # the document's share in a passage's score; from 0.5 to 0.8 it makes no difference


def weighed(words: Mapping[str, int], languages: Languages = ()) -> dict[str, float]:
    """The weights of a query's words: how often each comes, and a part of it for those that carry nothing."""
    known = empty_terms(languages)
    empty = {word for word in words if word in known}  # an intersection of keys goes through the longer set
    weight = function_weight(len(words) - len(empty))
    return {word: weight * times if word in empty else times for word, times in words.items()}
