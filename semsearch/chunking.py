"""Documents to passages that a model sees whole: split evenly at sentence ends, the title in front of each.

A document of up to `SIZE` tokens is one passage. A longer one is cut at sentence ends into the fewest passages that
fit, and among those ways the evenest is taken (the least sum of squared lengths): a last passage of a few words would
be found by everything and say nothing. A sentence that is too long by itself is cut between words, a word between
characters. Lengths are tokens of the model's own tokenizer, and every passage is counted once more as it will be
encoded, title included, before it is given out.

Why 192 tokens, where the window is larger: passages of about one size compete fairly. all-MiniLM-L6-v2, window 254,
nDCG@10 of all training queries over the whole of SciFact / NFCorpus: one truncated vector a document 0.817 / 0.321,
passages of up to 254 tokens 0.854 / not tried, of 192 0.859 / 0.334. Over the documents that 250 of the queries find,
128 tokens were no better than 192 (0.846 and 0.852 on SciFact, 0.299 and 0.300 on NFCorpus) for 1.6 times the vectors,
and 192 only for documents beyond the window fell behind on SciFact (0.838).

Why not a library: semantic-text-splitter 0.33 counts with the same tokenizers, but fills passages greedily, fixes their
size at construction (a title takes from it), and slows down faster than the text grows where there are no spaces
(20 s for 200,000 characters, 39 s for 250,000). This is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

from semsearch.errors import UsageError
from semsearch.types import Document, Encoder, Span, Windowed
from semsearch.validation import is_empty

SIZE = 192  # tokens of a passage, or the model's window where that is less; see above
TEMPLATE = "{title} {text}"  # what is encoded; part of a collection's identity
SPLITTING_VERSION = 1  # of the way of splitting; another one gives other passages
MIN_SIZE = 16  # tokens; below it, a title and a passage are no longer text
_LONGEST = 2_000  # characters of a sentence; what goes on longer is a table or worse, and cut between words
_CHARACTERS_AT_ONCE = 1_000_000  # characters that are counted at once; bounds memory

# Where a sentence may end; the match takes the white space behind along. Each alternative begins with one character
# that is not repeated, so that no text takes more than linear time.
_END = re.compile(
    r"""[.!?…]["'”’»)\]]*\s+ | [。！？｡।؟۔]["'”’」』）)\]]*\s* | \n\s*""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|vs|al|e\.g|i\.e|cf|Fig|Figs|No|Eq|approx|ca))\.\s+$")


class Splitter(Protocol):
    """A way to split. `identity` names all that decides the spans; a collection is made with one and keeps it."""

    @property
    def identity(self) -> str:
        """The way, its version and its sizes."""
        ...

    def split_many(self, documents: Sequence[Document]) -> Sequence[Sequence[Span]]:
        """The passages of each document: at least one, in order, not empty, `document.text[start:end]`."""
        ...

    def text_to_embed(self, document: Document, span: Span) -> str:
        """What is encoded for a passage: the title, a space, the passage."""
        ...

    def unseen(self, documents: Sequence[Document]) -> list[int]:
        """Tokens of each document that no vector sees."""
        ...


def splitter_for(encoder: Encoder, passages: bool = True) -> Splitter:
    """The splitting that suits an encoder: to its window, or one passage a document where it doesn't tell its window.

    Args:
        encoder: where it is `Windowed`, its tokenizer counts.
        passages: False gives one passage, and so one truncated vector, a document.
    """
    if not isinstance(encoder, Windowed):
        return WholeDocument()
    if not passages or encoder.window < MIN_SIZE:
        return WholeDocument(encoder.tokenizer, encoder.window)
    return EvenSplitter(encoder.tokenizer, encoder.window)


def whole(text: str) -> Sequence[Span]:
    """A text as its one passage."""
    return _whole(len(text))


@lru_cache(maxsize=1 << 12)
def _whole(characters: int) -> tuple[Span]:
    return (Span(0, characters),)  # kept: of a corpus many texts have one length


class WholeDocument:
    """One passage a document; what is beyond the window has no vector, and is counted."""

    def __init__(self, tokenizer: Any = None, window: int | None = None) -> None:
        self._count = _Counter(tokenizer) if tokenizer is not None else None
        self._window = window

    @property
    def identity(self) -> str:
        """'whole', and the template."""
        return f"whole, {TEMPLATE!r}"

    def split_many(self, documents: Sequence[Document]) -> list[Sequence[Span]]:
        """One span over each document's text."""
        return [whole(document.text) for document in documents]

    def text_to_embed(self, document: Document, span: Span) -> str:
        """The title, a space, the text."""
        return compose(document.title, document.text[span.start : span.end])

    def unseen(self, documents: Sequence[Document]) -> list[int]:
        """Tokens of each document beyond the window, as far as the encoder tells how it counts."""
        if self._count is None or self._window is None:
            return [0] * len(documents)
        lengths = self._count.long([compose(document.title, document.text) for document in documents])
        return [max(0, length - self._window) for length in lengths]


class EvenSplitter:
    """Even passages of at most `size` tokens that end where sentences end.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, without truncation or padding.
        window: tokens that the model sees, special ones and prompt taken off.
        size: tokens of a passage, its title included, at most the window; by default `SIZE`, or the window if less.

    >>> splitter.split(Document("1", "A first sentence. A second one."))  # doctest: +SKIP
    [Span(start=0, end=31)]
    """

    def __init__(self, tokenizer: Any, window: int, size: int | None = None) -> None:
        self.size = min(window, SIZE) if size is None else size
        if not MIN_SIZE <= self.size <= window:
            raise UsageError(
                f"passages of {self.size} tokens can't be made: at least {MIN_SIZE} are needed, and the model sees "
                f"{window}."
            )
        self._tokenizer = tokenizer
        self._count = _Counter(tokenizer)
        self._head = lru_cache(4096)(self._cut_title)  # the passages of a document share it

    @property
    def identity(self) -> str:
        """The way, its version, the size and the template."""
        return f"even {SPLITTING_VERSION}, {self.size} tokens, {TEMPLATE!r}"

    def split(self, document: Document) -> list[Span]:
        """The passages of one document."""
        return self.split_many([document])[0]

    def split_many(self, documents: Sequence[Document]) -> list[list[Span]]:
        """The passages of each document; many at once keep all cores busy."""
        whole = [Span(0, len(document.text)) for document in documents]
        near = [i for i, document in enumerate(documents) if len(document.text) <= 16 * self.size]
        lengths = self._count([self.text_to_embed(documents[i], whole[i]) for i in near])
        fits = {i for i, length in zip(near, lengths, strict=True) if length <= self.size}
        found = [[span] for span in whole]
        long = [i for i in range(len(documents)) if i not in fits]
        for i, spans in zip(long, self._split_long([documents[i] for i in long]), strict=True):
            found[i] = spans
        return found

    def text_to_embed(self, document: Document, span: Span) -> str:
        """The title, a space, the passage; a title that would fill more than half of it is cut."""
        return compose(self._head(document.title), document.text[span.start : span.end])

    def unseen(self, documents: Sequence[Document]) -> list[int]:
        """Nothing of a text is lost, so 0 each."""
        return [0] * len(documents)

    def _cut_title(self, title: str) -> str:
        half = self.size // 2
        if not title:
            return ""
        offsets = self._tokenizer.encode(title[: 64 * half], add_special_tokens=False).offsets
        return title if len(offsets) <= half else title[: offsets[half - 1][1]].rstrip()

    def _split_long(self, documents: Sequence[Document]) -> list[list[Span]]:
        rooms = [self.size - length for length in self._count([self._head(document.title) for document in documents])]
        atoms = self._atoms(documents, rooms)
        found: list[list[Span]] = [[] for _ in documents]
        todo = list(range(len(documents)))
        while todo:
            for i in todo:
                found[i] = [_strip(documents[i].text, span) for span in _evenest(atoms[i], rooms[i])]
            places = [(i, span) for i in todo for span in found[i]]
            lengths = self._count([self.text_to_embed(documents[i], span) for i, span in places])
            excess: dict[int, int] = {}
            for (i, _), length in zip(places, lengths, strict=True):
                if length > self.size:  # a tokenizer whose counts of the parts don't add up to that of the whole
                    excess[i] = max(excess.get(i, 0), length - self.size)
            todo = [i for i in excess if rooms[i] > 1]
            for i in todo:
                rooms[i] = max(1, rooms[i] - excess[i])
            for i, cut in zip(
                todo,
                self._fit([documents[i] for i in todo], [atoms[i] for i in todo], [rooms[i] for i in todo]),
                strict=True,
            ):
                atoms[i] = cut
        return [
            [span for span in spans if not is_empty(d.text[span.start : span.end])] or [Span(0, len(d.text))]
            for d, spans in zip(documents, found, strict=True)
        ]

    def _atoms(self, documents: Sequence[Document], rooms: Sequence[int]) -> list[list[_Atom]]:
        """The sentences of each document, or smaller parts of those that are longer than the room."""
        spans = [list(sentences(document.text)) for document in documents]
        counts = iter(self._count([d.text[a:b] for d, parts in zip(documents, spans, strict=True) for a, b in parts]))
        atoms = [[_Atom(span, next(counts)) for span in parts] for parts in spans]
        return self._fit(documents, atoms, rooms)

    def _fit(
        self, documents: Sequence[Document], atoms: Sequence[list[_Atom]], rooms: Sequence[int]
    ) -> list[list[_Atom]]:
        """Cut the atoms that are longer than the room until none is, or none can be cut."""
        atoms = list(atoms)
        while True:
            cuts: list[tuple[int, int, list[Span]]] = []
            for i, (document, parts, room) in enumerate(zip(documents, atoms, rooms, strict=True)):
                for place, atom in enumerate(parts):
                    if atom.tokens > room and atom.span.end - atom.span.start > 1:
                        cuts.append((i, place, _cut_evenly(document.text, atom.span, -(-atom.tokens // room))))
            if not cuts:
                return atoms
            counts = iter(self._count([documents[i].text[a:b] for i, _, spans in cuts for a, b in spans]))
            pieces = {(i, place): [_Atom(span, next(counts)) for span in spans] for i, place, spans in cuts}
            for i in {i for i, _, _ in cuts}:
                atoms[i] = [piece for place, atom in enumerate(atoms[i]) for piece in pieces.get((i, place), [atom])]


class _Atom(NamedTuple):
    """A part of a text that is not cut any more, and its length."""

    span: Span
    tokens: int


class _Counter:
    """Counts tokens of many texts, in portions that bound memory."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for portion in _portions(texts):
            encoded = self._tokenizer.encode_batch_fast(portion, add_special_tokens=False)
            counts.extend(len(encoding) for encoding in encoded)
        return counts

    def long(self, texts: Sequence[str]) -> list[int]:
        """The same for texts of any length, which are counted in parts."""
        parts = [
            [text[a:b] for a, b in _cut_evenly(text, Span(0, len(text)), len(text) // 100_000 + 1)] for text in texts
        ]
        counts = iter(self([part for of_one in parts for part in of_one]))
        return [sum(next(counts) for _ in of_one) for of_one in parts]


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    size = 0
    for text in texts:
        portion.append(text)
        size += len(text)
        if size >= _CHARACTERS_AT_ONCE or len(portion) >= 10_000:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def compose(title: str, text: str) -> str:
    """What a model reads of a passage: the title, a space, the passage; or the passage alone."""
    return TEMPLATE.format(title=title, text=text) if title else text


def _strip(text: str, span: Span) -> Span:
    """The span without the white space at its ends."""
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def sentences(text: str) -> Iterator[Span]:
    """Spans that cover the text, each up to where a sentence ends or (without one for long) between two words.

    A full stop, question or exclamation mark or line end before a small letter ends no sentence, nor does an
    abbreviation's full stop.
    """
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        if end < len(text) and text[end].islower() and match[0].count("\n") < 2:
            continue
        if (
            match[0][0] == "."
            and "\n" not in match[0]
            and _ABBREVIATION.search(text, max(start, match.start() - 8), end)
        ):
            continue
        yield from _cut_evenly(text, Span(start, end), -(-(end - start) // _LONGEST))
        start = end
    if start < len(text):
        yield from _cut_evenly(text, Span(start, len(text)), -(-(len(text) - start) // _LONGEST))


def _cut_evenly(text: str, span: Span, parts: int) -> list[Span]:
    """The span in about `parts` parts of even length, cut between words where there are any near."""
    start, end = span
    step = (end - start) / max(1, parts)
    reach = int(step / 2)
    cuts = [start]
    for part in range(1, parts):
        ideal = start + round(part * step)
        lowest = max(cuts[-1] + 1, ideal - reach)
        before = next((place for place in range(ideal, lowest - 1, -1) if text[place - 1].isspace()), None)
        place = before if before is not None else ideal
        if cuts[-1] < place < end:
            cuts.append(place)
    return [Span(a, b) for a, b in pairwise([*cuts, end])]


def _evenest(atoms: Sequence[_Atom], room: int) -> list[Span]:
    """The fewest spans of at most `room` tokens, and of those ways the one of the least sum of squares.

    Dynamic programming from left to right: `best[j]` is the best way to cover the first `j` atoms. Neighbours of less
    than a sixteenth of the room are joined first, so that a step looks back at no more than some thirty.
    """
    atoms = _join_small(atoms, room // 16)
    before = [0, *accumulate(atom.tokens for atom in atoms)]  # tokens in front of each boundary
    best: list[tuple[int, int]] = [(0, 0)]
    came: list[int] = [0]
    for j in range(1, len(atoms) + 1):
        choices = []
        for i in range(j - 1, -1, -1):
            length = before[j] - before[i]
            if length > room and i < j - 1:  # an atom alone is taken, whatever its length
                break
            count, cost = best[i]
            choices.append((count + 1, cost + length * length, i))
        count, cost, i = min(choices)
        best.append((count, cost))
        came.append(i)
    spans = []
    j = len(atoms)
    while j > 0:
        i = came[j]
        spans.append(Span(atoms[i].span.start, atoms[j - 1].span.end))
        j = i
    return spans[::-1]


def _join_small(atoms: Sequence[_Atom], least: int) -> list[_Atom]:
    joined: list[_Atom] = []
    for atom in atoms:
        if joined and joined[-1].tokens + atom.tokens <= least:
            last = joined.pop()
            atom = _Atom(Span(last.span.start, atom.span.end), last.tokens + atom.tokens)
        joined.append(atom)
    return joined
