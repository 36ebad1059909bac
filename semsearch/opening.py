"""Making, opening and deleting collections by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from semsearch import plugins
from semsearch.chunking import splitter_for
from semsearch.collection import Collection
from semsearch.encoder.load import DEFAULT_MODEL
from semsearch.errors import CollectionExists, DimensionMismatch, StorageError, UsageError
from semsearch.hardware import Compute
from semsearch.home import check_name, find_collection, find_home
from semsearch.local.index.build import Wanted
from semsearch.local.store import platform
from semsearch.local.store.store import Store
from semsearch.models import described_encoder
from semsearch.types import Encoder, Metric
from semsearch.vectors import check_k


def create(
    name: str,
    *,
    encoder: str | Encoder | None = DEFAULT_MODEL,
    dim: int | None = None,
    metric: Metric | str | None = None,
    home: str | os.PathLike[str] | None = None,
    passages: bool = True,
    index: str = "auto",
    options: Mapping[str, Any] | None = None,
    recall: float | None = None,
    at: int = 10,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    batch_tokens: int | None = None,
) -> Collection:
    """Make a new, empty collection.

    Args:
        name: Letters, digits, `.`, `_`, `-`.
        encoder: A model's name or path, an object with the members of `Encoder`, or None for a collection that is
            filled with given vectors and searched by vectors alone.
        dim: Components of a vector; needed without an encoder, checked with one.
        metric: How vectors are compared; an encoder knows its own, without one it is cosine.
        home: The folder of the collections; see `semsearch.home.find_home`.
        passages: Split documents that are longer than the model's window; False gives one truncated vector each.
        index: The backend of the index, or "auto".
        options: The backend's options.
        recall: What the index must find of the true `at` nearest; see `Collection.reindex`.
        at: Neighbours that the recall is counted among.
        device: "cpu", "cuda", "cuda:1", "mps"; several, as in "cuda:0,cuda:1", share the encoding; None chooses.
        dtype: "float32" or "bfloat16" to compute in; None chooses what the hardware is fast in.
        revision: Of a model on the hub.
        batch_tokens: Tokens in a batch; None chooses.

    Raises:
        CollectionExists: There is one of that name.
        ModelError: The model can't be found or opened.
    """
    folder = find_home(home) / check_name(name)
    if folder.exists():
        raise CollectionExists(
            f"a collection '{name}' is there already, in {folder.parent}: open it, choose another name, or take it "
            f"away with 'semsearch drop {name}'."
        )
    if index != "auto":
        plugins.index_backend(index).Params.parse(options or {}, f"index '{index}'")
    loaded, described = (
        (None, None) if encoder is None else described_encoder(encoder, revision, Compute(device, dtype, batch_tokens))
    )
    if loaded is not None:
        if dim is not None and dim != loaded.dim:
            raise DimensionMismatch(f"the encoder gives vectors of {loaded.dim} components, not {dim}.")
        if metric is not None and Metric(metric) is not loaded.metric:
            raise UsageError(f"the encoder's vectors are compared by {loaded.metric}, not by {metric}.")
        dim, metric = loaded.dim, loaded.metric
    elif dim is None or dim < 1:
        raise UsageError("a collection without an encoder needs the number of components of its vectors: dim=384, say.")
    settings = {
        "encoder": described,
        "metric": str(_metric(metric)),
        "passages": passages,
        "splitting": splitter_for(loaded, passages).identity if loaded is not None else None,
        "index": asdict(Wanted(index, dict(options or {}), recall, check_k(at))),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    store = Store.create(folder, settings, dim)
    return Collection(store, loaded, device=device, dtype=dtype, batch_tokens=batch_tokens)


def open(
    name: str,
    *,
    home: str | os.PathLike[str] | None = None,
    encoder: Encoder | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
) -> Collection:
    """Open the collection `name`.

    Args:
        name: Its name.
        home: The folder of the collections; see `semsearch.home.find_home`.
        encoder: The object that the collection was made with, if it was made with an object rather than a name.
        device: As in `create`.
        dtype: As in `create`.
        batch_tokens: As in `create`.

    Raises:
        CollectionNotFound: There is none; says what there is, and where was looked.
        CollectionDamaged: Its files are broken; says what repairs them.
        ModelMismatch: `encoder` is not the one it was made with.
    """
    store = Store(find_collection(name, find_home(home)))
    collection = Collection(store, None, device=device, dtype=dtype, batch_tokens=batch_tokens)
    if encoder is not None:
        collection.take_encoder(encoder)
    return collection


def drop(name: str, *, home: str | os.PathLike[str] | None = None) -> None:
    """Delete the collection `name` with all its documents."""
    folder = find_collection(name, find_home(home))
    doomed = folder.with_name(f".{name}.dropped-{os.getpid()}")
    platform.rename(folder, doomed)  # at once gone under its name, even if deleting takes long or is cut short
    for left in folder.parent.glob(f".{name}.dropped-*"):  # and what a drop left that was killed
        if not platform.remove(left):
            raise StorageError(f"collection '{name}' is gone, but {left} can't be deleted: do it by hand.")


def _metric(metric: Metric | str | None) -> Metric:
    try:
        return Metric(metric or Metric.COSINE)
    except ValueError:
        raise UsageError(f"'{metric}' is no metric; they are {', '.join(Metric)}.") from None
