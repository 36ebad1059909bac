"""Every error that semsearch raises on purpose, one tree.

::

    SemsearchError                  base; `exit_code` says how the command line ends
    ├── UsageError              2   the caller asked for something that can't be (k < 1, unknown option)
    │   ├── DocumentNotFound    1   there is no document of that id
    │   ├── MissingDependency   2   an optional library is not installed; the message has the line to type
    │   ├── Untrusted           2   a home, a file of defaults or an address that nobody here has said may be used
    │   ├── FilterError         2   a `where` that can't be understood; says at which place
    │   └── CollectionClosed    2   `close()` was called; open it again
    ├── DataError               3   a record, file or vector that can't be used; says which and where
    │   ├── EncodingFailed      3   the encoder gave NaN or infinite output for a text that is named
    │   └── DimensionMismatch   3   vectors of the wrong length
    ├── ModelError              2   a checkpoint can't be found, or can't be opened faithfully
    ├── CollectionError         4   the collection is missing, damaged, or made by another model
    │   ├── CollectionNotFound  4
    │   ├── CollectionExists    4
    │   ├── CollectionDamaged   4   the truth on disk is broken; says what repairs it
    │   ├── DocumentChanged     4   a hit's document is not what the search found any more: search again
    │   ├── ModelMismatch       4   another model than the one the collection was made with
    │   └── ReadOnly            4   the collection can be searched here but not written
    ├── IndexDamaged            4   an index file is not what its manifest says (search goes on exactly)
    │   └── IndexForeign        4   built elsewhere, by a backend that can't tell whether its files are safe to read
    ├── StorageError            4   the disk refused: full, read-only, permission
    │   └── EngineUnreachable   4   the database that keeps the collection can't be reached, or does not let us in
    └── CollectionLocked        5   another process is writing, or too many read at once: try again

Messages are sentences: what was wrong, the value seen, the value expected, what to do next.
Anything that is not a `SemsearchError` is a bug in semsearch and keeps its traceback.
"""

from __future__ import annotations

import errno

SCARCE = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})  # what is refused for want of them is there, and whole


class SemsearchError(Exception):
    """Base of all errors raised on purpose; the message is meant for a person."""

    exit_code = 1


class UsageError(SemsearchError, ValueError):
    """The caller asked for something that can't be done; nothing was changed."""

    exit_code = 2


class DocumentNotFound(UsageError):
    """There is no document of that id."""

    exit_code = 1


class MissingDependency(UsageError, ImportError):
    """An optional library is needed and not installed."""


class Untrusted(UsageError):
    """A home, a file of defaults or an address came from elsewhere, and nobody here has said that it may be used."""


class CollectionClosed(UsageError):
    """The collection was closed, and answers nothing more."""


class DataError(SemsearchError, ValueError):
    """A record, a file or a vector can't be used."""

    exit_code = 3


class EncodingFailed(DataError):
    """The encoder gave NaN or infinite numbers for a text."""


class DimensionMismatch(DataError):
    """Vectors of another length than the index or collection holds."""


class ModelError(SemsearchError):
    """A checkpoint can't be found or can't be opened faithfully."""

    exit_code = 2


class FilterError(UsageError):
    """A metadata filter can't be understood."""


class CollectionError(SemsearchError):
    """The collection can't be used as asked."""

    exit_code = 4


class CollectionNotFound(CollectionError):
    """No collection of that name in the home that was looked in."""


class CollectionExists(CollectionError):
    """A collection of that name is there already."""


class CollectionDamaged(CollectionError):
    """The database or the vector file is broken."""


class DocumentChanged(CollectionError):
    """A document was changed or removed between the search that found it and the reading of its text."""


class ModelMismatch(CollectionError):
    """The collection was made with another model."""


class ReadOnly(CollectionError):
    """The collection can be searched, but not written, where it lies."""


class IndexDamaged(SemsearchError):
    """An index file differs from what its manifest says; it was not given to its library."""

    exit_code = 4


class IndexForeign(IndexDamaged):
    """An index was built elsewhere, and nobody can tell whether its files are safe to read."""


class StorageError(SemsearchError):
    """The file system refused a write."""

    exit_code = 4


class EngineUnreachable(StorageError):
    """The database that keeps a collection can't be reached, or does not let this role in."""


class CollectionLocked(SemsearchError):
    """Another writer holds the collection, or too many readers do: nothing is wrong, and it will be free again."""

    exit_code = 5


def is_scarcity(error: BaseException) -> bool:
    """Whether memory or open files were wanting, so that the same may do in a moment."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in SCARCE)
