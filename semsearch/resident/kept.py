"""What a resident process keeps for its children: above all models, those that numpy computes, as they are on the disk.

They are opened and nothing is encoded, so that no pool of threads is there when a child is forked. A child takes one
only while every file of the model is what it was when it was opened; else it opens the model itself, as ever.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from semsearch.encoder import resolve
from semsearch.encoder.own import NamedEncoder, light_encoder
from semsearch.encoder.remote import REMOTE_PREFIX
from semsearch.errors import ModelError
from semsearch.hardware import Compute

MOST_KEPT = 4

ModelFiles: TypeAlias = tuple[tuple[str, int, int, int, int], ...]


class WantedModel(NamedTuple):
    """What decides a model."""

    name: str
    revision: str | None
    compute: Compute


class Kept(NamedTuple):
    """A model, and what its files were when it was opened."""

    model: NamedEncoder
    stamp: ModelFiles


class KeptModels:
    """The last few that children asked for."""

    def __init__(self) -> None:
        self._kept: dict[WantedModel, Kept] = {}

    @property
    def names(self) -> list[str]:
        """What they are called, the last used at the end."""
        return [wanted.name for wanted in self._kept]

    def current(self, name: str, revision: str | None, compute: Compute) -> NamedEncoder | None:
        """The model, if it is kept and its files are what they were; where torch is there, it opens them all."""
        if "torch" in sys.modules:
            return None
        kept = self._kept.get(WantedModel(name, revision, compute))
        return kept.model if kept is not None and kept.stamp == _stamp(name, revision) else None

    def keep(self, wanted: WantedModel) -> bool:
        """Open a model, unless it is kept as it is; whether it is kept now."""
        stamp = _stamp(wanted.name, wanted.revision)
        kept = self._kept.pop(wanted, None)
        if stamp is None:
            return False
        if kept is None or kept.stamp != stamp:
            model = light_encoder(*wanted)
            if model is None or _stamp(wanted.name, wanted.revision) != stamp:
                return False
            kept = Kept(model, stamp)
        self._kept[wanted] = kept
        for oldest in list(self._kept)[:-MOST_KEPT]:
            del self._kept[oldest]
        return True


def _stamp(name: str, revision: str | None) -> ModelFiles | None:
    """Which files a model is made of now, and what they are; None where nobody can tell without fetching it."""
    if name.startswith(REMOTE_PREFIX):
        return None
    try:
        found = resolve.at_hand(name, revision)
        if found is None:
            return None
        files = sorted(path for path in found.folder.rglob("*") if path.is_file())
        facts = [(str(file), file.stat()) for file in files]
    except (OSError, ValueError, ModelError):
        return None
    return tuple((file, fact.st_mtime_ns, fact.st_ctime_ns, fact.st_size, fact.st_ino) for file, fact in facts)


@dataclass
class ResidentState:
    """What is known of a resident process, by its children too."""

    environment: bytes
    version: str
    started: float = field(default_factory=time.monotonic)
    requests: int = 0
    kept: KeptModels = field(default_factory=KeptModels)
    pid: int = field(default_factory=os.getpid)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        age = round(time.monotonic() - self.started, 1)
        told = {"pid": self.pid, "age": age, "version": self.version, "python": sys.executable}
        return {**told, "models": self.kept.names, "requests": self.requests}
