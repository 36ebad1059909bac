"""A collection of a server whose index is chosen, and which is looked after, from here."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from semsearch import engine_wire as ew
from semsearch.engine import Compacted, Encode, IndexSpec, Problem, Settings
from semsearch.errors import StorageError, UsageError
from semsearch.remote.engine import RemoteEngine
from semsearch.search.recall import Certificate, Synthesis
from semsearch.types import Vectors

Questions = Vectors | Synthesis | None


class LookedAfterEngine(RemoteEngine):
    """It is `Indexed` and `Maintained`, too: each is done at the server, with the model of the collection."""

    # Index

    def rebuild(self, spec: IndexSpec, queries: Questions) -> Certificate | None:
        """See `Indexed.rebuild`."""
        said = self._measured(spec, queries, "rebuild")
        return None if said is None else ew.read_certificate(said)

    def tune(self, spec: IndexSpec, queries: Questions) -> Certificate:
        """See `Indexed.tune`."""
        return ew.read_certificate(self._measured(spec, queries, "tune"))

    def kept_queries(self) -> list[str]:
        """See `Indexed.kept_queries`."""
        return list(map(str, self.ask("kept_queries")))

    def keep_queries(self, queries: Sequence[str]) -> None:
        """See `Indexed.keep_queries`."""
        self.write("keep_queries", queries=list(queries))

    def load_index(self) -> None:
        """See `Indexed.load_index`; it is loaded at the server."""
        self.work("load_index", {})

    def index_info(self) -> dict[str, Any]:
        """See `Indexed.index_info`."""
        return dict(self.ask("index_info"))

    def _measured(self, spec: IndexSpec, queries: Questions, what: str) -> Any:
        answers = {"queries": _made(queries)} if callable(queries) else {}
        return self.work(what, answers, spec=asdict(spec), queries=_said(queries))

    # Maintenance

    def maintain(self, queries: Callable[[], Questions]) -> None:
        """See `Maintained.maintain`: the server does that by itself, behind all that is written to it."""
        self.check_open()

    def check(self, *, deep: bool = False) -> list[Problem]:
        """See `Maintained.check`."""
        return [Problem(*map(str, one)) for one in self.work("check", {}, deep=deep)]

    def repair(self, encode: Encode | None, queries: Callable[[], Questions]) -> list[str]:
        """See `Maintained.repair`."""
        asked = queries()
        answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        if encode is not None:
            answers["encode"] = _encoded(encode)
        if callable(asked):
            answers["queries"] = _made(asked)
        return list(map(str, self.work("repair", answers, encodes=encode is not None, queries=_said(asked))))

    def compact(self) -> Compacted:
        """See `Maintained.compact`."""
        rows, before, after, erased = self.work("compact", {})
        return Compacted(int(rows), int(before), int(after), erased is True)

    def backup(self, file: Path) -> int:
        """See `BackedUp.backup`: the file comes from the server, and is made there first."""
        if not file.absolute().parent.is_dir():
            raise UsageError(f"there is no folder {file.absolute().parent} to write the backup into.")
        partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.partial")
        self.check_open()
        try:
            with partial.open("xb") as written:
                self.connection.read_into(self.path("backup"), written)
                written.flush()
                os.fsync(written.fileno())
            size = partial.stat().st_size
            partial.replace(file)
        except OSError as error:
            raise StorageError(f"writing {file}: {error.strerror or error}.") from error
        finally:
            partial.unlink(missing_ok=True)
        return size

    def reencode(
        self, target: Settings, dim: int, encode: Encode, progress: Callable[[int], None] | None = None
    ) -> int:
        """See `Maintained.reencode`; the server encodes where the model is one of its own."""
        return int(self.work("reencode", {"encode": _encoded(encode)}, progress, target=dict(target), dim=dim))


def _said(queries: Questions) -> Any:
    if queries is None or callable(queries):
        return None if queries is None else "made"
    return [ew.pack(np.asarray(queries, dtype=np.float32)), int(queries.shape[1])]


def _made(queries: Synthesis) -> Callable[[Mapping[str, Any]], Any]:
    def answer(question: Mapping[str, Any]) -> Any:
        vectors, keys = queries(int(question["queries"]), np.random.default_rng(int(question["seed"])))
        return [ew.pack(np.asarray(vectors, dtype=np.float32)), int(vectors.shape[1]), ew.pack(keys)]

    return answer


def _encoded(encode: Encode) -> Callable[[Mapping[str, Any]], Any]:
    def answer(question: Mapping[str, Any]) -> Any:
        return [ew.entry_json(entry) for entry in encode([ew.read_record(record) for record in question["encode"]])]

    return answer
