"""Index backends and corpus readers by name, found through entry points; the built-ins come the same way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from semsearch.arguments import check_mapping, kind_of
from semsearch.errors import MissingDependency, UsageError
from semsearch.types import CorpusReader, Metric

if TYPE_CHECKING:
    from semsearch.vector_index import VectorIndex

READER_MEMBERS = ("Options", "suffixes", "forgiving", "recognises", "read")


@cache  # looking through all installed packages takes milliseconds
def _registered(group: str) -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=group)}
    if not found:
        raise UsageError(
            f"no plug-ins are registered under '{group}': semsearch itself is not installed in this Python. "
            "Install it with 'pip install semsearch' (in a checkout: 'pip install -e .')."
        )
    return found


def look_again() -> None:
    """Forget what is installed: this process may find other packages than when it looked."""
    _registered.cache_clear()


def names(group: str) -> list[str]:
    """The registered names of a group, sorted."""
    return sorted(_registered(group))


def load(group: str, name: str) -> Any:
    """The object registered as `name`; an unknown name is an error that lists the known ones."""
    found = _registered(group)
    kind = group.rpartition(".")[2]
    if not isinstance(name, str):
        raise UsageError(f"{kind} have names, and {kind_of(name)} is none: there are {', '.join(sorted(found))}.")
    if name not in found:
        raise UsageError(f"'{name}' is not among the known {kind}: {', '.join(sorted(found))}.")
    try:
        return found[name].load()
    except MissingDependency:  # which says what to type
        raise
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"'{name}' can't be loaded: its entry point '{found[name].value}'{_package(found[name])} fails ({error})."
        ) from error


BUILT_IN = {  # found without a look at all installed packages, since they are opened daily
    "file": "semsearch.local.home:LocalHome",
    "memory": "semsearch.testing.memory:MemoryHome",
    **dict.fromkeys(("http", "https", "unix"), "semsearch.remote.home:RemoteHome"),
    **dict.fromkeys(("postgresql", "postgres"), "semsearch.postgres.home:PostgresHome"),
}
EXTRAS = {"semsearch.postgres.home": "postgres"}  # of semsearch, that bring what an engine of its own needs


def engine_home(scheme: str) -> Any:
    """The `Home` class of the engine whose URLs begin with `scheme`.

    Raises:
        UsageError: There is none; lists the schemes that are installed.
        MissingDependency: Its library is not installed; has the line to type.
    """
    if scheme in BUILT_IN:
        module, _, name = BUILT_IN[scheme].partition(":")
        try:
            return getattr(import_module(module), name)
        except ImportError as error:
            if module not in EXTRAS or str(error.name).startswith("semsearch"):
                raise
            raise MissingDependency(
                f"the engine for '{scheme}://' needs {error.name or error}: pip install 'semsearch[{EXTRAS[module]}]'."
            ) from error
    found = _registered("semsearch.engines")
    if scheme not in found:
        raise UsageError(
            f"no engine is installed for '{scheme}://': there are {', '.join(sorted(found))}. A home is a folder or a "
            "URL; engines come as packages or extras of semsearch."
        )
    point = found[scheme]
    try:
        return point.load()
    except ImportError as error:
        extra = f"'semsearch[{','.join(point.extras)}]'" if point.extras else point.module.partition(".")[0]
        raise MissingDependency(
            f"the engine for '{scheme}://' needs {error.name or error}: pip install {extra}."
        ) from error


def _package(entry: EntryPoint) -> str:
    """Where an entry point comes from, for messages."""
    return f" of the package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""


def index_backend(name: str) -> type[VectorIndex]:
    """The class registered as `name`, which has all that a `VectorIndex` must have and say of itself."""
    from semsearch.vector_index import faults

    kind = load("semsearch.indexes", name)
    if found := faults(kind):
        entry = _registered("semsearch.indexes")[name]
        raise UsageError(
            f"the index '{name}' (entry point '{entry.value}'{_package(entry)}) is no VectorIndex as "
            f"semsearch.vector_index has it: {'; '.join(found)}."
        )
    backend: type[VectorIndex] = kind
    return backend


def check_metric(index: str, metric: Metric) -> None:
    """Raise for an index that does not compare as a collection does."""
    metrics = index_backend(index).metrics
    if metric not in metrics:
        raise UsageError(
            f"the index '{index}' compares by {', '.join(sorted(metrics))}, and this collection by {metric}: choose "
            "another with --index."
        )


def check_index(index: str, options: Mapping[str, Any]) -> None:
    """Refuse an index or options that nobody could build."""
    check_mapping(options, "options")
    if not isinstance(index, str) or index != "auto":
        index_backend(index).Params.parse(options, f"index '{index}'")
    elif options:
        raise UsageError(
            f"index 'auto' chooses its own options, so {', '.join(sorted(options))} can't be set: name the index that "
            "they are of, index='hnsw', say."
        )


def corpus_reader(name: str) -> type[CorpusReader]:
    """The corpus reader class registered as `name`.

    Raises:
        UsageError: There is none, or what is registered lacks a member of `CorpusReader`.
    """
    reader: type[CorpusReader] = load("semsearch.corpora", name)
    if missing := [member for member in READER_MEMBERS if not hasattr(reader, member)]:
        point = _registered("semsearch.corpora")[name].value
        raise UsageError(
            f"the corpus reader '{name}' ({point}) has no {' and no '.join(map(repr, missing))}: it does not do what "
            "semsearch.types.CorpusReader asks of a reader. Update the package that it comes with, or remove it."
        )
    return reader
