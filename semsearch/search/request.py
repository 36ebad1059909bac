"""What can be asked of a search, checked once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypedDict

from semsearch.arguments import as_list, check_choice, check_number, check_truth
from semsearch.errors import UsageError
from semsearch.search.query_syntax import Query, parse
from semsearch.search.where_mapping import Where, settled
from semsearch.types import Reranker
from semsearch.validation import is_empty
from semsearch.vectors import check_k

MODES = ("dense", "lexical", "sparse", "hybrid")
MAX_QUERY = 1_000_000  # characters; a model reads some thousands of them
MAX_QUERY_WORDS = 10_000  # that are looked up
MAX_PHRASES = 100  # of a query, with its exclusions
SYNONYMS = {  # what other libraries call an option of a search
    **dict.fromkeys(("limit", "n", "n_results", "num_results", "size", "top", "top_k", "topk"), "k"),
    **dict.fromkeys(("filter", "filters", "query_filter"), "where"),
    **dict.fromkeys(("diverse", "diversity", "lambda_mult", "mmr"), "mmr_lambda"),
    **dict.fromkeys(("alpha", "semantic_ratio", "weight"), "dense_weight"),
    **dict.fromkeys(("threshold", "score_threshold", "min_similarity", "similarity_cutoff"), "min_score"),
    **dict.fromkeys(("reranker", "rerank_model"), "rerank"),
    **dict.fromkeys(("query_type", "search_type"), "mode"),
}
_MARKED = re.compile(r'["“”„«»＂]|(?<!\S)[－-]\S')  # without any of them a query is plain


def meant(name: str, known: Iterable[str]) -> str | None:
    """Which of the `known` options a wrong name stands for: what others call it, else the one spelt most like it."""
    spelt = {one.replace("-", "_"): one for one in known}
    name = name.replace("-", "_")
    near = [SYNONYMS[name]] if SYNONYMS.get(name) in spelt else get_close_matches(name, spelt, 1)
    return spelt[near[0]] if near else None


def check_texts(queries: Iterable[str], method: str) -> list[str]:
    """All queries in a list; what is no list of texts that say something is refused."""
    texts = as_list(queries, f"{method} takes a list of queries")
    for query in texts:
        if not isinstance(query, str) or not query.strip():
            raise UsageError(f"a query must be a text that is not empty, not {query!r:.60}.")
        if len(query) > MAX_QUERY:
            raise UsageError(f"a query has {len(query):,} characters; at most {MAX_QUERY:,} are read: {query[:40]!r}…")
    return texts


def _check_words(query: str) -> None:
    """Refuse what would be looked up for minutes."""
    if len(query) > MAX_QUERY_WORDS:
        from semsearch.search.analysis import asked  # takes a while to import, and few queries are that long

        count = len(asked(query))
        if count > MAX_QUERY_WORDS:
            raise UsageError(
                f"a query has {count:,} words; at most {MAX_QUERY_WORDS:,} are looked up: {query[:40]!r}…. The mode "
                "'dense' takes longer ones."
            )
    if len(query) > 2 * MAX_PHRASES:
        parsed = parse(query)
        count = len(parsed.phrases) + len(parsed.excluded)
        if count > MAX_PHRASES:
            raise UsageError(
                f'a query has {count:,} phrases ("…") and exclusions (-…); at most {MAX_PHRASES} are looked up: '
                f"{query[:40]!r}…"
            )


class SearchKeywords(TypedDict, total=False):
    """The keyword arguments of `Collection.search`; what they mean is said at `Request`."""

    where: Where | None
    exact: bool
    group_by: str | None
    mode: str
    dense_weight: float | None
    rerank: bool | str | Reranker | None
    rerank_weight: float | None
    candidates: int
    mmr_lambda: float | None
    context: int
    explain: bool
    min_score: float | None
    min_percentile: float | None
    min_probability: float | None


@dataclass(frozen=True, slots=True)
class ParsedQueries:
    """The texts of a search, taken apart once.

    Attributes:
        texts: As they were asked; None where vectors are all there is.
        parsed: Each taken apart; None where the mode does not heed what they rule out.
        read: As a model should read them: what they exclude, where it is heeded, is not asked for.
    """

    texts: Sequence[str] | None
    parsed: Sequence[Query | None]
    read: Sequence[str]

    @classmethod
    def of(cls, texts: Sequence[str] | None, mode: str) -> ParsedQueries:
        """Those of a search in a mode."""
        if texts is None:
            return cls(None, (), ())
        if mode in ("dense", "sparse"):
            return cls(texts, [None] * len(texts), texts)
        parsed = [parse(text) for text in texts]
        return cls(texts, parsed, [own.text or text for text, own in zip(texts, parsed, strict=True)])


@dataclass(frozen=True, slots=True)
class Request:
    """How to search.

    Attributes:
        k: Answers to give.
        where: A metadata filter, as a mapping or as a text like `year >= 1990`; see `semsearch.search.where`.
        exact: Do without the index.
        group_by: "document": the best passage of each document. None: passages.
        mode: "dense" (by meaning), "lexical" (by words: BM25), "sparse" (by the words that a sparse model finds in
            texts and question, where the collection has one) or "hybrid" (all that there are, fused).
        dense_weight: The share of meaning in "hybrid", from 0 to 1; None: as far as the best by meaning and by words
            stand out.
        rerank: Let a cross-encoder order the best `candidates`: its name, an object with `score`, or True for the
            default one.
        rerank_weight: The share of the reranker in that order, from 0 to 1; the rest is the first stage's, its scores
            brought onto the reranker's scale over the candidates. None: what the reranker was trained to count, else 1.
        candidates: How many of the best are reranked, or thinned by `mmr_lambda`.
        mmr_lambda: The lambda of maximal marginal relevance, by which near-duplicates make room: with 1 none does,
            with 0 all of them come last. What duplicates no better hit keeps its place. None leaves all as they are.
        context: Passages of the same document to show before and after each.
        explain: Say of each answer how it was found and which words carried it.
        min_score: Leave out what scores less.
        min_percentile: Leave out what scores less than this share of random pairs of query and passage; 0.999, say.
        min_probability: Leave out what is less probably relevant; needs a calibration on judgements.
    """

    k: int = 10
    where: Where | None = None
    exact: bool = False
    group_by: str | None = "document"
    mode: str = "dense"
    dense_weight: float | None = None
    rerank: bool | str | Reranker | None = None
    rerank_weight: float | None = None
    candidates: int = 100
    mmr_lambda: float | None = None
    context: int = 0
    explain: bool = False
    min_score: float | None = None
    min_percentile: float | None = None
    min_probability: float | None = None

    @classmethod
    def of(cls, k: int, options: Mapping[str, Any]) -> Request:
        """The request of a `k` and keyword arguments, or a `UsageError` that says what is wrong with them."""
        for name in options:
            if name not in OPTIONS:
                near = meant(name, {"k", *OPTIONS})
                did_you_mean = f" Did you mean '{near}'?" if near else ""
                raise UsageError(
                    f"a search has no option '{name}'.{did_you_mean} There are {', '.join(sorted(OPTIONS))}."
                )
        if "where" in options:  # which a search may look at more than once
            options = {**options, "where": settled(options["where"])}
        request = cls(check_k(k), **options)
        request._check()
        return request

    def _check(self) -> None:
        if self.group_by is not None and not (isinstance(self.group_by, str) and self.group_by == "document"):
            raise UsageError(f"group_by must be 'document' or None, not {self.group_by!r:.60}.")
        check_choice(self.mode, "mode", MODES)
        for name in ("exact", "explain"):
            check_truth(getattr(self, name), name)
        if not isinstance(self.candidates, int) or self.candidates < 1:
            raise UsageError(f"candidates must be a whole number from 1 up, not {self.candidates!r}.")
        if not isinstance(self.context, int) or self.context < 0:
            raise UsageError(f"context must be a whole number from 0 up, not {self.context!r}.")
        if self.min_score is not None:
            check_number(self.min_score, "min_score")
        for name in ("dense_weight", "rerank_weight", "mmr_lambda", "min_percentile", "min_probability"):
            share = getattr(self, name)
            if share is not None and not 0 <= check_number(share, name) <= 1:
                raise UsageError(f"{name} must be between 0 and 1, not {share!r}.")

        if self.dense_weight is not None and self.mode != "hybrid":
            raise UsageError(
                f"dense_weight weighs meaning against words: it needs the mode 'hybrid', not {self.mode!r}."
            )
        if self.rerank_weight is not None and not self.reranks:
            raise UsageError("rerank_weight weighs a reranker against the first stage: name a reranker (rerank) too.")

    @property
    def reranks(self) -> bool:
        """Whether a cross-encoder has the last word."""
        return self.rerank is not None and self.rerank is not False

    @property
    def minima(self) -> dict[str, float]:
        """The least that a hit's score, percentile or probability may be, of those that were asked for."""
        wanted = {"score": self.min_score, "percentile": self.min_percentile, "probability": self.min_probability}
        return {name: least for name, least in wanted.items() if least is not None}

    @property
    def depth(self) -> int:
        """Answers that the first stage must give."""
        return max(self.k, self.candidates) if self.reranks or self.mmr_lambda is not None else self.k

    def check_queries(self, queries: Iterable[str] | None, *, given: bool) -> list[str] | None:
        """The queries in a list: texts that say something; what reads their words must get them, vectors or not."""
        if queries is None:
            if not given:
                raise UsageError("give the text of a query, or its vector.")
            for what, wanted in {
                "rerank": self.reranks,
                "explain": self.explain,
                f"mode '{self.mode}'": self.mode != "dense",
            }.items():
                if wanted:
                    raise UsageError(
                        f"{what} reads the words of a query, and a vector or a picture has none: give a text, too."
                    )
            return None
        if isinstance(queries, str):
            raise UsageError("search_many takes a list of queries; for a single one there is search.")
        texts = check_texts(queries, "search_many")
        if self.mode not in ("dense", "sparse"):
            for query in texts:
                _check_words(query)
        return texts

    def unheeded(self, query: str, parsed: Query | None) -> Iterator[str]:
        """What to say of a query that says next to nothing, or more than this mode can heed."""
        if is_empty(query):
            yield "nothing in the query can be seen: write a few words."
        elif len(query.strip()) == 1:
            yield "the query is a single character, which says little: write a few words."
        if parsed is not None:
            yield from parsed.unheeded
        elif _MARKED.search(query) and not parse(query).plain:
            yield (
                f"phrases and exclusions rule nothing out in the mode '{self.mode}', which compares meanings: choose "
                "'hybrid' or 'lexical' for them."
            )


OPTIONS = frozenset(field.name for field in fields(Request)) - {"k"}
