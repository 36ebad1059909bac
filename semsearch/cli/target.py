"""The collection that `index` and `import` write to: made, or opened and held against what is asked for now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import semsearch
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import say
from semsearch.controls import one_line
from semsearch.engine import JOINED
from semsearch.errors import (
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    DataError,
    DimensionMismatch,
    ModelMismatch,
    SemsearchError,
    StorageError,
    UsageError,
)

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.encoder.own import NamedEncoder
    from semsearch.encoder.sparse_encoder import SparseTextEncoder
    from semsearch.home import Home
    from semsearch.ingest.ingestion import IngestResult
    from semsearch.ingest.source import Source
    from semsearch.search.languages import Languages
    from semsearch.types import Document, Encoder

NONE = "none"  # instead of a model
MAKING_TRIES = 3  # to make or to open what other processes make and drop


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What a collection is made with, or was if it is there; None where nothing was said."""

    encoder: str | None = None
    revision: str | None = None
    passages: str | None = None  # "on" or "off"
    language: str | None = None  # several with commas between
    sparse: str | None = None  # a sparse model beside the other
    language_field: str | None = None  # of metadata, for the language of each text
    backend: str | None = None
    index_options: tuple[tuple[str, Any], ...] = ()
    recall: float | None = None
    k: int = 10
    batch_tokens: int | None = None
    compute: ComputeOptions

    @property
    def sparse_model(self) -> str | None:
        """The sparse model that is asked for; None for none."""
        return None if self.sparse == NONE else self.sparse

    @property
    def model(self) -> str | None:
        """The model of a new collection; None for none."""
        from semsearch.encoder import DEFAULT_MODEL

        return None if self.encoder == NONE else self.encoder or DEFAULT_MODEL

    def open_model(self, name: str | None = None) -> NamedEncoder:
        """The model, or another one, as the options say."""
        from semsearch import models
        from semsearch.encoder.remote import trust_named
        from semsearch.hardware import Compute

        if self.encoder is not None and name in (None, self.encoder):  # else it is the collection that says it
            trust_named(self.encoder)
        compute = Compute(self.compute.device, self.compute.dtype, self.batch_tokens)
        return models.encoder(name or str(self.model), compute, revision=self.revision)

    def open_sparse(self) -> SparseTextEncoder | None:
        """The sparse model, if one is asked for."""
        from semsearch import models
        from semsearch.hardware import Compute

        if self.sparse_model is None:
            return None
        return models.sparse_encoder(
            self.sparse_model, Compute(self.compute.device, self.compute.dtype, self.batch_tokens)
        )

    def create(self, name: str, home: Home, dim: int | None = None) -> Collection:
        """A new collection; one without a model holds vectors of `dim` components."""
        return semsearch.create(
            name,
            home=home,
            encoder=self.model,
            dim=dim if self.model is None else None,
            revision=self.revision,
            passages=self.passages != "off",
            language=self.language,
            language_field=self.language_field,
            sparse=self.sparse_model,
            index=self.backend or "auto",
            options=dict(self.index_options),
            recall=self.recall,
            k=self.k,
            device=self.compute.device,
            dtype=self.compute.dtype,
            batch_tokens=self.batch_tokens,
        )

    def open(self, name: str, home: Home) -> Collection:
        """The collection as it was made; what is asked for now must not contradict it."""
        compute = self.compute
        collection = semsearch.open(
            name, home=home, device=compute.device, dtype=compute.dtype, batch_tokens=self.batch_tokens
        )
        try:
            self._check(collection)
        except BaseException:
            collection.close()
            raise
        return collection

    def _check(self, collection: Collection) -> None:
        facts = collection.info()
        self._check_model(collection.name, facts["encoder"] or {})
        self._check_languages(collection)
        self._check_sparse(collection)
        wanted = facts["index"]["wanted"]
        made = {
            "passages": "on" if collection.settings["passages"] else "off",
            "index": wanted["backend"],
            "recall": wanted["recall"],
            **wanted["options"],
        }
        asked = {
            "passages": self.passages,
            "index": self.backend,
            "recall": self.recall,
            **dict(self.index_options),
        }
        for key, value in asked.items():
            if value is not None and value != made.get(key):
                change = "" if key == "passages" else f", change it with 'semsearch reindex {collection.name}'"
                raise UsageError(
                    f"'{collection.name}' was made with {key} {made.get(key)}, not {value}. Leave that option "
                    f"out{change}, or choose another collection with --name."
                )

    def _check_sparse(self, collection: Collection) -> None:
        from semsearch.engine import SPARSE

        has = (collection.settings.get(SPARSE) or {}).get("name")
        if self.sparse == NONE and has is None:
            return
        if self.sparse is not None and has not in (None, self.sparse):
            raise UsageError(
                f"the sparse vectors of '{collection.name}' are those of {has}, not of {self.sparse}. Leave --sparse "
                f"out, or change them: 'semsearch reencode {collection.name} --sparse {self.sparse}'."
            )

    def _check_languages(self, collection: Collection) -> None:
        from semsearch.search.languages import described, named

        if self.language is None or (wanted := named(self.language)) == collection.languages:
            return
        if collection.languages is None:  # there is too little of it to tell its language otherwise
            collection.change_language(wanted)
        else:
            has = described(collection.languages or ()) or "none of its own"
            raise UsageError(
                f"the words of '{collection.name}' are stemmed by its languages ({has}), not by {described(wanted)}. "
                f"Leave out --language, or change it with 'semsearch language {collection.name} {','.join(wanted)}'."
            )

    def _check_model(self, name: str, made: dict[str, Any]) -> None:
        if self.encoder and (self.encoder == NONE) is bool(made):
            has = f"was made with the model {made['name']}" if made else "has no model and is searched by vectors alone"
            raise ModelMismatch(f"'{name}' {has}: leave out --encoder, or choose another collection with --name.")
        other = self.encoder not in (None, NONE, made.get("name"))
        if other or (self.revision and self.revision != made.get("revision")):
            wanted = self.open_model(self.encoder or made["name"])
            if wanted.fingerprint != made.get("fingerprint"):  # another name of the same model is no contradiction
                raise ModelMismatch(
                    f"'{name}' was made with the model {made.get('name')}, not with {wanted.name}: their "
                    "vectors don't compare. Leave out --encoder, or choose another collection with --name."
                )


def check_lasting(home: Home) -> None:
    """Refuse a home of which nothing would be left.

    Raises:
        UsageError: Its collections end with the process.
    """
    if not home.lasting:
        raise UsageError(
            f"what is in {home.location} ends with this command: name a folder, or a URL (postgresql://…, http://…)."
        )


@contextmanager
def target(
    name: str,
    home: Home,
    options: CreateOptions,
    *,
    dim: int | None = None,
    before: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Collection, bool]]:
    """The collection, and whether it was made now; `before` is called before one is made.

    Where writing to it breaks off, a person is told what is committed.
    """
    check_lasting(home)
    identity: str | None = None  # of the collection that is made here
    try:
        opened, made = _made_or_joined(name, home, options, dim, before)
        identity = opened.settings.get("uuid") if made else None
        with opened:
            yield opened, made
    except KeyboardInterrupt:
        raise click.Abort(f"interrupted: {left(name, home, identity)}") from None
    except (DataError, StorageError, CollectionLocked) as error:
        error.add_note(left(name, home, identity))
        raise


def _made_or_joined(
    name: str, home: Home, options: CreateOptions, dim: int | None, before: Callable[[], None]
) -> tuple[Collection, bool]:
    """The collection, and whether it was made now: another process may make or drop it meanwhile.

    One that is there and empty may be another's, who drops it where nothing comes of it: it is told of us.
    """
    new, checked = name not in home.names(), False
    for tries_left in reversed(range(MAKING_TRIES)):
        if new:
            if not checked:
                before()
                checked = True
            with suppress(CollectionExists):
                return options.create(name, home, dim), True
        collection: Collection | None = None
        try:
            collection = options.open(name, home)
            if not len(collection) and not collection.settings.get(JOINED):
                with suppress(UsageError):  # an older server keeps settings for other keys
                    collection.engine.set(JOINED, True)
        except BaseException as error:
            if collection is not None:
                collection.close()
            if not isinstance(error, CollectionNotFound) or not tries_left:
                raise
            new = True
        else:
            return collection, False
    raise AssertionError("the last try returns or raises")


def tell_made(name: str, home: Home, made: bool) -> None:
    """What a new collection is called, and where it is: who gave no name may not know."""
    if made:
        say(f"made the collection '{name}' in {one_line(home.location)}")


def tell_languages(name: str, found: Languages | None) -> None:
    """Which languages were found in a new collection, but for English alone: the person may know better."""
    from semsearch.search.languages import described

    if found and found != ("en",):
        say(f"its words are found as those of {described(found)}; 'semsearch language {name} …' changes that.")


def left(name: str, home: Home, made: str | None) -> str:
    """What a broken off `index` leaves, for a person who wonders whether to begin again.

    A collection that it made (the one of the uuid `made`) and that is still empty goes, unless another process began
    to fill it: it would only insist on the settings it was made with.
    """
    count = 0
    with suppress(SemsearchError), semsearch.open(name, home=home) as collection:
        count = len(collection)
        if not count and made and made == collection.settings.get("uuid") and not home.drop_unused(collection.engine):
            count = len(collection)
    if not count:
        return "Nothing is committed yet; the same command begins again."
    documents = "1 document is" if count == 1 else f"{count:,} documents are"
    return f"{documents} committed in '{name}' and can be searched; the same command goes on from there."


def check_source(collection: Collection, source: Source, add: bool) -> None:
    """Refuse a source that the collection does not know, unless it is to be added."""
    known = collection.sources
    if add or not known or json.loads(source.to_json()) in known:
        return
    listed = ", ".join(_described(old) for old in known)
    raise UsageError(
        f"'{collection.name}' was made from {listed}, not from {_described(json.loads(source.to_json()))}. "
        "Choose another collection with --name, or take this source in as well with --add."
    )


def _described(source: dict[str, Any]) -> str:
    place = "standard input" if source.get("path") == "-" else str(source.get("path"))
    read = {key: value for key, value in source.items() if key not in ("path", "options")}
    read |= source.get("options") or {}
    return f"{place} ({', '.join(f'{key} {value}' for key, value in read.items())})"


def check_vectors(documents: Sequence[Document], vectors: Any, encoder: Encoder) -> None:
    """Hold vectors that were made elsewhere against the model that is said to have made them."""
    from semsearch.ingest.precomputed import TEXTS_CHECKED, check_precomputed

    if vectors.shape[1] != encoder.dim:
        raise DimensionMismatch(f"the vectors have {vectors.shape[1]} components, the model's {encoder.dim}.")
    worst = check_precomputed(documents, vectors, encoder)
    count = min(TEXTS_CHECKED, len(documents))
    say(f"encoded {count} of the texts again: the least alike vectors have a cosine of {worst:.4f}.")


def summary(changes: IngestResult, skipped: int | None = None) -> str:
    """The line that `index` and `import` end with; a reader may have `skipped` other than what was refused."""
    return (
        f"added {changes.added:,}, changed {changes.changed:,}, unchanged {changes.unchanged:,}, "
        f"skipped {changes.skipped if skipped is None else skipped:,}"
    )
