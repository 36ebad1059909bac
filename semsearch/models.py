"""Encoders and rerankers by name, opened once a process and shared by all collections that use them.

What decides a model is its name, its revision and what it computes on; of one in a folder or file also when its files
were written, so that a model trained anew in the same place is opened anew. Models are held weakly: one goes with the
last collection that uses it, and its memory with it. Two threads that ask for the same model wait for one opening;
different models are opened side by side. A forked child opens its own, or takes what its parent opened for it (`held`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from semsearch.hardware import ANYWHERE, Compute
from semsearch.types import Encoder, Reranker

if TYPE_CHECKING:
    from semsearch.encoder.own import NamedEncoder
    from semsearch.encoder.sparse_encoder import SparseTextEncoder

Model = TypeVar("Model")
OpenModel: TypeAlias = Callable[[str, "str | None", Compute], Model]


def encoder(name: str, compute: Compute = ANYWHERE, *, revision: str | None = None) -> NamedEncoder:
    """The encoder of that name: a server's (`openai-compatible:URL#model`), or what `semsearch.load_encoder` opens.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
    """
    return _encoders(name, revision, compute)


def reranker(name: str, compute: Compute = ANYWHERE, *, revision: str | None = None) -> Reranker:
    """The reranker that `semsearch.load_reranker` opens, on the first device of several.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
    """
    return _rerankers(name, revision, compute.on_one_device)


def sparse_encoder(name: str, compute: Compute = ANYWHERE, *, revision: str | None = None) -> SparseTextEncoder:
    """The sparse encoder that `semsearch.load_sparse_encoder` opens, on the first device of several.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
    """
    return _sparse_encoders(name, revision, compute.on_one_device)


def check_encoder(name: str) -> None:
    """Raise `ModelError` where no encoder is of that name, by its files without their weights."""
    from semsearch.encoder import checkpoint, resolve
    from semsearch.encoder.load import named_towers
    from semsearch.encoder.remote import REMOTE_PREFIX

    if not name.startswith(REMOTE_PREFIX):  # a server may come later
        for one in named_towers(name) or (name,):
            folder = resolve.find(one).folder
            with checkpoint.understood(folder):
                checkpoint.read(folder)


def check_sparse_encoder(name: str) -> None:
    """Raise `ModelError` where no sparse encoder is of that name, by its files without their weights."""
    from semsearch.encoder import checkpoint, resolve

    folder = resolve.find(name).folder
    with checkpoint.understood(folder):
        checkpoint.read(folder, "sparse")


def check_reranker(name: str) -> None:
    """Raise `ModelError` where no reranker is of that name, by its files without their weights."""
    from semsearch.reranker.load import layout_of

    layout_of(name)


def described_encoder(
    model: str | Encoder, revision: str | None = None, compute: Compute = ANYWHERE
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder that a person names or gives, opened, and what a collection remembers of it, as JSON values."""
    from semsearch.encoder.own import encoder_from
    from semsearch.encoder.remote import trust_named
    from semsearch.encoder.text_encoder import TextEncoder

    said = model if isinstance(model, str) else getattr(model, "name", None)
    if isinstance(said, str):
        trust_named(said)
    if isinstance(model, str):
        opened = encoder(model, compute, revision=revision)
        told: dict[str, Any] = {"name": opened.name, "revision": revision}
    else:
        own = encoder_from(model)
        told = {"name": None, "class": type(model).__qualname__}
        opened = own  # type: ignore[assignment]  # has all but perhaps the name, which is not asked for
    facts = opened.description() if isinstance(opened, TextEncoder) else {}
    return opened, {**told, "fingerprint": opened.fingerprint, **facts}


class _Shared(Generic[Model]):
    """Models of one kind, by what decides them."""

    def __init__(self, opener: OpenModel[Model]) -> None:
        self._opener = opener
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._models: WeakValueDictionary[Any, Model] = WeakValueDictionary()
        self._turns: WeakValueDictionary[Any, _Turn] = WeakValueDictionary()

    def __call__(self, name: str, revision: str | None, compute: Compute) -> Model:
        """The model; opened here where nobody has it."""
        key = (*_place(name), revision, compute.device or "auto", compute.dtype or "auto", compute.batch_tokens)
        with self._lock:
            turn = self._turns.get(key)
            if turn is None:
                turn = self._turns[key] = _Turn()
        with turn.lock:
            with self._lock:
                model = self._models.get(key)
            if model is None:
                model = self._opener(name, revision, compute)
                with self._lock:
                    self._models[key] = model
        return model


class _Turn:
    """Who opens a model holds its lock; it goes with the last who waits."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # opening one may ask for the same again


def _place(name: str) -> tuple[str, tuple[tuple[str, int, int], ...]]:
    """A name, or the path it is with the times and sizes of what lies there."""
    kind, _, rest = name.rpartition("maxsim:")
    if kind == "" and rest != name:  # a kind of reranker, and then the model
        place, known = _place(rest)
        return f"maxsim:{place}", known
    path = Path(name).expanduser()
    try:
        if not path.exists():
            return name, ()
        path = path.resolve()
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        facts = [(str(file), file.stat()) for file in files if file.is_file()]
        return str(path), tuple((file, fact.st_mtime_ns, fact.st_size) for file, fact in facts)
    except (OSError, ValueError):  # what can't be looked at is told by who opens it
        return name, ()


def _load_reranker(name: str, revision: str | None, compute: Compute) -> Reranker:
    from semsearch.reranker.load import load_reranker

    return load_reranker(
        name, device=compute.device, dtype=compute.dtype, batch_tokens=compute.batch_tokens, revision=revision
    )


def _open_encoder(name: str, revision: str | None, compute: Compute) -> NamedEncoder:
    from semsearch.encoder.own import named_encoder

    wanted = (_place(name)[0], revision, compute)
    model = held(*wanted) if held is not None else None
    if model is None:
        model = named_encoder(name, revision, compute)
    opened[wanted] = None
    return model


def _load_sparse(name: str, revision: str | None, compute: Compute) -> SparseTextEncoder:
    from semsearch.encoder.sparse_encoder import load_sparse_encoder

    return load_sparse_encoder(
        name, device=compute.device, dtype=compute.dtype, batch_tokens=compute.batch_tokens, revision=revision
    )


opened: dict[tuple[str, str | None, Compute], None] = {}  # encoders that this process opened, by name or whole path
held: Callable[[str, str | None, Compute], NamedEncoder | None] | None = None  # what a process held ready for this one

_encoders: _Shared[NamedEncoder] = _Shared(_open_encoder)
_rerankers: _Shared[Reranker] = _Shared(_load_reranker)
_sparse_encoders: _Shared[SparseTextEncoder] = _Shared(_load_sparse)
