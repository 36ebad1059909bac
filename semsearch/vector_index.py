"""What an index backend is: a class that builds and searches, and says of itself what others must know of it.

A backend only translates between numpy and its library. Additions, deletions, text and true scores are the
collection's. Built-in and third-party backends are found by the entry point group `semsearch.indexes`, whose values are
classes with the members of `VectorIndex`; each is held against them when it is loaded (`faults`), and against their
meaning by `semsearch.testing.IndexContract`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import MissingDependency
from semsearch.options import Options
from semsearch.types import Keys, Metric, Neighbors, Vectors


@dataclass(frozen=True, slots=True)
class Library:
    """What a backend stands on.

    Attributes:
        module: What is imported, when it is first needed, such as "usearch.index". Whether it is installed is told by
            its first part, without importing that.
        packages: Those that may bring it, by the names they are installed under; none: one named as that part.
        install: What pip is told to install, if it is not the first of the packages.
    """

    module: str
    packages: tuple[str, ...] = ()
    install: str = ""

    @property
    def _root(self) -> str:
        return self.module.partition(".")[0]

    @property
    def installed(self) -> bool:
        """Whether it is there, as far as can be told without importing it."""
        try:
            return importlib.util.find_spec(self._root) is not None
        except (ImportError, ValueError):
            return False

    @property
    def versions(self) -> dict[str, str]:
        """The version of each of its packages that is installed."""
        found = {}
        for package in self.packages or (self._root,):
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    @property
    def advice(self) -> str:
        """The line to type that installs it."""
        wanted = self.install or (self.packages or (self._root,))[0]
        return f"pip install '{wanted}'" if "[" in wanted else f"pip install {wanted}"

    def load(self) -> Any:
        """The module; where it can't be imported, an error with the line to type."""
        try:
            return import_module(self.module)
        except ImportError as error:
            raise MissingDependency(
                f"the library '{self.module}' is needed for this index and can't be imported ({error}). "
                f"Install it with: {self.advice}"
            ) from error


@dataclass(frozen=True, slots=True)
class Knob:
    """The option by which a search trades speed for recall.

    Attributes:
        option: Its name; one that can be tuned.
        ladder: Its values worth trying for so many rows, in rising order of recall.
        wider: Another tunable option, which lifts the recall that the knob can reach, if there is one.
    """

    option: str
    ladder: Callable[[int], Sequence[int]]
    wider: str | None = None


class Baseline(NamedTuple):
    """A library called by hand, as its own documentation has it."""

    turn: Callable[[int], object]  # sets the knob
    search: Callable[[Vectors, int], object]  # queries (q, dim) and k, to whatever the library gives


class VectorIndex(Protocol):
    """A search structure over vectors that were there when it was built; it never changes afterwards.

    Attributes:
        Params: Its options, with defaults.
        library: What it stands on; its version is kept with every index.
        metrics: Those that it can compare by.
        knob: What trades speed for recall; None if nothing does.
        exact: Whether keys and scores are those of `semsearch.vectors.brute_force`, so that no recall need be measured.
        filterable: Whether it is `Filterable`.
        variants: Options worth comparing in a benchmark; the first are all that a quick one tries.
    """

    Params: ClassVar[type[Options]]
    library: ClassVar[Library]
    metrics: ClassVar[frozenset[Metric]]
    knob: ClassVar[Knob | None]
    exact: ClassVar[bool]
    filterable: ClassVar[bool]
    variants: ClassVar[Sequence[Mapping[str, Any]]]

    @classmethod
    def bytes_per_row(cls, dim: int, params: Any) -> float:
        """About what a row of `dim` components adds to its files, in thousands of rows: within a factor of two."""
        ...

    @classmethod
    def baseline(cls, vectors: Vectors, metric: Metric, params: Any, threads: int) -> Baseline | None:
        """The same over `vectors` `(n, dim)` by the library alone, which a benchmark compares it with, if anything.

        It is built with the `params` and searches on `threads`, so that what differs is what semsearch adds.
        """
        ...

    @classmethod
    def build(cls, keys: Keys, vectors: Vectors, metric: Metric, params: Any) -> Self:
        """An index of `vectors` `(n, dim)` under `keys` `(n,)`; neither is changed.

        `vectors` may be mapped, or a `semsearch.vectors.ChosenRows`, which numpy makes an array of where it is asked.
        """
        ...

    def search(self, queries: Vectors, k: int) -> Neighbors:
        """The `k` best keys for each of `queries` `(q, dim)`. Safe to call from several threads."""
        ...

    def tune(self, params: Any) -> None:
        """Take over the search-time options of `params`; build-time options stay as built."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs into an existing, empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: Any) -> Self:
        """The index that `save` wrote; `keys` and `vectors` are those it was built from, as `build` takes them."""
        ...

    def __len__(self) -> int:
        """Vectors in the index."""
        ...


@runtime_checkable
class Filterable(Protocol):
    """A `VectorIndex` that can search among some of its rows only."""

    def search_allowed(self, queries: Vectors, k: int, allowed: NDArray[np.bool_]) -> Neighbors:
        """As `search`, among the rows `i` of the build where `allowed[i]`, `allowed` being `(n,)`."""
        ...


@runtime_checkable
class Verifiable(Protocol):
    """A `VectorIndex` that can look files through which somebody else wrote.

    One that can't is only loaded where it was built.
    """

    @classmethod
    def verify(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: Any) -> None:
        """Raise ValueError unless `load` with the same arguments, and every search, stays within the files in `folder`.

        Whoever wrote them knows every digest: nothing of them is true until it was looked at, and no library that
        trusts its files may read them here.
        """
        ...


FACTS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "Params": (
        "a dataclass that derives from semsearch.options.Options",
        lambda value: isinstance(value, type) and issubclass(value, Options),
    ),
    "library": ("a Library", lambda value: isinstance(value, Library)),
    "metrics": (
        "a frozenset of Metric, not empty",
        lambda value: isinstance(value, frozenset) and bool(value) and all(isinstance(one, Metric) for one in value),
    ),
    "knob": ("a Knob or None", lambda value: value is None or isinstance(value, Knob)),
    "exact": ("True or False", lambda value: isinstance(value, bool)),
    "filterable": ("True or False", lambda value: isinstance(value, bool)),
    "variants": (
        "a sequence of mappings, not empty",
        lambda value: isinstance(value, Sequence) and bool(value) and all(isinstance(one, Mapping) for one in value),
    ),
}
REQUIRED_METHODS = ("bytes_per_row", "baseline", "build", "search", "tune", "save", "load", "__len__")


def faults(kind: object) -> list[str]:
    """What keeps an object from being a `VectorIndex` class, each thing in half a sentence; none if it is one."""
    if not isinstance(kind, type):
        return ["it is no class"]
    found = [fault for name, (wanted, fits) in FACTS.items() if (fault := _fact_fault(kind, name, wanted, fits))]
    found += [fault for name in REQUIRED_METHODS if (fault := _method_fault(kind, name))]
    return found or _contradictions(kind)


def _fact_fault(kind: type, name: str, wanted: str, fits: Callable[[Any], bool]) -> str:
    value = inspect.getattr_static(kind, name, faults)  # which no fact can be
    if value is faults:
        return f"{name} is missing ({wanted})"
    return "" if fits(value) else f"{name} must be {wanted}, not {value!r:.60}"


def _method_fault(kind: type, name: str) -> str:
    own, ours = inspect.getattr_static(kind, name, None), vars(VectorIndex)[name]
    if own is None or own is ours:
        return f"the method {name} is missing"
    if isinstance(ours, classmethod) and not isinstance(own, classmethod | staticmethod):
        return f"{name} must be a classmethod"
    return "" if callable(getattr(kind, name)) else f"{name} must be a method"


def _contradictions(kind: Any) -> list[str]:
    """What facts, each of its kind, say against one another."""
    found = []
    tunable = kind.Params.tunable()
    named = [] if kind.knob is None else [("option", kind.knob.option), ("wider", kind.knob.wider)]
    found += [
        f"knob.{what} names '{option}', which is no tunable option of Params"
        for what, option in named
        if option is not None and option not in tunable
    ]
    known = {*kind.Params.__dataclass_fields__}
    found += [
        f"variants name the option '{option}', which Params hasn't"
        for option in sorted({option for variant in kind.variants for option in variant} - known)
    ]
    if kind.filterable != callable(getattr(kind, "search_allowed", None)):
        found.append(
            "filterable is True, but the method search_allowed is missing"
            if kind.filterable
            else "filterable is False, but there is a method search_allowed"
        )
    return found
