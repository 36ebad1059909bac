"""Several collections asked at once, their answers in one order.

A score means something else in each model, so scores are compared by how seldom chance gives them. For each model the
distributions of random pairs that its collections measured (`semsearch.search.calibration`) are put together. A hit
counts by the share of all passages asked that would be of this model and score as high by chance: the more a model has,
the likelier one does, as with the E-value of sequence search (Karlin and Altschul 1990). `Hit.score` is minus its
decimal logarithm, 3 where it is one in a thousand; the tail beyond the sample goes on, so that no two good hits tie.

Collections of one model keep the order of their scores. With a distribution for each, those of one subject, which score
high at random, came behind: for questions to one of cranfield, cacm, cisi, NFCorpus and SciFact, asked of all five, the
mean nDCG@10 was 0.402, and is 0.429 (in the right one alone it is 0.462).

What a cross-encoder scored is compared as it is. Elsewhere each collection keeps its own order, whatever made it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from heapq import merge
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import check_list, kind_of
from semsearch.bound_encoder import EncodedQueries
from semsearch.collection import Collection
from semsearch.engine import fingerprint
from semsearch.errors import FilterError, SemsearchError, UsageError
from semsearch.home import Home
from semsearch.ingest.pictures import shown
from semsearch.opening import HomeLike
from semsearch.opening import open as open_collection
from semsearch.search.calibration import Calibration
from semsearch.search.fields import listed_fields
from semsearch.search.request import check_texts
from semsearch.search.where_mapping import Where, settled
from semsearch.types import Hit, Hits

STAGE = "calibrated"  # in `Hit.scores`


class Federation:
    """Collections that are asked together; they stay the caller's, unless it opened them itself.

    >>> with semsearch.Federation.open(["films", "papers"]) as both:     # doctest: +SKIP
    ...     [(hit.collection, hit.id) for hit in both.search("a journey into space", k=2)]
    [('films', '28837'), ('papers', 'W42')]
    """

    def __init__(self, collections: Iterable[Collection]) -> None:
        check_list(collections, "a federation takes a list of collections")
        self.collections = list(collections)
        for collection in self.collections:
            if not isinstance(collection, Collection):
                raise UsageError(f"a federation takes collections, or their names, and not {kind_of(collection)}.")
        names = [collection.name for collection in self.collections]
        if not names:
            raise UsageError("there is no collection to ask: name one at least.")
        if len(set(names)) < len(names):
            raise UsageError(f"a collection is named twice: {', '.join(names)}.")
        self._opened = ExitStack()

    @classmethod
    def open(
        cls, names: Iterable[str] | None = None, *, home: HomeLike = None, device: str | None = None, **how: Any
    ) -> Self:
        """Open the collections of these names; all of `home` without any.

        Args:
            names: Of the collections.
            home: The folder of the collections, or a URL; see `semsearch.home.Home.of`.
            device: As in `semsearch.open`, as is whatever else is given.
            **how: The same.

        Raises:
            CollectionNotFound: There is none of a name; says what there is.
        """
        place = Home.of(home)
        if names is None:
            names = place.names()
            if not names:
                raise UsageError(f"there is no collection in {place.location} to ask.")
        elif isinstance(names, str):
            raise UsageError(
                f"names of collections come in a list; a single one goes in a list of its own: [{names!r}]."
            )
        with ExitStack() as opened:
            federation = cls(
                [opened.enter_context(open_collection(name, home=place, device=device, **how)) for name in names]
            )
            federation._opened = opened.pop_all()
            return federation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the collections that were opened here."""
        self._opened.close()

    def __len__(self) -> int:
        """Documents in all."""
        return sum(map(len, self.collections))

    def count(self, where: Where | None = None) -> int:
        """Documents that a filter allows, of the collections that have its fields.

        Raises:
            FilterError: None of them has.
        """
        counts: list[int] = []
        left_out: list[FilterError] = []
        where = settled(where)
        for collection in self.collections:
            try:
                counts.append(collection.count(where))
            except FilterError as error:
                left_out.append(error)
        if not counts:
            raise left_out[0]
        return sum(counts)

    @property
    def name(self) -> str:
        """The names of the collections, as the command line takes them."""
        return ",".join(collection.name for collection in self.collections)

    @property
    def location(self) -> str:
        """Where they are kept, a line each."""
        return "\n".join(collection.location for collection in self.collections)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Where their documents came from."""
        return [source for collection in self.collections for source in collection.sources]

    def open_models(self) -> None:
        """Open the models now rather than with the first question; one that can't be is told with that."""
        for collection in self.collections:
            with suppress(SemsearchError):
                _ = collection.encoder

    def load_index(self) -> None:
        """See `Collection.load_index`."""
        for collection in self.collections:
            collection.load_index()

    def info(self) -> dict[str, Any]:
        """What there is to know of each, by name."""
        return {collection.name: collection.info() for collection in self.collections}

    def fields(self) -> list[str]:
        """The names of the metadata fields that a document of any of them has."""
        return sorted({name for collection in self.collections for name in collection.fields()})

    def has_field(self, name: str) -> bool:
        """See `Collection.has_field`."""
        return any(collection.has_field(name) for collection in self.collections)

    def field_types(self, name: str) -> frozenset[str]:
        """See `Collection.field_types`."""
        return frozenset[str]().union(*(collection.field_types(name) for collection in self._having(name)))

    def values(self, name: str, *, begins: str = "", most: int = 50) -> list[str | float | bool]:
        """See `Collection.values`."""
        found = (collection.values(name, begins=begins, most=most) for collection in self._having(name))
        return list(dict.fromkeys(value for own in found for value in own))

    def _having(self, name: str) -> list[Collection]:
        """The collections whose documents have a field; says which there are where none has it."""
        having = [collection for collection in self.collections if collection.has_field(name)]
        if not having:
            raise UsageError(f"'{self.name}' has no field '{name:.100}'; {listed_fields(name, self.fields())}")
        return having

    def collection_of(self, hit: Hit) -> Collection:
        """The one that gave a hit."""
        return next(collection for collection in self.collections if collection.name == hit.collection)

    def search(self, query: str | None = None, k: int = 10, *, image: Any = None, **options: Any) -> Hits:
        """The `k` documents of all collections that answer best; see `search_many`.

        Args:
            query: A question or a text.
            k: Documents to give.
            image: A picture, alone or with a `query`, as in `Collection.search`: asked are the collections whose
                models read pictures, and the notes tell of the others.
            **options: As in `search_many`.
        """
        if image is None:
            return self.search_many([query], k, **options)[0]  # type: ignore[list-item]  # None is told of there
        image = shown(image)  # read once, whatever it is asked of

        def ask(collection: Collection, own: dict[str, float], options: dict[str, Any]) -> list[Hits]:
            return [collection.search(query, k, image=image, timings=own, **options)]

        return self._together(ask, k, options.pop("timings", None), options)[0]

    def search_many(
        self, queries: Iterable[str], k: int = 10, *, timings: dict[str, float] | None = None, **options: Any
    ) -> list[Hits]:
        """The answers to each of many queries, in their order.

        Args:
            queries: Questions or texts.
            k: Documents to give for each.
            timings: A mapping that gets the milliseconds of each stage.
            **options: As in `Collection.search`. A minimum of the score is one of a collection's own.

        Returns:
            Hits whose `collection` says which gave them. A collection that could not be asked is told of in the notes.

        Raises:
            UsageError: The mode is "lexical" or "sparse": scores of words don't compare among collections.
            SemsearchError: None of the collections could be asked.
        """
        if isinstance(queries, str):
            raise UsageError("search_many takes a list of queries; for a single one there is search.")
        queries = check_texts(queries, "search_many")
        encoded = EncodedQueries()

        def ask(collection: Collection, own: dict[str, float], options: dict[str, Any]) -> list[Hits]:
            return collection.search_many(queries, k, timings=own, encoded=encoded, **options)

        return self._together(ask, k, timings, options)

    def _together(
        self,
        ask: Callable[[Collection, dict[str, float], dict[str, Any]], list[Hits]],
        k: int,
        timings: dict[str, float] | None,
        options: dict[str, Any],
    ) -> list[Hits]:
        """What `ask` gives of each collection, with the milliseconds it took, in one order."""
        if (mode := options.get("mode")) in ("lexical", "sparse") and not options.get("rerank"):
            raise UsageError(
                "what words score in one collection says nothing in another, so several can't be asked in the mode "
                f"'{mode}': choose 'hybrid' or 'dense', or let a cross-encoder order the answers (rerank)."
            )
        if "where" in options:  # which each collection looks at
            options["where"] = settled(options["where"])
        answers: list[tuple[Collection, list[Hits]]] = []
        left_out: list[SemsearchError] = []
        notes: list[str] = []
        for collection in self.collections:
            own: dict[str, float] = {}
            try:
                answers.append((collection, ask(collection, own, options)))
            except SemsearchError as error:
                left_out.append(error)
                notes.append(f"{collection.name} is left out: {error}")
            if timings is not None:
                timings.update({stage: timings.get(stage, 0.0) + spent for stage, spent in own.items()})
        if not answers:
            raise left_out[0]
        began = time.perf_counter()
        merged = list(self._merged(answers, k, notes, bool(options.get("rerank"))))
        if timings is not None:
            timings["merge"] = 1000 * (time.perf_counter() - began)
        return merged

    def _merged(
        self, answers: Sequence[tuple[Collection, list[Hits]]], k: int, notes: Sequence[str], reranked: bool
    ) -> Iterator[Hits]:
        scales = {} if reranked else _scales([collection for collection, _ in answers])
        lost = [
            f"{collection.name} comes last: it has too few passages to tell what its scores mean beside those of "
            "another model."
            for collection, _ in answers
            if scales and collection.name not in scales
        ]
        for own in zip(*(found for _, found in answers), strict=True):
            lists = []
            saying: dict[str, list[str]] = {}  # which collections, of each note
            for (collection, _), hits in zip(answers, own, strict=True):
                for note in hits.notes:
                    saying.setdefault(note, []).append(collection.name)
                for hit in hits:
                    hit.collection = collection.name
                scale = scales.get(collection.name)
                lists.append(_keyed(hits, scale, reranked=reranked, last=bool(scales) and scale is None))
            best = [hit for _, hit in merge(*lists, key=lambda pair: pair[0])][:k]
            for rank, hit in enumerate(best, start=1):
                hit.rank = rank
            told = [
                note if len(names) == len(self.collections) else f"{', '.join(names)}: {note}"
                for note, names in saying.items()
            ]
            yield Hits(best, (*notes, *lost, *told))


Searchable: TypeAlias = Collection | Federation


class _Scale:
    """What scores of one model mean: how seldom a passage would be of its collections, and score so by chance."""

    def __init__(self, calibrations: Sequence[Calibration], share: float) -> None:
        self._calibrations = calibrations
        self._share = share  # of all passages, that its collections have

    def __call__(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """Minus the decimal logarithm of that; the distributions count by the passages they were measured on."""
        tails = np.stack([one.log_tail(scores) for one in self._calibrations])
        weights = np.array([one.passages for one in self._calibrations], dtype=np.float64)
        together = np.logaddexp.reduce(tails + np.log(weights / weights.sum())[:, None], axis=0)
        standing: NDArray[np.float64] = -(together + math.log(self._share)) / math.log(10)
        return standing


def _scales(collections: Sequence[Collection]) -> Mapping[str, _Scale]:
    """The scale of each collection; none at all where all have one model and none is calibrated."""
    settings = {collection.name: collection.settings for collection in collections}
    models: dict[str, list[Collection]] = {}
    for collection in collections:
        models.setdefault(fingerprint(settings[collection.name]), []).append(collection)
    scales: dict[str, _Scale] = {}
    passages = {collection.name: max(collection.count_passages(), 1) for collection in collections}
    for own in models.values():
        known = [found for one in own if (found := Calibration.of(settings[one.name])) is not None]
        if known:
            scale = _Scale(known, sum(passages[one.name] for one in own) / sum(passages.values()))
            scales.update({one.name: scale for one in own})
    return scales


def _keyed(
    hits: Sequence[Hit], scale: _Scale | None, *, reranked: bool, last: bool
) -> list[tuple[tuple[bool, float], Hit]]:
    """Hits with what orders them, best first, in the order that their collection gave them.

    Where that is not the order of their dense scores (words or duplicates count), the best place has the best of the
    scores that there are.
    """
    if not reranked and scale is not None:
        dense = [hit.scores.get("dense", -math.inf) for hit in hits]
        for hit, score in zip(hits, sorted(scale(dense).tolist(), reverse=True), strict=True):
            hit.scores, hit.score = {**hit.scores, STAGE: score}, score
    return [((last, -hit.score), hit) for hit in hits]


def search(
    collections: Iterable[str | Collection] | None,
    query: str,
    k: int = 10,
    *,
    home: HomeLike = None,
    device: str | None = None,
    dtype: str | None = None,
    **options: Any,
) -> Hits:
    """The `k` documents of several collections that answer best, each hit's `collection` saying whose it is.

    Args:
        collections: Their names, or collections that are open; None asks all of `home`.
        query: A question or a text.
        k: Documents to give.
        home: Where the names are looked for; see `semsearch.open`.
        device: As in `semsearch.open`.
        dtype: The same.
        **options: As in `Collection.search`.

    Raises:
        CollectionNotFound: There is none of a name.
        UsageError: The mode is "lexical" or "sparse": scores of words don't compare among collections.
    """
    if collections is not None and not isinstance(collections, str):
        check_list(collections, "search takes a list of collections")
        collections = list(collections)
    with ExitStack() as opened:
        if collections is None or isinstance(collections, str):
            everything = Federation.open(collections, home=home, device=device, dtype=dtype)
            federation = opened.enter_context(everything)
        else:
            federation = Federation(
                opened.enter_context(open_collection(one, home=home, device=device, dtype=dtype))
                if isinstance(one, str)
                else one
                for one in collections
            )
        hits = federation.search(query, k, **options)
        for hit in hits:  # what is read when it is asked for could not be read later
            hit.passage = hit.passage._replace(source=hit.document)
            _ = hit.place
    return hits
