"""Index backends and corpus readers by name, found through entry points; the built-ins come the same way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from semsearch.errors import UsageError
from semsearch.types import CorpusReader

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


def names(group: str) -> list[str]:
    """The registered names of a group, sorted."""
    return sorted(_registered(group))


def load(group: str, name: str) -> Any:
    """The object registered as `name`; an unknown name is an error that lists the known ones."""
    found = _registered(group)
    if name not in found:
        kind = group.rpartition(".")[2]
        raise UsageError(f"'{name}' is not among the known {kind}: {', '.join(sorted(found))}.")
    return found[name].load()


def index_backend(name: str) -> Any:
    """The `VectorIndex` class registered as `name`."""
    return load("semsearch.indexes", name)


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
