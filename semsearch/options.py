"""Options of the exchangeable parts: frozen dataclasses whose fields know their range, read from `name=value` text.

>>> @dataclass(frozen=True)
... class Params(Options):
...     ef: int = option(64, "candidates looked at in a search", low=1, tunable=True)
>>> Params.parse({"ef": "200"}, "index 'hnsw'")
Params(ef=200)
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints

from semsearch.errors import UsageError


def option(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    tunable: bool = False,
) -> Any:
    """A dataclass field with what it means, its range, and whether it can change after the build."""
    facts = {"about": about, "low": low, "high": high, "choices": tuple(choices), "tunable": tunable}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True)
class Options:
    """Base of a part's options: every value is checked when an instance is made."""

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _plain(kinds[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            _check(field, kinds[field.name], value)

    @classmethod
    def parse(cls, given: Mapping[str, object], owner: str) -> Self:
        """Options from a mapping whose values may be text; `owner` ("index 'hnsw'") is named in errors."""
        kinds = get_type_hints(cls)
        known = {field.name: field for field in dataclasses.fields(cls)}
        values = {}
        for name, value in given.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                listed = "; ".join(f"{key} ({field.metadata['about']})" for key, field in known.items()) or "none"
                raise UsageError(f"{owner} has no option '{name}'.{hint} It has: {listed}.")
            values[name] = _from_text(name, kinds[name], value) if isinstance(value, str) else value
        return cls(**values)

    @classmethod
    def tunable(cls) -> list[str]:
        """Names of the options that can change after the build."""
        return [field.name for field in dataclasses.fields(cls) if field.metadata["tunable"]]

    def tuned(self, other: Self) -> Self:
        """These build options with the search-time options of `other`."""
        return dataclasses.replace(self, **{name: getattr(other, name) for name in self.tunable()})

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        return dataclasses.asdict(self)


def _from_text(name: str, kind: Any, text: str) -> object:
    """A text as a value of the kind; what is no number and no truth value stays text."""
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UsageError(f"the option '{name}' must be {wanted}, not '{text}'.") from None


def _plain(kind: Any, value: object) -> object:
    """A list, or one text, where a tuple is wanted, and a mapping of any class, as they come from JSON and callers."""
    if get_origin(kind) is tuple and isinstance(value, str | list):
        return (value,) if isinstance(value, str) else tuple(value)
    return dict(value) if isinstance(value, Mapping) else value


def _fits(kind: Any, value: object) -> bool:
    """Whether a value is of the kind: plain, `X | None`, `tuple[X, ...]` or `Mapping[str, X]`."""
    inner = get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(inner[0], one) for one in value)
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(inner[0], key) and _fits(inner[1], one) for key, one in value.items()
        )
    if inner:
        return any(_fits(one, value) for one in inner)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _check(field: dataclasses.Field[Any], kind: Any, value: object) -> None:
    name, facts = field.name, field.metadata
    if not _fits(kind, value):
        described = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
        raise UsageError(f"the option '{name}' must be of type {described}, not {value!r}.")
    if value is None:
        return
    if facts["choices"] and value not in facts["choices"]:
        raise UsageError(f"the option '{name}' must be one of {', '.join(facts['choices'])}, not {value!r}.")
    if isinstance(value, int | float):
        low, high = facts["low"], facts["high"]
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            bounds = " and ".join(
                f"at {side} {end}" for side, end in (("least", low), ("most", high)) if end is not None
            )
            raise UsageError(f"the option '{name}' must be {bounds or 'finite'}, not {value}.")
