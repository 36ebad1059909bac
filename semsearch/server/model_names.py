"""What clients call the models that a server was started with: one by its path goes by the last part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from semsearch.encoder.resolve import named_among

WITHOUT_SPARSE = "none"  # instead of the name of a sparse model
_MODEL_KINDS = ("images:", "maxsim:")  # that stand in front of a path


def shown_name(name: str) -> str:
    """A model's name without the path of this machine, if it is one."""
    kind = next((kind for kind in _MODEL_KINDS if name.startswith(kind)), "")
    bare = name.removeprefix(kind)
    here = PurePath(bare).is_absolute() or bare.startswith((".", "~")) or Path(bare).exists()
    return kind + PurePath(bare).name if here else name


def meant_among(asked: str, there: Sequence[str], owner: str | None) -> str | None:
    """The one of several models that a client means, by its name or as it is shown; None if it is none of them.

    `owner` is whose bare names are on the hub.
    """
    if asked in there:
        return asked
    shown = [name for name in there if shown_name(name) == asked]
    if len(shown) == 1:
        return shown[0]
    return None if owner is None else named_among(asked, there, owner)


def known_sentence(there: Sequence[str], otherwise: str) -> str:
    """Which models there are, in a sentence; or that there is none."""
    return f"It has {', '.join(map(shown_name, there))}." if there else otherwise


def described_shortly(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a collection keeps of its model, under the name that is shown."""
    return {**described, "name": shown_name(described["name"])} if described.get("name") else dict(described)
