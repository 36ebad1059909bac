"""Whether the texts that are put in are in languages that the collection's model does not know, said once for each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice

from semsearch.encoder.catalog import doubt_of_languages
from semsearch.engine import Engine, Settings
from semsearch.errors import SemsearchError
from semsearch.ingest.identification import (
    LOOKED_TEXTS,
    TELLING_LETTERS,
    beginning_of,
    foreign_of,
    letters_by_language,
)
from semsearch.types import IMAGE_FORMAT, Document

log = logging.getLogger("semsearch")

DOUBTED = "doubted_languages"  # the setting that keeps of which languages it was said
SEEN_TEXTS = 100  # of a batch, from all over it
ANY_OTHER = ("und",)  # a language that is not English


class ModelDoubt:
    """One run's: it sees batches of documents, and tells at the end."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """`settings`: the engine's, as they were read just now."""
        self._engine = engine
        name = (settings.get("encoder") or {}).get("name")
        self._model = name if name and doubt_of_languages(name, ANY_OTHER) else None
        self._letters: Counter[str] = Counter()

    def see(self, documents: Sequence[Document]) -> None:
        """Look at documents that are new or changed."""
        if self._model is not None:
            some = documents[:: len(documents) // SEEN_TEXTS + 1]
            self._letters += _letters(some)

    def tell(self) -> None:
        """Warn of languages that the model does not know, unless that was said of this collection before."""
        if self._model is None:
            return
        said = list(self._engine.settings.get(DOUBTED) or ())
        letters = self._letters
        if letters.total() < TELLING_LETTERS and letters.keys() - {"en", *said}:  # few texts, after others perhaps
            with suppress(SemsearchError), self._engine.view() as view:
                letters = letters + _letters(islice(view.documents(), LOOKED_TEXTS))
        new = [code for code in foreign_of(letters) if code not in said]
        if new and (doubt := doubt_of_languages(self._model, new)):
            log.warning("collection '%s': %s", self._engine.name, doubt)
            with suppress(SemsearchError):  # it is committed, and said again where this can't be kept
                self._engine.set(DOUBTED, [*said, *new])


def _letters(documents: Iterable[Document]) -> Counter[str]:
    return letters_by_language(beginning_of(one) for one in documents if IMAGE_FORMAT not in one.metadata)
