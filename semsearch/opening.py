"""Making, opening, listing, restoring and deleting collections by name, wherever their home is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch import plugins
from semsearch.arguments import check_path, check_whole
from semsearch.bound_encoder import BoundEncoder
from semsearch.collection import Collection
from semsearch.encoder import DEFAULT_MODEL
from semsearch.engine import IndexSpec, Restoring, SparseStore
from semsearch.errors import CollectionExists, DimensionMismatch, UsageError
from semsearch.hardware import Compute
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.search.languages import LANGUAGE_FIELD, LANGUAGES, checked_field, named
from semsearch.types import Metric
from semsearch.vectors import check_k

if TYPE_CHECKING:
    from semsearch.types import Encoder

HomeLike = str | os.PathLike[str] | Home | None


def create(
    name: str,
    *,
    encoder: str | Encoder | None = DEFAULT_MODEL,
    dim: int | None = None,
    metric: Metric | str | None = None,
    home: HomeLike = None,
    passages: bool = True,
    language: str | Iterable[str] | None = None,
    language_field: str | None = None,
    sparse: str | None = None,
    index: str = "auto",
    options: Mapping[str, Any] | None = None,
    recall: float | None = None,
    k: int = 10,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    batch_tokens: int | None = None,
) -> Collection:
    """Make a new, empty collection.

    Args:
        name: Letters and digits of any script, `.`, `_`, `-`.
        encoder: A model's name or path, an object with the members of `Encoder`, or None for a collection that is
            filled with given vectors and searched by vectors alone.
        dim: Components of a vector; needed without an encoder, checked with one.
        metric: How vectors are compared; an encoder knows its own, without one it is cosine.
        home: The folder of the collections, or a URL; see `semsearch.home.Home.of`.
        passages: Split documents that are longer than the model's window; False gives one truncated vector each.
        language: Whose stemmer finds its words: "de", say, or several: ["de", "fr"]; None finds out by its first texts.
        language_field: Of metadata: where the language of each text that is added is kept ("en", say).
        sparse: A sparse model's name or path, whose vectors are kept beside the others: see `Collection.add_sparse`.
        index: The backend of the index, or "auto".
        options: The backend's options.
        recall: What the index must find of the true `k` nearest; see `Collection.reindex`.
        k: Neighbours that the recall is counted among.
        device: "cpu", "cuda", "cuda:1", "mps"; several, as in "cuda:0,cuda:1", share the encoding; None chooses.
        dtype: "float32" or "bfloat16" to compute in; None chooses what the hardware is fast in.
        revision: Of a model on the hub.
        batch_tokens: Tokens in a batch; None chooses.

    Raises:
        CollectionExists: There is one of that name.
        ModelError: The model can't be found or opened.
    """
    from semsearch.bound_sparse import described_sparse
    from semsearch.chunking import splitter_for
    from semsearch.models import described_encoder
    from semsearch.search.recall import check_target

    place = Home.of(home)
    if check_name(name) in place:
        raise CollectionExists(
            f"a collection '{name}' is there already, in {place.location}: open it, choose another name, or take it "
            f"away with 'semsearch drop {name}'."
        )
    spec = IndexSpec(
        index,
        {} if options is None else options,
        None if recall is None else check_target(recall),
        check_k(k),
    )
    plugins.check_index(spec.backend, spec.options)
    languages = None if language is None else list(named(language))
    dim = None if dim is None else check_whole(dim, "dim")
    compute = Compute(device, dtype, batch_tokens)
    wanted = None if metric is None else Metric.of(metric)
    loaded, described = (None, None) if encoder is None else described_encoder(encoder, revision, compute)
    if loaded is not None:
        if dim is not None and dim != loaded.dim:
            raise DimensionMismatch(f"the encoder gives vectors of {loaded.dim} components, not {dim}.")
        if wanted is not None and wanted != loaded.metric:
            raise UsageError(f"the encoder's vectors are compared by {loaded.metric}, not by {wanted}.")
        dim, wanted = loaded.dim, Metric(loaded.metric)
    elif dim is None:
        raise UsageError("a collection without an encoder needs the number of components of its vectors: dim=384, say.")
    if index != "auto":
        plugins.check_metric(index, wanted or Metric.COSINE)
    settings = {
        "encoder": described,
        "metric": str(wanted or Metric.COSINE),
        "passages": passages,
        "splitting": splitter_for(loaded, passages).identity if loaded is not None else None,
        LANGUAGES: languages,
        **({} if language_field is None else {LANGUAGE_FIELD: checked_field(language_field)}),
        "index": asdict(replace(spec, options=dict(spec.options))),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    words = None if sparse is None else described_sparse(sparse, None, compute)[1]
    engine = place.create(name, settings, dim, device=compute.on_one_device.device)
    if words is not None:
        if not isinstance(engine, SparseStore):
            kind = engine.capabilities.engine
            place.drop_unused(engine)
            engine.close()
            raise UsageError(f"the engine '{kind}' keeps no sparse vectors: leave `sparse` out.")
        engine.begin_sparse(words)
    return Collection(engine, BoundEncoder(engine, loaded, compute))


def open(
    name: str,
    *,
    home: HomeLike = None,
    create: bool = False,
    encoder: str | Encoder | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
) -> Collection:
    """Open the collection `name`.

    Args:
        name: Its name.
        home: The folder of the collections, or a URL; see `semsearch.home.Home.of`.
        create: Make it if it is not there, as `semsearch.create` does with the same `encoder`.
        encoder: The object that the collection was made with, if it was made with an object rather than a name.
        device: As in `create`.
        dtype: As in `create`.
        batch_tokens: As in `create`.

    Raises:
        CollectionNotFound: There is none; says what there is, and where was looked.
        CollectionDamaged: Its files are broken; says what repairs them.
        ModelMismatch: `encoder` is not the one it was made with.
    """
    place = Home.of(home)
    if create and name not in place:
        try:
            return _create(
                name,
                home=place,
                encoder=DEFAULT_MODEL if encoder is None else encoder,
                device=device,
                dtype=dtype,
                batch_tokens=batch_tokens,
            )
        except CollectionExists:
            pass  # another process made it meanwhile
    compute = Compute(device, dtype, batch_tokens)
    engine = place.open(name, device=compute.on_one_device.device)
    model = BoundEncoder(engine, compute=compute)
    if encoder is not None:
        model.take(model.described_as(encoder)[0])
    return Collection(engine, model)


_create = create  # `open` has an argument of that name


def list_collections(*, home: HomeLike = None) -> list[str]:
    """The names of the collections in `home`, sorted; see `semsearch.home.Home.of`."""
    return list(Home.of(home).names())


def drop(name: str, *, home: HomeLike = None) -> None:
    """Delete the collection `name` with all its documents."""
    Home.of(home).drop(name)


def copy(
    name: str,
    to: HomeLike,
    *,
    home: HomeLike = None,
    new_name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Copy the collection `name` into another home, whatever keeps either: documents, vectors, settings and sources.

    Nothing is encoded. After an interruption the same call goes on, and in the end both are held against each other.
    The index is built there as it is after any writing.

    Args:
        name: The collection.
        to: The home to copy it into; see `semsearch.home.Home.of`.
        home: The home that it is in.
        new_name: What it is called there; by default as here.
        progress: Called with the number of documents that are there.

    Returns:
        The documents of the copy.

    Raises:
        CollectionExists: There is a collection of that name, and it is no copy of this one that was begun.
        CollectionDamaged: The copy is not the same in the end; says what differs.
    """
    from semsearch.exchange.transfer import transfer

    target = Home.of(to)
    with open(name, home=home) as collection:
        count = transfer(collection.engine, target, new_name, progress)
    with open(new_name or name, home=target) as made:
        made.maintain()
    return count


def restore(file: str | os.PathLike[str], name: str | None = None, *, home: HomeLike = None) -> str:
    """Make a collection from what `Collection.backup` wrote; its name.

    Args:
        file: The backup. Every digest in it is checked before the collection gets its name.
        name: Another name than the one it had.
        home: Where to make it; see `semsearch.home.Home.of`.

    Raises:
        DataError: The file is no backup, or was damaged or cut short.
        CollectionExists: There is a collection of that name.
    """
    place = Home.of(home)
    if not isinstance(place, Restoring):
        raise UsageError(f"{place.location} is restored with its own tools, not from a file of semsearch's.")
    return place.restore(Path(check_path(file, "the backup")), name)
