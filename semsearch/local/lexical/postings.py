"""An inverted index in arrays: for each word the passages that hold it and how often, and how long each passage is.

Its words are the terms of `semsearch.search.analysis`, here as in the collection's own full text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.arrays import read_array
from semsearch.errors import DataError
from semsearch.search.analysis import analysed_many
from semsearch.search.languages import Languages

TOKENIZED_PASSAGES = 1 << 14  # passages that are split together …
TOKENIZED_LETTERS = 1 << 24  # … unless they are longer than this, all in all
MERGED_PARTS = 16  # merged at a time: of so many at most the words are strings at once
LOOKED_PAIRS = 1 << 20  # looked through at a time
MAX_COUNT = np.iinfo(np.uint16).max  # a word that comes more often counts as often as that


LAYOUT: Mapping[str, tuple[Any, ...]] = {  # of the arrays: what they hold, and how much of it in a row
    "letters": (np.uint8,),
    "ends": (np.int64,),
    "starts": (np.int64,),
    "rows": (np.int32,),
    "titles": (np.uint16,),
    "texts": (np.uint16,),
    "lengths": (np.uint32, 2),
}


@dataclass(frozen=True, slots=True)
class Postings:
    """Which of `n` passages, numbered from 0, hold which of `w` words; `p` pairs of word and passage, words sorted."""

    letters: NDArray[np.uint8]  # the words, in UTF-8, one behind the other
    ends: NDArray[np.int64]  # (w + 1,) where each begins in `letters`, and the last one's end
    starts: NDArray[np.int64]  # (w + 1,) where the pairs of each begin, and the last one's end
    rows: NDArray[np.int32]  # (p,) passages, ascending for each word
    titles: NDArray[np.uint16]  # (p,) how often the word is in the passage's title …
    texts: NDArray[np.uint16]  # (p,) … and in its text
    lengths: NDArray[np.uint32]  # (n, 2) words in title and text

    def __len__(self) -> int:
        return len(self.lengths)

    def of(self, word: str) -> slice:
        """Where the pairs of `word` are; empty for a word that no passage holds."""
        wanted = word.encode()
        place = bisect_left(range(len(self.ends) - 1), wanted, key=self._word)
        if place == len(self.ends) - 1 or self._word(place) != wanted:
            return slice(0, 0)
        return slice(int(self.starts[place]), int(self.starts[place + 1]))

    def _word(self, place: int) -> bytes:
        return self.letters[self.ends[place] : self.ends[place + 1]].tobytes()

    def words(self) -> list[bytes]:
        """All words, sorted."""
        letters, ends = self.letters.tobytes(), self.ends.tolist()
        return [letters[start:end] for start, end in pairwise(ends)]

    @classmethod
    def made(cls, passages: Iterable[tuple[int, str, str]], count: int, languages: Languages = ()) -> Self:
        """From (number, title, text) of some of `count` passages, ascending; those that are left out hold no word."""
        return cls.merged(_tiers((batch[0][0], _split(batch, languages)) for batch in _batches(passages)), count)

    @classmethod
    def merged(cls, parts: Sequence[tuple[int, Postings]], count: int) -> Self:
        """One of several: (first, postings), the passages of which are numbered from `first` on; `count` in all."""
        vocabularies = [part.words() for _, part in parts]
        words = sorted(set().union(*vocabularies))
        number = {word: place for place, word in enumerate(words)}
        places = [np.fromiter((number[word] for word in own), np.int64, len(own)) for own in vocabularies]
        counts = [np.diff(part.starts) for _, part in parts]
        starts = np.zeros(len(words) + 1, dtype=np.int64)
        for place, own in zip(places, counts, strict=True):
            starts[1 + place] += own
        np.cumsum(starts, out=starts)
        size = int(starts[-1])
        rows, titles, texts = np.empty(size, np.int32), np.empty(size, np.uint16), np.empty(size, np.uint16)
        lengths = np.zeros((count, 2), dtype=np.uint32)
        filled = starts[:-1].copy()
        for (first, part), place, own in zip(parts, places, counts, strict=True):
            to = np.repeat(filled[place] - part.starts[:-1], own) + np.arange(len(part.rows))
            rows[to], titles[to], texts[to] = part.rows + first, part.titles, part.texts
            filled[place] += own
            lengths[first : first + len(part)] += part.lengths
        letters = np.frombuffer(b"".join(words), dtype=np.uint8)
        return cls(letters, _sums([len(word) for word in words]), starts, rows, titles, texts, lengths)

    def save(self, folder: Path) -> None:
        """Write each array as a file of its own."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what `save` wrote; DataError for arrays in which a word would lead to places that are not there.

        Whoever wrote the files may have been anybody: each is looked through, sooner than its digest is computed.
        """
        found = cls(**{field.name: read_array(folder / f"{field.name}.npy") for field in fields(cls)})
        if fault := found.fault():
            raise DataError(f"{folder} holds no postings: {fault}.")
        return found

    def fault(self) -> str:
        """What keeps the arrays from belonging together; "" if nothing does."""
        for name, (dtype, *shape) in LAYOUT.items():
            array: NDArray[Any] = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1 + len(shape) or array.shape[1:] != tuple(shape):
                return f"{name} is {array.dtype} of the shape {array.shape}"
        if not len(self.rows) == len(self.titles) == len(self.texts) or len(self.starts) != len(self.ends):
            return "its arrays are of different lengths"
        for sums, over in ((self.ends, self.letters), (self.starts, self.rows)):
            if not len(sums) or sums[0] != 0 or sums[-1] != len(over) or (np.diff(sums) < 0).any():
                return "a word has no place"
        for start in range(0, len(self.rows), LOOKED_PAIRS):
            some = self.rows[start : start + LOOKED_PAIRS]
            if some.min() < 0 or some.max() >= len(self):
                return "a word is said to be in a passage that is not there"
        return ""


def _tiers(parts: Iterable[tuple[int, Postings]]) -> list[tuple[int, Postings]]:
    """Parts that follow one another as few greater ones: merged as they come, and what was merged merged again."""
    tiers: list[list[tuple[int, Postings]]] = []  # each of parts about `MERGED_PARTS` times as long as those before it
    for part in parts:
        carried: tuple[int, Postings] | None = part
        for tier in tiers:
            if carried is None:
                break
            tier.append(carried)
            carried = None
            if len(tier) == MERGED_PARTS:
                (begin, _), (last, behind) = tier[0], tier[-1]
                count = last - begin + len(behind)
                carried = begin, Postings.merged([(first - begin, own) for first, own in tier], count)
                tier.clear()
        if carried is not None:
            tiers.append([carried])
    return [part for tier in reversed(tiers) for part in tier]


def _batches(passages: Iterable[tuple[int, str, str]]) -> Iterator[list[tuple[int, str, str]]]:
    """Some passages at a time, few where they are long."""
    batch, letters = [], 0
    for passage in passages:
        batch.append(passage)
        letters += len(passage[1]) + len(passage[2])
        if len(batch) >= TOKENIZED_PASSAGES or letters >= TOKENIZED_LETTERS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


def _split(passages: Sequence[tuple[int, str, str]], languages: Languages) -> Postings:
    """The postings of a batch, its passages numbered from that of the first."""
    first, last = passages[0][0], passages[-1][0]
    count = last - first + 1
    number: defaultdict[str, int] = defaultdict()
    number.default_factory = number.__len__
    met: list[NDArray[np.int64]] = []  # the word of each place, first of all titles, then of all texts
    holders: list[NDArray[np.int64]] = []  # the passage and column of each place
    sizes = np.zeros((count, 2), dtype=np.int64)
    own = np.fromiter((passage - first for passage, _, _ in passages), np.int64, len(passages))
    for column, contents in enumerate(list(zip(*passages, strict=True))[1:]):
        terms = analysed_many(contents, languages)
        words_met = " ".join(terms).split()
        met.append(np.fromiter(map(number.__getitem__, words_met), np.int64, len(words_met)))
        sizes[own, column] = [some.count(" ") + 1 if some else 0 for some in terms]
        holders.append(np.repeat(2 * own + column, sizes[own, column]))
    number.default_factory = None  # it holds the dictionary, which would be garbage until somebody looks for it
    words = sorted((word.encode(), place) for word, place in number.items())
    order = np.empty(len(words), dtype=np.int64)
    order[[place for _, place in words]] = np.arange(len(words))
    code = order[np.concatenate(met)] * (2 * count) + np.concatenate(holders)
    code.sort()  # by word, passage and column
    pair = code >> 1
    begins = np.flatnonzero(np.diff(pair, prepend=-1))
    in_text = np.add.reduceat(code & 1, begins) if len(begins) else begins
    in_title = np.diff(begins, append=len(code)) - in_text
    of, rows = np.divmod(pair[begins], count)
    return Postings(
        np.frombuffer(b"".join(word for word, _ in words), dtype=np.uint8),
        _sums([len(word) for word, _ in words]),
        _sums(np.bincount(of, minlength=len(words))),
        rows.astype(np.int32),
        np.minimum(in_title, MAX_COUNT).astype(np.uint16),
        np.minimum(in_text, MAX_COUNT).astype(np.uint16),
        sizes.astype(np.uint32),
    )


def _sums(sizes: ArrayLike) -> NDArray[np.int64]:
    """Where parts of these sizes begin that lie one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
