"""Index backends and corpus readers by name, found through entry points; the built-ins come the same way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from semsearch import vector_index
from semsearch.errors import MissingDependency, UsageError
from semsearch.vector_index import VectorIndex


@cache  # looking through all installed packages takes milliseconds
def _registered(group: str) -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=group)}
    if not found:
        raise UsageError(
            f"no plug-ins are registered under '{group}': semsearch itself is not installed in this Python. "
            "Install it with 'pip install semsearch' (in a checkout: 'pip install -e .')."
        )
    return found


def names(group: str) -> list[str]:
    """The registered names of a group, sorted."""
    return sorted(_registered(group))


def load(group: str, name: str) -> Any:
    """The object registered as `name`; an unknown name is an error that lists the known ones."""
    found = _registered(group)
    if name not in found:
        kind = group.rpartition(".")[2]
        raise UsageError(f"'{name}' is not among the known {kind}: {', '.join(sorted(found))}.")
    try:
        return found[name].load()
    except MissingDependency:  # which says what to type
        raise
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"'{name}' can't be loaded: its entry point '{found[name].value}'{_package(found[name])} fails ({error})."
        ) from error


def _package(entry: EntryPoint) -> str:
    """Where an entry point comes from, for messages."""
    return f" of the package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""


def index_backend(name: str) -> type[VectorIndex]:
    """The class registered as `name`, which has all that a `VectorIndex` must have and say of itself."""
    kind = load("semsearch.indexes", name)
    faults = vector_index.faults(kind)
    if faults:
        entry = _registered("semsearch.indexes")[name]
        raise UsageError(
            f"the index '{name}' (entry point '{entry.value}'{_package(entry)}) is no VectorIndex as "
            f"semsearch.vector_index has it: {'; '.join(faults)}."
        )
    backend: type[VectorIndex] = kind
    return backend


def corpus_reader(name: str) -> Any:
    """The corpus reader class registered as `name`."""
    return load("semsearch.corpora", name)
