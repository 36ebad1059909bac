"""What people hold: a collection that takes documents and gives answers, wherever it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from semsearch import versions
from semsearch.arguments import as_id, as_ids, as_list, check_mapping, check_number, check_path, each_of, kind_of
from semsearch.engine import SPARSE, BackedUp, Indexed, Migrated
from semsearch.errors import DataError, DocumentNotFound, UsageError
from semsearch.ingest import MAX_VANISHED
from semsearch.search.fields import composed, listed_fields
from semsearch.search.languages import languages_of, named, to_be_found
from semsearch.types import Document, Hits
from semsearch.validation import check_text
from semsearch.vectors import one_row, stored_form

# What only writing, or a search, needs is imported by the methods that do it: opening takes a third of the time so.
if TYPE_CHECKING:
    from semsearch.applications.classification import Classifications
    from semsearch.applications.clusters import Clusters
    from semsearch.applications.document_map import DocumentMap
    from semsearch.applications.duplicates import Duplicates
    from semsearch.applications.pairs import DocumentPairs
    from semsearch.applications.topics import Topics
    from semsearch.bound_encoder import BoundEncoder, EncodedQueries
    from semsearch.engine import Compacted, Engine, EngineView, Problem
    from semsearch.ingest.estimate import Estimate
    from semsearch.ingest.ingestion import IngestResult, Progress
    from semsearch.ingest.scan import Preview, Scan
    from semsearch.ingest.source import Source
    from semsearch.ingest.sync import Synced
    from semsearch.parts.part_folder import PartFolder
    from semsearch.search.calibration import Calibration
    from semsearch.search.languages import Languages
    from semsearch.search.pipeline import Searcher, Timings
    from semsearch.search.recall import Certificate
    from semsearch.search.where_mapping import Where
    from semsearch.sparse_vectors import SparseEncoder
    from semsearch.types import Encoder, Keys, Metric, Reranker, Vectors
    from semsearch.upkeep import Upkeep

MAX_DESCRIPTION = 1_000  # characters
MAX_DESCRIBED_FOLDERS = 100
COUNTERWEIGHT = 0.5  # of counterexamples beside examples


class Collection:
    """Documents, searched by meaning. Make one with `semsearch.create`, open one with `semsearch.open`.

    Any number of threads may search one object; writing takes turns, among processes too. Every search sees one
    consistent state, up to date with the last commit.

    >>> with semsearch.open("notes") as notes:                       # doctest: +SKIP
    ...     len(notes), "1" in notes, [document.id for document in notes]
    (1, True, ['1'])
    """

    def __init__(self, engine: Engine, model: BoundEncoder) -> None:
        self.engine = engine
        self.name = engine.name
        self._model = model

    @cached_property
    def _searcher(self) -> Searcher:
        from semsearch.search.pipeline import Searcher

        return Searcher(self.engine, self._model)

    @cached_property
    def _upkeep(self) -> Upkeep:
        from semsearch.upkeep import Upkeep

        return Upkeep(self.engine, self._model, self._searcher.sparse_model)

    def __enter__(self) -> Self:
        self.engine.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<semsearch collection '{self.name}' in {self.location}>"

    def _repr_html_(self) -> str:
        """The collection as a notebook shows it."""
        from semsearch.rich_display import facts_table

        count, passages = self.engine.counts()
        model = self.settings["encoder"] or {}
        facts = {
            "about": self.description or None,
            "documents": f"{count:,}",
            "passages": f"{passages:,}",
            "model": model.get("name") or model.get("class") or "none: searched by vectors alone",
            "sources": ", ".join(str(source.get("path")) for source in self.sources) or None,
            "kept in": self.location,
        }
        return facts_table(f"collection '{self.name}'", facts)

    def close(self) -> None:
        """Let go of the files; whatever is asked of a closed collection is an error."""
        self.engine.close()

    # What it is

    @property
    def location(self) -> str:
        """Where it is kept: a folder, or a URL without its password."""
        return self.engine.location

    @property
    def path(self) -> Path:
        """The folder of a collection on this machine.

        Raises:
            UsageError: It is kept elsewhere.
        """
        folder = Path(self.location)
        if not folder.is_absolute():
            raise UsageError(f"collection '{self.name}' is no folder: it is kept in {self.location}.")
        return folder

    @property
    def metric(self) -> Metric:
        """How its vectors are compared."""
        return self._model.metric

    @property
    def encoder(self) -> Encoder:
        """The model, loaded when it is first needed."""
        self.engine.check_open()
        return self._model.get()

    @property
    def sparse_encoder(self) -> SparseEncoder:
        """The sparse model, loaded when it is first needed.

        Raises:
            UsageError: It has none.
        """
        return self._searcher.sparse_model.get(self.settings)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was fixed when it was made or chosen since, as JSON values."""
        return self.engine.settings

    @property
    def description(self) -> str:
        """What `describe` said of it; empty where nothing was."""
        return str(self.settings.get("description", ""))

    @property
    def described_folders(self) -> dict[str, str]:
        """What `describe` said of folders, by their absolute path."""
        return dict(self.settings.get("described_folders", {}))

    def describe(self, description: str, folder: str | os.PathLike[str] | None = None) -> None:
        """Say in a few words what it holds, for people and programs that choose among collections; "" takes it back.

        Args:
            description: The words.
            folder: Say it of the documents of this folder (or file) alone.

        Raises:
            DataError: It is no text, or a long one.
            UsageError: There is something said of many folders already.
        """
        check_text(description, "the description")
        if len(description) > MAX_DESCRIPTION:
            raise DataError(
                f"the description has {len(description):,} characters; at most {MAX_DESCRIPTION:,} are kept."
            )
        words = " ".join(description.split())
        if folder is None:
            self.engine.set("description", words)
            return
        path = os.path.abspath(check_path(folder, "the folder"))  # noqa: PTH100  (places of hits follow no links)
        folders = self.described_folders | {path: words}
        folders = {path: said for path, said in sorted(folders.items()) if said}
        if len(folders) > MAX_DESCRIBED_FOLDERS:
            raise UsageError(f"{len(folders) - 1:,} folders are described already: take one back with an empty text.")
        self.engine.set("described_folders", folders)

    @property
    def languages(self) -> Languages | None:
        """The languages that its words are stemmed by; where none is of their script, that script's usual one serves.

        None where they are to be found in its first texts, of which there are not enough.
        """
        settings = self.settings
        return None if to_be_found(settings) else languages_of(settings)

    def change_language(self, language: str | Iterable[str] | None = None, *, maintain: bool = True) -> Languages:
        """Find all words anew as those of a language, in one commit; no vector changes. What `languages` is now.

        Args:
            language: "de", say, or several: ["de", "fr"]; None finds out by the texts that are there.
            maintain: As in `add`.

        Raises:
            UsageError: There is no stemmer for one of them; says for which there is.
        """
        from semsearch.ingest.identification import stored_languages

        languages = stored_languages(self.engine) if language is None else named(language)
        self.engine.set_languages(languages)
        return self._upkeep.written(languages, maintain)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Where its documents came from, as they were remembered."""
        return self.engine.origins.sources()

    def info(self) -> dict[str, Any]:
        """What there is to know of the collection, as JSON values."""
        from semsearch.search.calibration import calibration_info

        count, passages = self.engine.counts()
        with self.engine.view() as view:
            settings, dim = view.settings, view.dim
        return {
            "name": self.name,
            "path": self.location,
            "engine": self.engine.capabilities.engine,
            "description": self.description,
            "documents": count,
            "passages": passages,
            "encoder": settings["encoder"],
            **({"sparse": settings[SPARSE]} if settings.get(SPARSE) else {}),
            "dim": dim,
            "metric": str(self.metric),
            "splitting": settings["splitting"],
            "languages": None if to_be_found(settings) else list(languages_of(settings)),
            "index": self.engine.index_info() if isinstance(self.engine, Indexed) else None,
            "sources": self.sources,
            "bytes": self.engine.bytes(),
            "calibration": calibration_info(settings),
            "created": settings["created"],
            "versions": self.engine.versions,
        }

    # What it holds

    def __len__(self) -> int:
        """Documents."""
        return self.engine.counts()[0]

    def __contains__(self, id: object) -> bool:  # noqa: A002  (what it is)
        """Whether there is a document of that id."""
        try:
            identity = as_id(id)
        except UsageError:
            return False
        return identity in self.engine.known([identity])

    def __iter__(self) -> Iterator[Document]:
        """All documents, in the order they were first added."""
        return self.documents()

    def count(self, where: Where | None = None) -> int:
        """Documents that a filter allows; all of them without one."""
        if where is None:
            return len(self)
        from semsearch.search.where_mapping import parse as parse_filter

        with self.engine.view() as view:
            return view.count(parse_filter(where, view.fields()))

    def fields(self) -> list[str]:
        """The names of the metadata fields that any document has, as filters call them; of many, some hundred."""
        with self.engine.view() as view:
            return list(view.fields().names())

    def has_field(self, name: str) -> bool:
        """Whether the metadata of any document has a field of that name, as filters call it."""
        _check_field_name(name)
        with self.engine.view() as view:
            return bool(view.fields().types(composed(name), False))

    def field_types(self, name: str) -> frozenset[str]:
        """The types that a metadata field has: "number", "text", "bool", "null", "list", "object", "date".

        Raises:
            UsageError: No document has such a field; says which there are.
        """
        with self.engine.view() as view:
            return self._types_of(view, name)

    def values(self, name: str, *, begins: str = "", most: int = 50) -> list[str | float | bool]:
        """Values that a metadata field has, and the elements of its lists, sorted by type.

        Args:
            name: Of the field.
            begins: How they begin, written as text.
            most: Of each type.

        Raises:
            UsageError: No document has such a field; says which there are.
        """
        with self.engine.view() as view:
            self._types_of(view, name)
            return list(view.fields().values(composed(name), begins, most))

    def _types_of(self, view: EngineView, name: str) -> frozenset[str]:
        _check_field_name(name)
        fields = view.fields()
        types = frozenset[str](fields.types(composed(name), False))
        if not types:
            raise UsageError(f"'{self.name}' has no field '{name:.100}'; {listed_fields(name, fields.names())}")
        return types

    def count_passages(self) -> int:
        """Passages: the spans of documents that were encoded."""
        return self.engine.counts()[1]

    def ids(self, where: Where | None = None) -> Sequence[str]:
        """The ids of all documents, or of those that a filter allows, in the order they were first added."""
        from semsearch.search.where_mapping import parse as parse_filter

        with self.engine.view() as view:
            return view.ids(None if where is None else parse_filter(where, view.fields()))

    def get(self, ids: Iterable[str]) -> list[Document | None]:
        """The documents of `ids`, in that order; None for an id that is not there."""
        ids = as_ids(ids, "get takes a list of ids")
        with self.engine.view() as view:
            found = view.get(ids)
        return [found.get(identity) for identity in ids]

    def documents(self) -> Iterator[Document]:
        """All documents, in the order they were first added, streamed from one state of the collection."""
        with self.engine.view() as view:
            yield from view.documents()

    def vectors(self, ids: Iterable[str]) -> list[Vectors | None]:
        """The stored vectors of documents, in the order of `ids`: `(passages, dim)` each; None for an id not there."""
        ids = as_ids(ids, "vectors takes a list of ids")
        with self.engine.view() as view:
            keys = view.keys_of(ids)
            return [
                np.array(view.vectors(np.asarray(keys[identity], dtype=np.int64))) if keys.get(identity) else None
                for identity in ids
            ]

    def arrays(self) -> tuple[Keys, Vectors]:
        """The keys `(n,)` and vectors `(n, dim)` of all passages, mapped where the engine can."""
        with self.engine.view() as view:
            return view.arrays()

    # Writing

    def estimate(
        self,
        documents: Iterable[object],
        *,
        text: str | None = None,
        title: str | None = None,
        id: str | None = None,  # noqa: A002
    ) -> Estimate:
        """What it would cost to `add` documents: all are split, a sample is encoded, nothing is written."""
        from semsearch.ingest import objects
        from semsearch.ingest.estimate import estimate

        settings = self.settings
        return estimate(
            objects.documents(
                documents, objects.ObjectReader(text, title, id), "estimate takes a list of semsearch.Document"
            ),
            self.encoder,
            passages=bool(settings["passages"]),
            engine=self.engine,
            index=settings["index"]["backend"],
            options=settings["index"]["options"],
        )

    def add(
        self,
        documents: Iterable[object],
        vectors: ArrayLike | None = None,
        *,
        text: str | None = None,
        title: str | None = None,
        id: str | None = None,  # noqa: A002  (what it is)
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | bool | None = None,
        maintain: bool = True,
    ) -> IngestResult:
        """Put documents in: new ids are added, known ids replaced; a text that is unchanged is not encoded again.

        Documents are taken as they come and committed in batches: what was committed stays, whatever happens later,
        and adding the same documents again goes on where it stopped. Of an id that comes twice, the last wins.

        Args:
            documents: Any number of them, from a list or a generator: `Document` objects, mappings with a `text`, or
                texts; or a frame of pandas, polars or pyarrow, or a dataset of Hugging Face's. Of what has no id it is
                a hash of title and text.
            vectors: `(len(documents), dim)`, one for each whole document, instead of encoding; an array, or a frame or
                a column of one.
            text: The field of mappings, or the column of a frame, that holds the text, by default `text`.
            title: That of the title, by default `title`, where there is one.
            id: That of the id, by default `_id` or `id`, where there is one. What is left is metadata.
            on_error: Called for each document that can't be used, which is then left out; without it the error is
                raised.
            progress: Called now and then; True shows a bar, False none, None one in notebooks.
            maintain: Build the index anew and the like, if that is due; see `maintain`.

        Raises:
            UsageError: Something that no document can be made of.
            DataError: A document or vector can't be used; says which and why.
            CollectionLocked: Another process kept writing.
        """
        from semsearch.arrow_input import is_dataset, rows_in
        from semsearch.ingest import objects
        from semsearch.ingest.ingestion import Ingestion, add_precomputed
        from semsearch.rich_display import told

        if not is_dataset(documents) and isinstance(documents, Document | str | bytes | Mapping):
            raise UsageError(
                "add takes a list of documents; a single one goes into a list of its own: add([document])."
            )
        given = objects.each(documents, "add takes a list of semsearch.Document")
        made = objects.ObjectReader(text, title, id)
        if vectors is not None:
            changes = add_precomputed(
                self.engine, list(given), self._stored_form(rows_in(vectors)[0]), on_error, reader=made
            )
        else:
            with told(progress, self.name, documents) as meter:
                changes = Ingestion(self.engine, self.encoder, on_error, meter, reader=made).run(given)
        return self._upkeep.written(changes, maintain)

    def add_from(
        self,
        source: Source | Scan | str | os.PathLike[str],
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | bool | None = None,
        maintain: bool = True,
    ) -> IngestResult:
        """Put in the documents of a file or folder, and remember it for `sync`.

        Args:
            source: A path whose format its name tells, or `Source.of(path, format, options, …)`, or one that
                `semsearch.ingest.scan.scan` has begun to read.
            on_error: Called for each file or record that can't be used, which is then left out; without it the error
                is raised.
            progress: As in `add`.
            maintain: As in `add`.

        Raises:
            UsageError: There is no such file, or its format can't be told.
            DataError: A record can't be used, or there is none.
        """
        from semsearch.ingest.scan import Scan, apply, scan
        from semsearch.ingest.source import CallbackReport, Source
        from semsearch.rich_display import told

        if not isinstance(source, Scan):
            chosen = source if isinstance(source, Source) else Source.of(check_path(source, "the source"))
            source = scan(chosen, CallbackReport(on_error))
        with told(progress, self.name) as meter:
            done = apply(source, self.engine, self._model.get, meter)
        return self._upkeep.written(replace(done.changes, vanished=done.kept), maintain)

    def add_parts(
        self,
        folder: str | os.PathLike[str] | PartFolder,
        *,
        progress: Callable[[Progress], None] | bool | None = None,
        maintain: bool = True,
    ) -> IngestResult:
        """Put in what `semsearch.encode` made, all parts of a source, in its order; nothing is encoded.

        All parts are looked through before any document is committed. After an interruption the same call goes on.

        Args:
            folder: Where the parts are.
            progress: As in `add`.
            maintain: As in `add`.

        Raises:
            DataError: A part is missing, was changed, or is of another source; says which.
            ModelMismatch: They were made with another model than the collection's, or split otherwise.
        """
        from semsearch.parts.part_folder import PartFolder
        from semsearch.parts.part_loading import load_parts
        from semsearch.rich_display import told

        self.engine.check_open()
        parts = folder if isinstance(folder, PartFolder) else PartFolder(check_path(folder, "the folder of the parts"))
        with told(progress, self.name) as meter:
            changes = load_parts(parts, self.engine, meter)
        return self._upkeep.written(changes, maintain)

    def sync(
        self,
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | bool | None = None,
        most: float = MAX_VANISHED,
        confirm: Callable[[Source, int, int], bool] | None = None,
        unchecked: bool = False,
        maintain: bool = True,
    ) -> Synced:
        """Read the remembered sources again: take in what is new or changed, take out what has vanished.

        Files whose size and time are the same are not read. A source that can't be read, or gives nothing, takes
        nothing away.

        Args:
            on_error: Called for each source, file or record that can't be used; without it the error is raised.
            progress: As in `add`.
            most: The share of a source's documents that may vanish.
            confirm: Asked whether more may: the source, how many vanished, of how many; without it they are `kept`.
            unchecked: Of sources with vectors made elsewhere: take those that the model does not give the texts, too.
            maintain: As in `add`.

        Raises:
            DataError: A source, file or record that can't be used.
            ModelMismatch: New vectors that came with a source are not the model's.
        """
        from semsearch.ingest.sync import sync
        from semsearch.rich_display import told

        with told(progress, self.name) as meter:
            synced = sync(
                self.engine,
                self._model.get,
                on_error=on_error,
                progress=meter,
                most=most,
                confirm=confirm,
                unchecked=unchecked,
            )
        return self._upkeep.written(synced, maintain)

    def plan_sync(self, *, on_error: Callable[[DataError], None] | None = None) -> Iterator[tuple[Source, Preview]]:
        """What `sync` would do, source by source; nothing is encoded or written."""
        from semsearch.ingest.sync import plan

        return plan(self.engine, on_error)

    def update_metadata(self, ids: Iterable[str], metadata: Mapping[str, Any], *, replace: bool = False) -> int:
        """Change the metadata of documents; nothing is encoded. How many of `ids` were there.

        Args:
            ids: The documents.
            metadata: Fields to set; the others stay as they are. A field of None is kept as null.
            replace: Let these be all fields instead.

        Raises:
            DataError: What metadata can't hold.
        """
        ids = as_ids(ids, "update_metadata takes a list of ids")
        check_mapping(metadata, "metadata")
        return self.engine.update_metadata(ids, lambda old: dict(metadata) if replace else {**old, **metadata})

    def remove(self, ids: Iterable[str], *, maintain: bool = True) -> int:
        """Take documents out; how many of `ids` were there. `remove(collection.ids(where))` goes by a filter."""
        from semsearch.ingest.ingestion import BATCH_DOCUMENTS

        pending = map(as_id, each_of(ids, "remove takes a list of ids"))
        count = 0
        while batch := list(islice(pending, BATCH_DOCUMENTS)):
            count += self.engine.remove(batch)
        return self._upkeep.written(count, maintain)

    # Searching

    def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        vector: ArrayLike | None = None,
        image: Any = None,
        where: Where | None = None,
        mode: str = "dense",
        exact: bool = False,
        group_by: str | None = "document",
        dense_weight: float | None = None,
        rerank: bool | str | Reranker | None = None,
        rerank_weight: float | None = None,
        candidates: int = 100,
        mmr_lambda: float | None = None,
        context: int = 0,
        explain: bool = False,
        min_score: float | None = None,
        min_percentile: float | None = None,
        min_probability: float | None = None,
        timings: Timings | None = None,
        **unknown: Any,
    ) -> Hits:
        """The `k` documents that answer best.

        Args:
            query: A question or a text, in plain words.
            k: Documents to give; fewer come only if there are fewer, or if a minimum is asked for.
            vector: `(dim,)`, instead of encoding the query's text.
            image: A picture to find the like of: a file, Pillow's, or an array of uint8 `(height, width, 3)`; with a
                `query`, what is like both. The collection's model must read pictures.
            where: A metadata filter: `{"year": {"$gte": 1990}}`, or as text: `"year >= 1990"`.
            mode: "dense" (by meaning), "lexical" (by words: BM25), "sparse" (by the words that a sparse model finds
                in texts and question, where the collection has one) or "hybrid" (all that there are, fused).
            exact: Do without the index.
            group_by: "document": the best passage of each document. None: passages.
            dense_weight: The share of meaning in "hybrid", from 0 to 1; None: as far as the best by meaning and by
                words stand out.
            rerank: Let a cross-encoder order the best `candidates`: its name, an object with `score`, or True for the
                default one.
            rerank_weight: The share of the reranker in that order, from 0 to 1; the rest is the first stage's, its
                scores brought onto the reranker's scale over the candidates. None: what the reranker was trained to
                count, else 1.
            candidates: How many of the best are reranked, or thinned by `mmr_lambda`.
            mmr_lambda: The lambda of maximal marginal relevance, by which near-duplicates make room: with 1 none does,
                with 0 all of them come last. What duplicates no better hit keeps its place. None leaves all as they
                are.
            context: Passages of the same document to give before and after each, as `hit.context`.
            explain: Say of each answer how it was found and which words carried it, as `hit.explanation`.
            min_score: Leave out what scores less.
            min_percentile: Leave out what scores less than this share of random pairs of query and passage; 0.999, say.
            min_probability: Leave out what is less probably relevant; needs a calibration on judgements.
            timings: A mapping that gets the milliseconds of each stage.
            **unknown: Any other name is an error that lists the ones there are.

        Returns:
            A list of hits, whose `notes` say what the query required or ruled out and what of it was not read.

        Raises:
            UsageError: What is asked for makes no sense; says what does.
            FilterError: What can't be understood of `where`, and where in it.
        """
        from semsearch.search.request import Request

        options = dict(
            where=where,
            mode=mode,
            exact=exact,
            group_by=group_by,
            dense_weight=dense_weight,
            rerank=rerank,
            rerank_weight=rerank_weight,
            candidates=candidates,
            mmr_lambda=mmr_lambda,
            context=context,
            explain=explain,
            min_score=min_score,
            min_percentile=min_percentile,
            min_probability=min_probability,
            **unknown,
        )
        if image is not None:
            if vector is not None:
                raise UsageError("a search is by a picture or by a vector of one's own, not by both.")
            from semsearch.ingest.pictures import vector_of_image

            vector = vector_of_image(self.encoder, image, query)
        if vector is not None:
            vector = one_row(vector)
        queries = None if query is None else [query]
        return self._searcher.search(queries, vector, Request.of(k, options), timings)[0]

    def search_many(
        self,
        queries: Iterable[str] | None = None,
        k: int = 10,
        *,
        vectors: ArrayLike | None = None,
        timings: Timings | None = None,
        encoded: EncodedQueries | None = None,
        **options: Any,
    ) -> list[Hits]:
        """The answers to each of many queries, in their order: several times as fast as one `search` each.

        Args:
            queries: Questions or texts.
            k: Documents to give for each.
            vectors: `(q, dim)`, instead of encoding the texts.
            timings: A mapping that gets the milliseconds of each stage.
            encoded: Keeps what a model makes of the queries, for other collections of the same model.
            **options: As in `search`.
        """
        from semsearch.search.request import Request

        return self._searcher.search(queries, vectors, Request.of(k, options), timings, encoded)

    def similar(
        self,
        ids: Iterable[str] = (),
        k: int = 10,
        *,
        unlike: Iterable[str] = (),
        queries: Iterable[str] = (),
        against: Iterable[str] = (),
        **options: Any,
    ) -> Hits:
        """The `k` documents most like some, and unlike others; the given ones are left out.

        The search is by one vector, the mean of the examples less half the mean of the counterexamples (Rocchio 1971).

        Args:
            ids: Documents of the collection to find the like of.
            k: Documents to give.
            unlike: Documents to keep away from.
            queries: Questions or texts that count as examples too.
            against: Texts that count as counterexamples.
            **options: As in `search`, without what reads the words of a query.

        Raises:
            UsageError: An id that is not there, or no example.
        """
        from semsearch.search.request import Request, check_texts

        request = Request.of(k, options)
        given = (ids, unlike, queries, against)
        if any(isinstance(listed, str) for listed in given):
            raise UsageError("ids and texts come in lists; a single one goes in a list of its own.")
        ids, unlike, queries, against = (as_list(listed, "similar takes lists of ids and queries") for listed in given)
        ids, unlike = list(map(as_id, ids)), list(map(as_id, unlike))
        for texts in (queries, against):
            check_texts(texts, "similar")
        examples = self._vectors_of(ids, queries)
        counterexamples = self._vectors_of(unlike, against)
        if not len(examples):
            raise UsageError("there is no example to find the like of: give ids or queries.")
        vector = examples.mean(axis=0)
        if len(counterexamples):
            vector = vector - COUNTERWEIGHT * counterexamples.mean(axis=0)
        known = {*ids, *unlike}
        extra = len(known)
        if request.group_by is None:
            with self.engine.view() as view:
                extra = sum(map(len, view.keys_of(list(known)).values()))
        hits = self.search(None, k + extra, vector=vector, **options)
        kept = [hit for hit in hits if hit.id not in known][:k]
        for rank, hit in enumerate(kept, start=1):
            hit.rank = rank
        return Hits(kept, hits.notes)

    def pairs(
        self,
        between: Collection | None = None,
        *,
        min_score: float | None = None,
        min_percentile: float | None = None,
        k: int | None = None,
        limit: int | None = 1_000,
        device: str = "auto",
        folder: str | os.PathLike[str] | None = None,
        progress: Callable[[float, float], None] | None = None,
        approximate: bool = False,
    ) -> DocumentPairs:
        """The most alike pairs of documents, best first, compared exactly; two score as the best of their passages.

        Args:
            between: Another collection of the same model: pairs of one document of each.
            min_score: What a pair must score.
            min_percentile: The share of random pairs of documents that must score less, from 0 to 1.
            k: Only pairs of which one document is among the `k` nearest of the other.
            limit: How many at most, the best; None for all that reach `min_score` or `min_percentile` or count by `k`.
            device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU for many passages.
            folder: Where what is found is kept until all is done: after an interruption the same call goes on there.
            progress: Called with the pairs of passages that are done and those that there are.
            approximate: Compare only what the collection's index proposes; `recall` of what comes tells what it missed,
                measured on documents that are compared with all others. For some hundred thousand documents and more.

        Raises:
            UsageError: What is asked for makes no sense.
            ModelMismatch: `between` was made with another model.
        """
        from semsearch.applications.pairs import Wanted, document_pairs

        wanted = Wanted(min_score, min_percentile, k, limit)
        other = _engine_of(between, "between")
        return document_pairs(self.engine, other, wanted, device, folder, progress, approximate=approximate)

    def duplicates(
        self,
        against: Collection | None = None,
        *,
        min_score: float | None = 0.95,
        wording: bool = True,
        keep: str = "first",
        borderline: int = 0,
        device: str = "auto",
        progress: Callable[[float, float], None] | None = None,
    ) -> Duplicates:
        """The documents that say what another one says, which stays: by text, by wording, by meaning.

        A document goes only for one that stays and that it matches itself. What the model reads alike, such as words
        that it does not know and accents that it leaves out, must be the same in two texts of the same meaning. Nothing
        is removed; `remove_duplicates` does that.

        Args:
            against: Another collection of the same model: which documents say what one of these says.
            min_score: What each passage of both must score by meaning; None: only text and wording count.
            wording: Whether nearly the same words count, a Jaccard index of 0.8 (needs the extra `duplicates`).
            keep: Which of two stays: "first", "longest", "newest" (added last), or the one with the larger value in
                this field of metadata.
            borderline: How many pairs around `min_score` to name, to choose it by.
            device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU for many passages.
            progress: Called with the pairs of passages that are done and those that there are.

        Raises:
            UsageError: Nearly all pairs score enough, or no document has the field.
            MissingDependency: datasketch is not installed.
        """
        from semsearch.applications.duplicates import Alike, duplicates

        other = _engine_of(against, "against")
        alike = Alike(min_score, wording, keep, borderline)
        return duplicates(self.engine, other, alike, device, progress, self._model.readings)

    def remove_duplicates(self, found: Duplicates, *, maintain: bool = True) -> int:
        """Take out what `duplicates` found, but what was changed since it was compared; how many were there."""
        from semsearch.applications.duplicates import Duplicates

        if not isinstance(found, Duplicates):
            raise UsageError(f"remove_duplicates takes what duplicates() found, and not {kind_of(found)}.")
        with self.engine.hold():
            with self.engine.view() as view:
                ids = found.unchanged(view)
            count = self.remove(ids, maintain=False)
        return self._upkeep.written(count, maintain)

    def clusters(
        self,
        method: str = "communities",
        *,
        count: int | None = None,
        min_score: float | None = None,
        min_size: int | None = None,
        seed: int = 0,
        label_as: str | None = None,
        device: str = "auto",
        progress: Callable[[float, float], None] | None = None,
    ) -> Clusters:
        """Its documents in clusters, by the mean vectors of their passages; see `semsearch.clusters`.

        Args:
            method: "communities", "kmeans", "agglomerative" or "hdbscan".
            count: How many clusters k-means makes.
            min_score: What a member scores with its community's centre, or two clusters on average to be merged.
            min_size: Members that a cluster has at least.
            seed: Of k-means: the same gives the same clusters.
            label_as: A field of metadata to write the number of its cluster into, for each document; of those in none
                the field is taken away.
            device: "cpu", "cuda"; "auto" takes a GPU for many documents.
            progress: Called with the pairs that are done and those that there are.

        Raises:
            UsageError: What is asked for makes no sense.
            MissingDependency: FAISS or scikit-learn is not installed.
        """
        from semsearch.applications.cluster_labels import check_free, label
        from semsearch.applications.clusters import Grouping, document_clusters

        if label_as is not None:
            check_free(self.engine, label_as)
        found = document_clusters(self.engine, Grouping(method, count, min_score, min_size, seed), device, progress)
        if label_as is not None:
            label(self.engine, found, label_as)
        return found

    def topics(
        self,
        method: str | None = None,
        *,
        count: int | None = None,
        min_score: float | None = None,
        min_size: int | None = None,
        seed: int = 0,
        over: str | None = None,
        label_as: str | None = None,
        device: str = "auto",
        progress: Callable[[float, float], None] | None = None,
    ) -> Topics:
        """What it is about: its documents in clusters, each named by its words, with passages that stand for it.

        Args:
            method: As in `clusters`; None: "kmeans", with `count` clusters.
            count: How many topics k-means makes; by default the root of half the documents, 100 at most.
            min_score: What a member scores with its community's centre, or two clusters on average to be merged.
            min_size: Members that a topic has at least.
            seed: Of k-means: the same gives the same topics.
            over: A field of metadata with dates: how many documents of each topic fall into each year, month or day.
            label_as: A field of metadata to write the name of its topic into, for each document; of those in none the
                field is taken away.
            device: "cpu", "cuda"; "auto" takes a GPU for many documents.
            progress: Called with the pairs that are done and those that there are.

        Raises:
            UsageError: What is asked for makes no sense, or no document has a date in `over`.
            MissingDependency: FAISS or scikit-learn is not installed.
        """
        from semsearch.applications.cluster_labels import check_free, label
        from semsearch.applications.topics import TopicsWanted, document_topics

        if label_as is not None:
            check_free(self.engine, label_as)
        if over is not None:
            _check_field_name(over)
        wanted = TopicsWanted(method, count, min_score, min_size, seed, over)
        found = document_topics(self.engine, wanted, device, progress)
        if label_as is not None:
            label(self.engine, found.clusters, label_as, found.names)
        return found

    def map(
        self,
        by: str | None = None,
        *,
        method: str | None = None,
        count: int | None = None,
        min_score: float | None = None,
        min_size: int | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Callable[[float, float], None] | None = None,
    ) -> DocumentMap:
        """Its documents as points, those that are alike side by side, with the names of topics; see `semsearch.layout`.

        Args:
            by: A field of metadata whose values colour the points; None: the topics do.
            method: Of the topics, as the next three; see `topics`.
            count: How many topics k-means makes.
            min_score: What a member scores with its community's centre, or two clusters on average to be merged.
            min_size: Members that a topic has at least.
            seed: Of the topics and the places: the same gives the same map.
            device: "cpu", "cuda"; "auto" takes a GPU for many documents.
            progress: Called with the pairs that are done and those that there are.

        Returns:
            What has a `page()`, one file in HTML that needs no network, and a `picture()`, a PNG.

        Raises:
            UsageError: What is asked for makes no sense, or no document has the field.
            MissingDependency: FAISS or scikit-learn is not installed.
        """
        from semsearch.applications.document_map import document_map
        from semsearch.applications.topics import TopicsWanted

        if by is not None:
            _check_field_name(by)
        wanted = TopicsWanted(method, count, min_score, min_size, seed)
        return document_map(self.engine, wanted, by, device, progress)

    def assign_clusters(self, field: str, *, device: str = "auto") -> dict[str, Any]:
        """Label the documents without a label in `field` by the clusters of those with one; the new labels by id.

        A document is given the label of the nearest centre, if it scores as much with it as 95 % of its members do.

        Raises:
            UsageError: No document has a label.
        """
        from semsearch.applications.cluster_labels import assign

        return assign(self.engine, field, device)

    def classify(
        self, texts: Iterable[str], field: str, *, min_confidence: float = 0.0, device: str = "auto"
    ) -> Classifications:
        """What each text is, by the vote of the documents nearest to it that have a label in `field`.

        Args:
            texts: Of the kind that the documents are.
            field: Of metadata; texts and whole numbers in it are labels.
            min_confidence: The probability under which the label is None, "don't know".
            device: "cpu", "cuda"; "auto" takes a GPU for many documents.

        Returns:
            For each text its label, the probability that it is right, and the nearest document, by its place among the
            labelled ones.

        Raises:
            UsageError: Fewer than two documents have a label.
            DataError: A text holds a character that is none.
        """
        from semsearch.applications.classification import Classifications, check_confidence, document_classifier
        from semsearch.search.request import check_texts

        check_confidence(min_confidence)
        _check_field_name(field)
        asked = check_texts(texts, "classify")
        for place, text in enumerate(asked):
            check_text(text, f"text {place}")
        classifier, ids, notes = document_classifier(self.engine, field, device)
        if not asked:
            return Classifications([])
        vectors = self._stored_form(self.encoder.encode_documents(asked))
        return Classifications(classifier.classify(vectors, min_confidence), None, ids, notes)

    def _vectors_of(self, ids: Sequence[str], texts: Sequence[str]) -> Vectors:
        """A vector for each document, the mean of its passages', and for each text."""
        from semsearch.bound_encoder import NO_VECTORS

        parts = [self._model.queries(texts)] if texts else []
        if ids:
            with self.engine.view() as view:
                keys = view.keys_of(ids)
                for identity in ids:
                    if not keys.get(identity):
                        raise DocumentNotFound(f"there is no document {identity!r} in collection '{self.name}'.")
                    own = view.vectors(np.asarray(keys[identity], dtype=np.int64))
                    parts.append(stored_form(own.mean(axis=0, keepdims=True), view.dim, self.metric))
        return np.concatenate(parts) if parts else NO_VECTORS

    # Index

    def reindex(
        self,
        index: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        recall: float | None = None,
        k: int = 10,
        queries: Iterable[str] | None = None,
    ) -> Certificate | None:
        """Build the index anew over all that is there, and swap it in; searching and writing go on meanwhile.

        Args:
            index: A backend's name or "auto", kept for later; by default what was chosen before.
            options: The backend's options, kept too.
            recall: What the index must find of the true `k` nearest, on average; its knob is set to it, the outcome
                is certified and kept, and certified again when much has changed.
            k: Neighbours that the recall is counted among.
            queries: Real questions to measure on, kept for the next time; an empty list forgets them. Where there are
                none, a few words of passages are asked; without a model, stored vectors and points between them.

        Returns:
            The certificate, where a recall was asked for and there is an index.

        Raises:
            UsageError: An unknown backend or option; says which there are.
            MissingDependency: The backend's library is not installed; has the line to type.
        """
        from semsearch.search.request import check_texts

        asked = None if queries is None else check_texts(queries, "reindex")
        return self._upkeep.reindex(index, options, recall, k, asked)

    def tune(self, recall: float, k: int = 10, *, queries: Iterable[str] | None = None) -> Certificate:
        """Set the index to a recall without building it anew; see `reindex`."""
        from semsearch.search.request import check_texts

        asked = None if queries is None else check_texts(queries, "tune")
        return self._upkeep.tune(recall, k, asked)

    def load_index(self) -> None:
        """Load the index now, if there is one, rather than behind the coming searches."""
        if isinstance(self.engine, Indexed):
            self.engine.load_index()

    def calibrate(self, judgements: Mapping[str, Mapping[str, int]] | None = None) -> Calibration | None:
        """Measure how random pairs of query and passage score, so that hits get a percentile; kept in the collection.

        It is done by itself when a collection has doubled since the last time.

        Args:
            judgements: Grades by query text and document id (0: not relevant). With them hits also get a probability,
                from a logistic curve through the scores of the judged pairs.

        Returns:
            None if there are too few passages to measure.

        Raises:
            UsageError: The judgements name no document of this collection, or all are of one kind.
        """
        from semsearch.search.calibration import JUDGED, judged_hits

        judged = None
        if judgements is not None:
            check_mapping(judgements, "judgements")
            for query, grades in judgements.items():
                check_mapping(grades, f"the judgements of {query!r:.60}")
                for identity, grade in grades.items():
                    check_number(grade, f"the grade of {identity!r:.60}")
            answers = self.search_many(list(judgements), JUDGED, exact=True)
            judged = judged_hits(dict(zip(judgements, answers, strict=True)), judgements)
        return self._upkeep.calibrate(judged)

    # Maintenance

    def maintain(self) -> None:
        """Rewrite, build the index anew, certify or calibrate anew, if too much has changed since the last time.

        Every method that writes ends with it, unless told `maintain=False`. What was written is committed by then, so
        damage found on the way is told and not raised.
        """
        self._upkeep.maintain()

    def fill_sparse(self, progress: Callable[[int], None] | None = None) -> int:
        """Give passages that lack one their sparse vector, where the collection has a model for it; how many.

        Every method that writes does so; this goes on after an interruption.

        Args:
            progress: Called with the number of passages encoded so far.
        """
        return self._upkeep.fill_sparse(progress)

    def check(self, *, deep: bool = False) -> list[Problem]:
        """What is wrong with it, and what fixes each thing; nothing is changed.

        Args:
            deep: Read everything: every vector's checksum, values and length, the full text, and what the index finds.
        """
        return self._upkeep.maintained.check(deep=deep)

    def repair(self) -> list[str]:
        """Mend what `check` finds, as far as it can be: what was done, in sentences; empty if all was well."""
        return self._upkeep.repair()

    def migrate(self) -> list[str]:
        """Bring it forward to what this version makes, which older ones refuse then; what was done, in sentences.

        In folders that is done when they are opened; where several machines use a collection, it is a step of its own.
        """
        if isinstance(self.engine, Migrated):
            return self.engine.migrate()
        if self.engine.versions["analysis"] < versions.ANALYSIS:
            raise UsageError(
                f"collection '{self.name}' lies in the engine '{self.engine.capabilities.engine}', where an older "
                "semsearch made it: bring it forward there."
            )
        return []

    def compact(self) -> Compacted:
        """Give back what removed documents took, and erase them everywhere."""
        return self._upkeep.written(self._upkeep.maintained.compact())

    def backup(self, file: str | os.PathLike[str]) -> int:
        """Write everything, as of one commit, into one file, while searching and writing go on; its size in bytes.

        `semsearch.restore` makes a collection of it again.
        """
        if not isinstance(self.engine, BackedUp):
            raise UsageError(
                f"collection '{self.name}' lies in the engine '{self.engine.capabilities.engine}': back it up with "
                f"{self.engine.capabilities.tools}."
            )
        return self.engine.backup(Path(check_path(file, "the backup")))

    def export(self, folder: str | os.PathLike[str], *, parquet: bool = False) -> int:
        """Write all passages and their vectors, as of one commit, into a new folder, or one file; how many.

        Args:
            folder: A name that ends in `.parquet` becomes one such file, with the vectors as a column. A folder gets
                `vectors.npy` `(passages, dim)` and `passages.jsonl`, line i with the vector of row i, and
                `collection.json`, which tells the model.
            parquet: One `passages.parquet` with the vectors as a column instead of the first two.

        Raises:
            UsageError: It is there already.
        """
        from semsearch.exchange.export import export

        return export(self.engine, Path(check_path(folder, "the folder")), parquet=parquet)

    def reencode(
        self,
        encoder: str | Encoder,
        *,
        revision: str | None = None,
        progress: Callable[[int], None] | bool | None = None,
    ) -> int:
        """Change the model: encode the stored text of every document anew; how many were encoded by this call.

        The present vectors serve until one commit switches over. After an interruption the same call resumes.

        Args:
            encoder: A model's name or path, or an object with the members of `Encoder`.
            revision: Of a model on the hub.
            progress: Called with the number of documents encoded so far; else as in `add`.
        """
        from semsearch.rich_display import told

        work = self._upkeep.reencoding(encoder, revision)
        with told(progress, self.name, self) as meter:
            count = work(meter)
        return self._upkeep.written(count)

    def undo_reencode(self, *, progress: Callable[[int], None] | bool | None = None) -> int:
        """Change back to the model of before the last `reencode`, as `reencode` does; how many were encoded.

        Raises:
            UsageError: The model is the first, or the one of before was an object, which `reencode` takes.
            ModelError: What is under its name now is another model.
        """
        name, revision = self._upkeep.former_encoder()
        return self.reencode(name, revision=revision, progress=progress)

    def add_sparse(
        self,
        encoder: str,
        *,
        revision: str | None = None,
        progress: Callable[[int], None] | bool | None = None,
    ) -> int:
        """Encode every passage with a sparse model, too, now and whatever is added later; how many were encoded.

        Dense vectors stay as they are. After an interruption the same call goes on. In place of another sparse model,
        all are encoded anew.

        Args:
            encoder: The model's name or path; see `semsearch.load_sparse_encoder`.
            revision: Of a model on the hub.
            progress: Called with the number of passages encoded so far; else as in `add`.

        Raises:
            UsageError: The engine keeps no sparse vectors.
            ModelError: The model can't be found or opened.
        """
        from semsearch.rich_display import told

        self._upkeep.begin_sparse(encoder, revision)
        with told(progress, self.name, self) as meter:
            count = self.fill_sparse(meter)
        return self._upkeep.written(count)

    def remove_sparse(self) -> None:
        """Let the sparse vectors and their model go."""
        self._upkeep.sparse_store.end_sparse()

    def _stored_form(self, vectors: ArrayLike) -> Vectors:
        with self.engine.view() as view:
            dim = view.dim
        return stored_form(vectors, dim, self.metric)


def _engine_of(other: object, what: str) -> Engine | None:
    """What keeps another collection that was given, if one was."""
    if other is None:
        return None
    if not isinstance(other, Collection):
        raise UsageError(f"{what} is an open collection, semsearch.open('…'), and not {kind_of(other)}.")
    return other.engine


def _check_field_name(name: object) -> None:
    if not isinstance(name, str):
        raise UsageError(f"the name of a field is a text, not {kind_of(name)}.")
