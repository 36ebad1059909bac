"""What a program may hand over: wrong kinds of arguments are a `UsageError` before anything is done with them."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, SupportsFloat, cast

from semsearch.errors import UsageError


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return f"the text {value!r:.40}"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return f"of type {type(value).__name__}"


def named_kind(kind: type) -> str:
    """The name of a type with its article: "an int", "a list"."""
    return f"a{'n' if kind.__name__[0].lower() in 'aeiou' else ''} {kind.__name__}"


def check_list(values: object, what: str) -> None:
    """Refuse what can't be gone through, a single text, and what gives its names instead of its values.

    `what` begins the sentence: "get takes a list of ids".
    """
    if isinstance(values, str | bytes):
        raise UsageError(f"{what}, not the text {values!r:.60}: write [{values!r:.60}].")
    if isinstance(values, Mapping):
        raise UsageError(f"{what}, not an object: write list(….values()), or list(…) for its names.")
    if hasattr(values, "columns") and hasattr(values, "shape"):  # of pandas or polars
        raise UsageError(f"{what}, not a frame: give one of its columns.")
    if getattr(values, "shape", None) == () or (
        not isinstance(values, Iterable) and not hasattr(type(values), "__getitem__")
    ):
        raise UsageError(f"{what}, not {kind_of(values)}.")


def each_of(values: object, what: str) -> Iterable[Any]:
    """What can be gone through, as it comes; else as `check_list`."""
    check_list(values, what)
    to_list = getattr(values, "to_pylist", None)  # of pyarrow, whose own items are no values of Python's
    return cast("Iterable[Any]", values if to_list is None else to_list())


def as_list(values: object, what: str) -> list[Any]:
    """All of them in a list, which a generator gives only once; else as `check_list`."""
    return list(each_of(values, what))


def as_id(value: object) -> str:
    """An id as it is stored, where 4 is "4".

    Raises:
        UsageError: It is neither text nor a whole number.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool) and type(value).__name__ != "timedelta64":
        return str(int(value))
    raise UsageError(f"an id is a text or a whole number, not {kind_of(value)}.")


def as_ids(values: object, what: str) -> list[str]:
    """Ids in a list, each as it is stored; else as `check_list`."""
    return list(map(as_id, as_list(values, what)))


def check_mapping(values: object, what: str) -> None:
    """Refuse what has no values by names."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{what} must be a mapping of names to values, not {kind_of(values)}.")
    for name in values:
        if not isinstance(name, str):
            raise UsageError(f"{what} must be a mapping of names to values, and {name!r:.60} is no name.")


def check_number(value: object, what: str) -> float:
    """`value` as a float; NaN, which compares with nothing, is none."""
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise UsageError(f"{what} must be a number, not {value!r:.60}.")
    return float(cast("SupportsFloat", value))


def check_whole(value: object, what: str, least: int = 1) -> int:
    """`value` as an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"{what} must be a whole number, not {value!r:.60}.")
    if value < least:
        raise UsageError(f"{what} must be at least {least}, not {value}.")
    return int(value)


def check_truth(value: object, what: str) -> bool:
    """`value` as a bool, which texts such as "no" are not."""
    if type(value).__name__ not in ("bool", "bool_"):  # of numpy, too
        raise UsageError(f"{what} must be True or False, not {value!r:.60}.")
    return bool(value)


def check_choice(value: object, what: str, choices: Collection[str]) -> str:
    """`value`, which is one of these texts: an array would be compared item by item, and a list is in no set."""
    if isinstance(value, str) and value in choices:
        return str(value)
    said = f"{value!r:.60}" if isinstance(value, str) else kind_of(value)
    raise UsageError(f"{what} must be one of {', '.join(choices)}, not {said}.")


def check_progress(value: object) -> None:
    """Refuse what can't be called with how far the work is."""
    if value is not None and not callable(value):
        raise UsageError(f"progress must be a function to call with how far the work is, or None, not {value!r:.60}.")


def check_path(value: object, what: str) -> str:
    """`value` as the path of a file or folder."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise UsageError(f"{what} must be a path, as text or a pathlib.Path, not {kind_of(value)}.")
    if not path:  # which would be the folder one is in
        raise UsageError(f"{what} must be a path, and is empty.")
    return path
