"""How many documents of an index hold each word, remembered as long as nothing in it changes."""

from __future__ import annotations

from collections.abc import Mapping

MOST_FREQUENCIES = 50_000  # that are remembered


class DocumentFrequencies:
    """The counts of one collection, of the state that was seen last. Threads may share them."""

    def __init__(self) -> None:
        self._latest: tuple[object, Mapping[str, int]] = (None, {})

    @property
    def latest(self) -> tuple[object, Mapping[str, int]]:
        """The state of the index that was seen last, and the documents in it by the code of a word that they hold."""
        return self._latest

    def learn(self, state: object, counts: Mapping[str, int]) -> None:
        """Remember more of a state; what was known of another is forgotten."""
        seen, known = self._latest
        more = seen == state and len(known) < MOST_FREQUENCIES
        self._latest = (state, {**known, **counts} if more else dict(counts))
