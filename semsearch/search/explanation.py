"""Why a passage was found: the ways, and the words that carried its score."""

from __future__ import annotations

from semsearch.chunking import Splitter, compose
from semsearch.encoder.attribution import Indivisible, attribute, in_float32
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.types import BalanceOfThree, Document, Encoder, Explanation, Hit, Metric, Part, Reranker, Span

WAYS = {
    "exact": "found by exact search",
    "index": "proposed by the index and scored exactly",
    "fresh": "newer than the index, found by exact search",
    "lexical": "found by its words",
    "sparse": "found by the words of a sparse model",
    "fulltext": "found by its words, scored by SQLite's full text (the index of words is not at hand)",
}


def way(hit: Hit) -> str:
    """A sentence on how a hit was found, with its rank at each stage and what each of two counts."""
    sentence = " and ".join(WAYS[one] for one in hit.found) or "given by its vector"
    if hit.ranks:
        sentence += f" ({', '.join(f'{place}. in {stage}' for stage, place in hit.ranks.items())})"
    if hit.balance is not None:
        share, by_meaning, by_words, asked = hit.balance[:4]
        if isinstance(hit.balance, BalanceOfThree):
            by_terms, of_terms = hit.balance.sparse, hit.balance.sparse_weight
            sentence += (
                f"; meaning counts {share:.0%}, words {1 - share - of_terms:.0%} and the sparse model {of_terms:.0%}, "
                f"whose best stand out by {by_meaning:.2f}, {by_words:.2f} and {by_terms:.2f}"
            )
        else:
            sentence += f"; meaning counts {share:.0%} and words {1 - share:.0%}, as " + (
                "was asked"
                if asked
                else f"the best by meaning stands out by {by_meaning:.2f} and the best by words by {by_words:.2f}"
            )
    if hit.rerank_weight is not None and hit.rerank_weight < 1:
        share = hit.rerank_weight
        sentence += f"; the reranker counts {share:.0%} and the stage before it {1 - share:.0%}"
    return sentence


def paired(reranker: Reranker, query: str, hit: Hit) -> list[tuple[str, Part]] | None:
    """Which token of a query met which of a hit, where a reranker compares tokens; None where it doesn't."""
    token_pairs = getattr(reranker, "token_pairs", None)
    if token_pairs is None:
        return None
    text = compose(hit.title, hit.text)
    head = len(text) - len(hit.text)
    found = []
    for asked, (start, end), similarity in token_pairs(query, text):
        found.append((query[slice(*asked)], part_of(hit, start, end, head, similarity)))
    return found


def part_of(hit: Hit, start: int, end: int, head: int, weight: float) -> Part:
    """What the characters from `start` to `end` of title and passage, of which `head` are the title's, weigh."""
    if start >= end:
        return Part("special", 0, 0, weight)
    if end <= head:
        return Part("title", start, end, weight)
    return Part("text", hit.start + max(start - head, 0), hit.start + end - head, weight)


class Explainer:
    """Explains hits with a float32 copy of the collection's model, opened when it is first needed."""

    def __init__(self, encoder: Encoder, splitter: Splitter) -> None:
        self._own = encoder
        self._splitter = splitter
        self._exact: TextEncoder | None = None

    def explain(self, query: str, hit: Hit) -> Explanation:
        """The explanation of a hit of `query`."""
        sentence = way(hit)
        if not isinstance(self._own, TextEncoder):
            kind = type(self._own).__name__
            return Explanation(sentence, why=f"the encoder is an object ({kind}) that doesn't show its tokens.")
        if self._own.metric == Metric.L2:
            return Explanation(sentence, why="a distance is not a sum over tokens.")
        if self._exact is None:
            self._exact = in_float32(self._own)
        passage = Document(hit.id, hit.text, hit.title)
        text = self._splitter.text_to_embed(passage, Span(0, len(hit.text)))
        vector = self._exact.encode_queries([query])[0]
        try:
            split = attribute(self._exact, vector, text)
        except Indivisible as error:
            return Explanation(sentence, why=str(error))
        head = len(text) - (hit.end - hit.start)  # the title and a blank
        spans = zip(split.spans, split.weights.tolist(), strict=True)
        parts = [part_of(hit, start, end, head, weight) for (start, end), weight in spans]
        stored = hit.scores.get("dense")
        return Explanation(sentence, split.score, None if stored is None else stored - split.score, parts)
