"""What a running server holds: the home and its open collections, models and their queues, threads, tasks and keys."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Any, TypeVar

from semsearch import models
from semsearch.collection import Collection
from semsearch.encoder.resolve import ENCODER_OWNER
from semsearch.engine import COPIED_FROM, SPARSE, Engine, Settings
from semsearch.errors import CollectionNotFound, SemsearchError
from semsearch.hardware import cores
from semsearch.home import Home
from semsearch.open_collections import OpenCollections
from semsearch.reranker.load import RERANKER_OWNER
from semsearch.server.batching import EncodingQueue, Queues
from semsearch.server.configuration import ServerOptions
from semsearch.server.errands import Errands
from semsearch.server.failures import Refusal, refusal_of, too_many, without_paths
from semsearch.server.incoming import sweep_incoming
from semsearch.server.instruments import Instruments
from semsearch.server.keys import Grant, Keyring
from semsearch.server.listing import Listing
from semsearch.server.model_names import described_shortly, known_sentence, meant_among, shown_name
from semsearch.server.operations import Table
from semsearch.server.queued_model import QueuedModel
from semsearch.server.search_queue import SearchQueue
from semsearch.server.small_pictures import SmallPictures
from semsearch.server.tasks import DONE, QUEUED, RUNNING, Tasks
from semsearch.sparse_vectors import SparseEncoder
from semsearch.state import state_folder
from semsearch.types import Encoder, Reranker

log = logging.getLogger("semsearch")

ThreadResult = TypeVar("ThreadResult")

READ_THREADS = 8  # each with a connection to a database at most: SQLite takes 64 a collection
WRITE_THREADS = 4  # they wait for each other's locks
ENCODE_THREADS = 8  # a model's batches come one after the other
TASK_THREADS = 2
ENDING_SECONDS = 10.0  # for tasks to come to a stop


class Service:
    """One server's state. It is made before the first request and closed after the last."""

    def __init__(
        self,
        home: Home,
        options: ServerOptions | None = None,
        keyring: Keyring | None = None,
        log_line: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """`log_line` is given the facts of each request."""
        self.home = home
        self.options = options or ServerOptions()
        self.keyring = keyring
        self.instruments = Instruments()
        self.queues = Queues(self.instruments)
        self.collections = OpenCollections(home, self.options.compute, self.model)
        self.table = Table("")  # what it can be asked
        self.draining = False
        self.started = time.time()
        self.open_paths: set[str] = set()  # beside those of the gate: a page, which asks for a key itself
        self.pools = {
            "read": ThreadPoolExecutor(max(READ_THREADS, cores()), "semsearch-read"),
            "write": ThreadPoolExecutor(WRITE_THREADS, "semsearch-write"),
            "encode": ThreadPoolExecutor(ENCODE_THREADS, "semsearch-encode"),
        }
        self.searches: SearchQueue[str, bytes] = SearchQueue(self.instruments.dropped, self.options.max_waiting)
        self.tasks = Tasks(_tasks_folder(home), self._told, ThreadPoolExecutor(TASK_THREADS, "semsearch-task"))
        if self.options.files is not None:
            sweep_incoming(self.options.files)
        self.listing = Listing()
        self.errands = Errands()
        self.small_pictures = SmallPictures()
        self._log_line = log_line
        self._waiting = 0
        self._maintaining: dict[str, bool] = {}
        self._maintenance = ThreadPoolExecutor(1, "semsearch-maintain")
        self._lock = threading.Lock()
        self._models: dict[str, Encoder | SparseEncoder | Reranker] = {}  # held as long as the server runs
        own = [home.location, *(str(path) for path in self.options.folders.values()), tempfile.gettempdir()]
        served = (*self.options.encoders, *self.options.sparse, *self.options.rerankers)
        own += [str(PurePath(name).parent) for name in served if shown_name(name) != name]
        self.private = [path for path in (*own, str(Path.home()), str(self.options.files or "")) if os.sep in path]
        self.instruments.watch(
            {
                "collections_open": ("Collections that are open.", lambda: len(self.collections)),
                "requests_waiting": ("Requests that wait for a thread, or are in one.", lambda: self._waiting),
                "tokens_waiting": ("Tokens that wait to be encoded, about.", lambda: self.queues.waiting),
                "tasks_queued": ("Tasks that wait.", lambda: self.tasks.count(QUEUED)),
                "tasks_running": ("Tasks that run.", lambda: self.tasks.count(RUNNING)),
                "tasks_done": ("Tasks that are done, of those that are kept.", lambda: self.tasks.count(DONE)),
                "indexes_warming": ("Indexes that are being loaded.", self._warming),
            }
        )
        cached = self.collections.asked_and_opened
        self.instruments.watch_counts(
            {
                "collection_cache_lookups": ("Collections that were wanted.", lambda: cached()[0]),
                "collection_cache_misses": ("Collections that had to be opened for it.", lambda: cached()[1]),
            }
        )

    # Threads

    async def run(self, pool: str, work: Callable[[], ThreadResult]) -> ThreadResult:
        """Do what blocks in a thread of a pool.

        Raises:
            Refusal: Too many wait for one already.
            TimeoutError: A read took longer than an answer may; what is written is written to its end.
        """
        with self._one_more():
            future = asyncio.get_running_loop().run_in_executor(self.pools[pool], work)
            async with asyncio.timeout(self.options.seconds if pool == "read" else None):
                return await future

    # Models

    def encoder_name(self, asked: str) -> str:
        """The name that opens the encoder that a request asks for.

        Raises:
            Refusal: It is none of those that the server was started with.
        """
        if (served := meant_among(asked, self.options.encoders, ENCODER_OWNER)) is None:
            raise _not_served("encoder", asked, self.options.encoders)
        return served

    def encoder(self, name: str) -> Encoder:
        """The model of a new collection, or of texts to encode, opened once; see `encoder_name`."""
        served = self.encoder_name(name)
        found: Any = self._model(f"encoder {served}", lambda: models.encoder(served, self.options.compute))
        return found  # type: ignore[no-any-return]

    def is_open(self, name: str) -> bool:
        """Whether the encoder of that name was opened, so that asking for it waits for nothing."""
        return f"encoder {meant_among(name, self.options.encoders, ENCODER_OWNER)}" in self._models

    async def encoded(self, queue: EncodingQueue, texts: Sequence[str], gone: Callable[[], bool]) -> Any:
        """What a queue gives for texts, together with those of all who ask.

        Raises:
            Refusal: Too many wait already.
            TimeoutError: It takes longer than an answer may.
        """
        with self._one_more():
            async with asyncio.timeout(self.options.seconds):
                return await queue.awaited(texts, gone, self.pools["encode"])

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count one who waits.

        Raises:
            Refusal: Too many wait already.
        """
        if self._waiting >= self.options.max_waiting:
            raise too_many()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def sparse_name(self, asked: str) -> str:
        """The name that opens the sparse model that a request asks for.

        Raises:
            Refusal: It is none of those that the server was started with.
        """
        if (served := meant_among(asked, self.options.sparse, None)) is None:
            raise _not_served("sparse", asked, self.options.sparse)
        return served

    def sparse_encoder(self, name: str) -> SparseEncoder:
        """The sparse model of a collection, or of texts to encode, opened once; see `sparse_name`."""
        served = self.sparse_name(name)
        found: Any = self._model(f"sparse {served}", lambda: models.sparse_encoder(served, self.options.compute))
        return found  # type: ignore[no-any-return]

    def reranker_name(self, asked: bool | str | None) -> str | None:
        """The reranker that a request asks for; None for none.

        Raises:
            Refusal: It is none of those that the server was started with.
        """
        if asked is None or asked is False:
            return None
        if asked is True and self.options.rerankers:
            return self.options.rerankers[0]
        served = None if asked is True else meant_among(asked, self.options.rerankers, RERANKER_OWNER)
        if served is None:
            raise _not_served("reranker", "default" if asked is True else asked, self.options.rerankers, "rerank")
        return served

    def reranker(self, name: str) -> Reranker:
        """The reranker of that name, opened once; see `reranker_name`."""
        found: Any = self._model(f"reranker {name}", lambda: models.reranker(name, self.options.compute))
        return found  # type: ignore[no-any-return]

    def opened(self, name: str) -> Encoder | SparseEncoder | Reranker | None:
        """The model of that name, if it was opened."""
        return next((model for key, model in list(self._models.items()) if key.partition(" ")[2] == name), None)

    def _model(self, key: str, load: Callable[[], Any]) -> Any:
        if key not in self._models:
            self._models[key] = load()  # which is shared, so two threads that come at once get the same
        return self._models[key]

    def drop(self, name: str) -> None:
        """Drop a collection, with the files that were put in and what tasks found in it."""
        self.collections.drop(name)
        self._let_go(name)

    def drop_unused(self, collection: Collection) -> bool:
        """See `Home.drop_unused`."""
        gone = self.home.drop_unused(collection.engine)
        if gone:
            self.collections.forget(collection.name)
            self._let_go(collection.name)
        return gone

    def _let_go(self, name: str) -> None:
        """Delete what was kept of a collection that is gone."""
        self.tasks.forget_results(name)
        root = self.options.files
        if root is not None and not (root / name).is_symlink():
            shutil.rmtree(root / name, ignore_errors=True)

    # Behind the requests

    def maintain(self, name: str) -> None:
        """Build the index of a collection anew and the like, if that is due, behind the requests that wrote."""
        with self._lock:
            if name in self._maintaining:
                self._maintaining[name] = True  # once more when it is done
                return
            self._maintaining[name] = False
        with suppress(RuntimeError):  # the server is ending
            self._maintenance.submit(self._maintain, name)

    def _maintain(self, name: str) -> None:
        while True:
            try:
                with self.collections.lease(name) as collection:
                    collection.maintain()
            except CollectionNotFound:
                pass  # dropped meanwhile
            except SemsearchError as error:
                log.warning("%s", error)
            except Exception as error:
                self.log_fault(f"maintenance of {name}", error)
            with self._lock:
                if not self._maintaining.get(name) or self.draining:
                    self._maintaining.pop(name, None)
                    return
                self._maintaining[name] = False

    def settle(self) -> None:
        """Wait until what is done behind the requests is done, as far as it was begun."""
        marker: Future[None] = self._maintenance.submit(lambda: None)
        marker.result()

    def _warming(self) -> float:
        return float(sum(_is_warming(one) for one in self.collections.open_now()))

    def refusal(self, error: BaseException, request: str = "") -> Refusal:
        """What a client is told of an error."""
        return refusal_of(error, request, self.private)

    def shows_paths(self, grant: Grant) -> bool:
        """Whether whoever asks may know where things lie on this machine."""
        return self.keyring is None or grant.has("admin")

    def shown_path(self, path: str, grant: Grant) -> str:
        """The path of a file of this machine, or no more than its last name."""
        return path if self.shows_paths(grant) else PurePath(path).name

    def shown_model(self, name: str, grant: Grant) -> str:
        """The name of a model, which may be its path."""
        return name if self.shows_paths(grant) else shown_name(name)

    def shown_settings(self, settings: Settings, grant: Grant) -> dict[str, Any]:
        """What is fixed or chosen of a collection, which names models and folders."""
        shown = dict(settings)
        if self.shows_paths(grant):
            return shown
        for setting in ("encoder", "former_encoder", SPARSE):
            if shown.get(setting):
                shown[setting] = described_shortly(shown[setting])
        if changing := shown.get("reencoding"):
            target = changing["target"]
            if target.get("encoder"):
                target = {**target, "encoder": described_shortly(target["encoder"])}
            shown["reencoding"] = {**changing, "target": target}
        if folders := shown.get("described_folders"):
            shown["described_folders"] = {PurePath(folder).name: said for folder, said in folders.items()}
        if copied := shown.get(COPIED_FROM):
            shown[COPIED_FROM] = PurePath(copied).name
        return shown

    def sentence(self, text: str) -> str:
        """What is said of files of this machine, without their paths: whoever started a task, others read of it."""
        return without_paths(text, self.private)

    def _told(self, request: str, error: BaseException) -> Refusal:
        refusal = refusal_of(error, request, self.private)
        if refusal.code == "internal_error":
            self.log_fault(request, error)
        return refusal

    # The log

    def log(self, facts: Mapping[str, Any]) -> None:
        """Note a request."""
        if self._log_line is not None:
            self._log_line(facts)

    def log_fault(self, request: str, error: BaseException) -> None:
        """Note what nobody expected, with its traceback; what is an error on purpose needs none."""
        if isinstance(error, SemsearchError):
            return
        log.error("request %s: %s", request, "".join(traceback.format_exception(error)))

    def model(self, engine: Engine, encoder: Encoder | None = None) -> QueuedModel:
        """A model for a collection, whose questions are encoded with those of others."""
        return QueuedModel(engine, self.options.compute, self.queues, encoder)

    def close(self) -> None:
        """End: tasks are interrupted, collections closed."""
        self.draining = True
        self.errands.close()
        self.tasks.close(ENDING_SECONDS)
        self._maintenance.shutdown(wait=True, cancel_futures=True)
        for pool in self.pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self.small_pictures.close()
        self.collections.close()


def _is_warming(collection: Collection) -> bool:
    state = getattr(collection.engine, "index_info", None)
    with suppress(SemsearchError):
        return state is not None and state().get("state") == "loading"
    return False


def _not_served(kind: str, name: str, there: tuple[str, ...], param: str | None = None) -> Refusal:
    known = known_sentence(there, f"It was started without any: --{kind} MODEL.")
    what = "sparse model" if kind == "sparse" else kind
    return Refusal(
        403, "model_not_served", f"this server has no {what} '{shown_name(name):.80}'. {known}", param or kind
    )


def _tasks_folder(home: Home) -> Path | None:
    """Where the tasks of a home are kept: with the person, not in the home, which may have come from elsewhere."""
    state = state_folder()
    if state is None:
        return None
    return state / "tasks" / blake2b(home.location.encode(errors="surrogateescape"), digest_size=8).hexdigest()
