"""Texts in nearly the same words: MinHash finds what may be alike, and the shingles themselves decide.

Two texts are as alike as the Jaccard index of their shingles, runs of five characters of the folded text, in any
script: what they share of what either has (Broder 1997). Locality-sensitive hashing misses a pair at the threshold
about once in four times, and one that is clearly above it hardly ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from semsearch.compatible_forms import compatible
from semsearch.errors import MissingDependency

SHINGLE = 5  # characters
PERMUTATIONS = 128
HASH_SEED = 1
LEAST_JACCARD = 0.8  # the Jaccard index from which two texts are nearly the same words
READ = 256  # texts read together to decide


def folded(title: str, text: str) -> str:
    """Title and text without the differences that nobody means: capitals, widths, runs of white space."""
    return " ".join(compatible(f"{title}\n{text}").casefold().split())


def shingles(text: str) -> frozenset[str]:
    """Of a folded text; a shorter one is one itself."""
    return frozenset(text[at : at + SHINGLE] for at in range(max(len(text) - SHINGLE, 0) + 1))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """What two sets share of what either has, from 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class Wordings:
    """Texts by number, and which of them are nearly the same words.

    Raises:
        MissingDependency: datasketch is not installed.
    """

    def __init__(self, least: float = LEAST_JACCARD) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise MissingDependency(
                "near-identical wording is found by datasketch: pip install 'semsearch[duplicates]'; or leave it out "
                "with wording=False (--no-wording)."
            ) from error
        self._least = least
        self._index = MinHashLSH(threshold=least, num_perm=PERMUTATIONS)
        self._empty = MinHash(PERMUTATIONS, HASH_SEED)  # made once: its permutations take longer than a text

    def _of(self, text: str) -> Any:
        made = self._empty.copy()
        made.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles(text)])
        return made

    def add(self, number: int, text: str) -> list[int]:
        """Take in a folded text; the numbers of those before it that may be nearly the same words."""
        made = self._of(text)
        found = sorted(self._index.query(made))
        self._index.insert(number, made, check_duplication=False)
        return found

    def like(self, text: str) -> list[int]:
        """The numbers of those that may be nearly the same words as a folded text."""
        return sorted(self._index.query(self._of(text)))

    def decided(
        self, candidates: Sequence[tuple[int, int]], texts: Callable[[Iterable[int], bool], dict[int, str]]
    ) -> Iterator[tuple[int, int, float]]:
        """Those pairs of numbers whose Jaccard index reaches the least, with it.

        Args:
            candidates: Pairs of numbers.
            texts: Gives the folded texts of numbers; whether they are second ones.
        """
        for start in range(0, len(candidates), READ):
            part = candidates[start : start + READ]
            first = {number: shingles(text) for number, text in texts({a for a, _ in part}, False).items()}
            second = {number: shingles(text) for number, text in texts({b for _, b in part}, True).items()}
            for a, b in part:
                if a in first and b in second and (share := jaccard(first[a], second[b])) >= self._least:
                    yield a, b, float(np.float32(share))
