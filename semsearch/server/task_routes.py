"""Long work over HTTP: begun with 202, followed and cancelled at `/v1/tasks/{task}`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from semsearch import wire
from semsearch.collection import Collection
from semsearch.errors import DataError
from semsearch.ingest import MAX_VANISHED
from semsearch.ingest.scan import scan
from semsearch.ingest.source import STDIN, ReadReport, Source
from semsearch.names import check_name
from semsearch.server.failures import Refusal
from semsearch.server.model_names import WITHOUT_SPARSE
from semsearch.server.operations import BYTES, Call, HTTPAnswer, JSONShape, Streamed, Table
from semsearch.server.queued_model import check_encodes
from semsearch.server.sent_files import saved_as, served_file, served_lines_as_array
from semsearch.server.service import Service
from semsearch.server.task_results import RESULT_FORMATS, ResultFiles
from semsearch.server.tasks import Task, Work

routes = Table("tasks")

KEPT_ERRORS = 100

TellProgress = Callable[..., None]


class TaskFacts(JSONShape):
    """A task; times are seconds since 1970."""

    id: str
    kind: str
    collection: str
    state: str = Field(
        description="queued, running, done, failed, cancelled or interrupted (by the end of the server)."
    )
    created: float
    started: float | None
    finished: float | None
    progress: dict[str, Any]
    cancelling: bool
    result: Any
    error: dict[str, Any] | None
    formats: list[str] = Field(description="In which /v1/tasks/{task}/result gives what it found.")


class TaskAnswer(TaskFacts):
    """A task, as a whole answer."""

    schema_: int = Field(alias="schema")


class TaskList(JSONShape):
    """The tasks that are known, the newest first."""

    schema_: int = Field(alias="schema")
    tasks: list[TaskFacts]


class IndexAsked(JSONShape):
    """What to index: a folder that the server was started with, or something in it."""

    folder: str = Field(description="Its name, as --folder NAME=PATH gave it.")
    path: str = Field("", description="Of a file or folder in it.")
    format: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="Of the reader.")
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)
    stop_at_errors: bool = Field(False, description="Fail at the first record that can't be used.")


class SyncAsked(JSONShape):
    """How to sync."""

    most: float = Field(MAX_VANISHED, ge=0, le=1, description="The share of a source's documents that may vanish.")


class ReindexAsked(JSONShape):
    """The index to build; see `Collection.reindex`."""

    index: str | None = None
    options: dict[str, Any] | None = None
    recall: float | None = Field(None, gt=0, le=1)
    k: int = Field(10, ge=1, le=10_000)
    queries: list[str] | None = None


class TuneAsked(JSONShape):
    """The recall to set the index to; see `Collection.tune`."""

    recall: float = Field(gt=0, le=1)
    k: int = Field(10, ge=1, le=10_000)
    queries: list[str] | None = None


class ReencodeAsked(JSONShape):
    """Another model, or a sparse one beside it."""

    encoder: str | None = Field(None, description="One of the server's models.")
    sparse: str | None = Field(
        None, description="Instead: one of its sparse models, beside the other; 'none' takes the sparse vectors out."
    )


class CheckAsked(JSONShape):
    """How thoroughly."""

    deep: bool = Field(False, description="Read everything: every vector, the full text, what the index finds.")


class ResultAsked(JSONShape):
    """Which of the formats of a result."""

    format: str | None = Field(None, description="ndjson, json, html or backup; without it the first that there is.")


class NothingAsked(JSONShape):
    """No parameters."""


def _begin(call: Call[Any], kind: str, work: Work) -> HTTPAnswer:
    name = check_name(call.collection)
    call.service.home.require(name)
    return accepted(call, call.service.tasks.begin(kind, name, work))


def accepted(call: Call[Any], task: Task) -> HTTPAnswer:
    """The answer to a request that began a task."""
    headers = {"Location": f"/v1/tasks/{task.id}"}
    return HTTPAnswer(wire.message(**call.service.tasks.told(task)), 202, headers=headers)


@routes.add(
    "POST",
    "/v1/collections/{collection}/index",
    "Index a folder of the server",
    role="write",
    pool="write",
    body=IndexAsked,
    answer=TaskAnswer,
    status=202,
    example={"folder": "papers"},
)
def index_folder(call: Call[IndexAsked]) -> HTTPAnswer:
    """As `semsearch index` does it; only folders that were named at its start. No link is followed."""
    body, service = call.body, call.service
    path = service.options.inside(body.folder, body.path)
    source = Source.of(path, body.format, body.options, include=body.include, exclude=body.exclude)

    def work(progress: TellProgress) -> Any:
        report = ReadReport(skip=not body.stop_at_errors, keep=KEPT_ERRORS)
        with service.collections.lease(call.collection) as collection:
            check_encodes(collection)

            def tell(done: Any) -> None:
                progress(documents=done.documents, passages=done.passages, bytes=report.done, of=report.total)

            changes = collection.add_from(scan(source, report), progress=tell, maintain=False)
        service.maintain(call.collection)
        return {**wire.ingested(changes), **told_of(service, report)}

    return _begin(call, "index", work)


def told_of(service: Service, report: ReadReport) -> dict[str, Any]:
    """What a reading left out, without the paths of this machine."""
    facts = wire.unread(report)
    for name in ("errors", "records", "files", "parts"):
        facts[name] = [service.sentence(error) for error in facts[name]]
    return facts


@routes.add(
    "POST",
    "/v1/collections/{collection}/sync",
    "Read the sources of a collection again",
    role="write",
    pool="write",
    body=SyncAsked,
    answer=TaskAnswer,
    status=202,
    example={"most": 0.1},
)
def sync_collection(call: Call[SyncAsked]) -> HTTPAnswer:
    """As `semsearch sync` does it; each source must lie in a folder that the server was started with."""
    service, most = call.service, call.body.most

    def work(progress: TellProgress) -> Any:
        errors: list[DataError] = []
        with service.collections.lease(call.collection) as collection:
            _check_sources(call, collection)
            synced = collection.sync(
                on_error=errors.append,
                progress=lambda done: progress(documents=done.documents, passages=done.passages),
                most=most,
                maintain=False,
            )
        service.maintain(call.collection)
        return {**wire.synced(synced), "errors": [service.refusal(one).message for one in errors[:KEPT_ERRORS]]}

    return _begin(call, "sync", work)


def _check_sources(call: Call[Any], collection: Collection) -> None:
    """Refuse to read what the person who started the server did not name, whoever wrote it into a collection."""
    check_encodes(collection)
    for source in collection.sources:
        path = str(source.get("path", STDIN))
        beside = [str(source[name]) for name in ("vectors",) if source.get(name)]
        if source.get("follow_links") or (
            path != STDIN and not all(map(call.service.options.is_inside, (path, *beside)))
        ):
            raise Refusal(
                403,
                "folder_not_allowed",
                "a source of the collection lies in no folder that this server may read (--folder NAME=PATH).",
            )


@routes.add(
    "POST",
    "/v1/collections/{collection}/reindex",
    "Build the index anew",
    role="admin",
    pool="write",
    body=ReindexAsked,
    answer=TaskAnswer,
    status=202,
    example={"index": "hnsw", "recall": 0.95},
)
def reindex_collection(call: Call[ReindexAsked]) -> HTTPAnswer:
    """Searching and writing go on meanwhile; the result is the certificate, where a recall was asked for."""
    asked = call.body

    def work(progress: TellProgress) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            certificate = collection.reindex(
                asked.index, asked.options, recall=asked.recall, k=asked.k, queries=asked.queries
            )
        return None if certificate is None else wire.certificate(certificate)

    return _begin(call, "reindex", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/tune",
    "Set the index to a recall",
    role="admin",
    pool="write",
    body=TuneAsked,
    answer=TaskAnswer,
    status=202,
    example={"recall": 0.95},
)
def tune_collection(call: Call[TuneAsked]) -> HTTPAnswer:
    """Without building it anew; the result is the certificate."""
    asked = call.body

    def work(progress: TellProgress) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            return wire.certificate(collection.tune(asked.recall, asked.k, queries=asked.queries))

    return _begin(call, "tune", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/reencode",
    "Change the model",
    role="admin",
    pool="write",
    body=ReencodeAsked,
    answer=TaskAnswer,
    status=202,
    example={"encoder": "all-MiniLM-L6-v2"},
)
def reencode_collection(call: Call[ReencodeAsked]) -> HTTPAnswer:
    """All documents are encoded anew; the present vectors serve until one commit. Begun again, it goes on."""
    service, name, sparse = call.service, call.body.encoder, call.body.sparse
    if (name is None) == (sparse is None):
        raise Refusal(400, "invalid_request", "say which model to take: 'encoder', or 'sparse' for one beside it.")
    if name is not None:
        name = service.encoder_name(name)
    if sparse is not None and sparse != WITHOUT_SPARSE:
        sparse = service.sparse_name(sparse)
        service.sparse_encoder(sparse)

    def work(progress: TellProgress) -> Any:
        with service.collections.lease(call.collection) as collection:
            if name is not None:
                return {"documents": collection.reencode(name, progress=lambda done: progress(documents=done))}
            if sparse is None or sparse == WITHOUT_SPARSE:
                collection.remove_sparse()
                return {"passages": 0}
            return {"passages": collection.add_sparse(sparse, progress=lambda done: progress(passages=done))}

    return _begin(call, "reencode", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/compact",
    "Give back what removed documents took",
    role="admin",
    pool="write",
    body=NothingAsked,
    answer=TaskAnswer,
    status=202,
    example={},
)
def compact_collection(call: Call[NothingAsked]) -> HTTPAnswer:
    """And erase them everywhere: in what tasks found, too."""

    def work(progress: TellProgress) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            done = collection.compact()
        call.service.tasks.forget_results(call.collection)
        return {
            "rows": done.rows,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
            "erased": done.erased,
        }

    return _begin(call, "compact", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/check",
    "Say what is wrong with a collection",
    role="admin",
    pool="write",
    body=CheckAsked,
    answer=TaskAnswer,
    status=202,
    example={"deep": True},
)
def check_collection(call: Call[CheckAsked]) -> HTTPAnswer:
    """And what mends each thing; nothing is changed."""

    def work(progress: TellProgress) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            problems = collection.check(deep=call.body.deep)
        told = [{"part": one.part, "what": one.what, "fix": one.fix} for one in problems]
        return {"problems": [{name: call.service.sentence(text) for name, text in one.items()} for one in told]}

    return _begin(call, "check", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/repair",
    "Mend what a check finds",
    role="admin",
    pool="write",
    body=NothingAsked,
    answer=TaskAnswer,
    status=202,
    example={},
)
def repair_collection(call: Call[NothingAsked]) -> HTTPAnswer:
    """As far as it can be; the result says what was done."""

    def work(progress: TellProgress) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            return {"done": list(map(call.service.sentence, collection.repair()))}

    return _begin(call, "repair", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/backup",
    "Back a collection up",
    role="admin",
    pool="write",
    body=NothingAsked,
    answer=TaskAnswer,
    status=202,
    example={},
)
def back_collection_up(call: Call[NothingAsked]) -> HTTPAnswer:
    """As of one commit, beside searches and writes; its file is the task's result, which `semsearch restore` takes."""

    def work(progress: TellProgress, kept: ResultFiles) -> Any:
        with call.service.collections.lease(call.collection) as collection:
            return {"bytes": collection.backup(kept.path("backup"))}

    name = check_name(call.collection)
    call.service.home.require(name)
    return accepted(call, call.service.tasks.begin_finding("backup", name, work, role="admin"))


@routes.add("GET", "/v1/tasks", "The tasks", answer=TaskList)
def list_tasks(call: Call[None]) -> dict[str, Any]:
    """The newest first; of finished ones the last thousand."""
    tasks = call.service.tasks
    return wire.message(tasks=[tasks.told(task) for task in tasks.listed() if _covers(call, task)])


@routes.add("GET", "/v1/tasks/{task}", "How far a task is", answer=TaskAnswer)
def get_task(call: Call[None]) -> dict[str, Any]:
    """What it does, its progress, and in the end its result or error."""
    return wire.message(**call.service.tasks.told(_own(call)))


@routes.add(
    "POST",
    "/v1/tasks/{task}/cancel",
    "Cancel a task",
    role="write",
    body=NothingAsked,
    answer=TaskAnswer,
    example={},
)
def cancel_task(call: Call[NothingAsked]) -> dict[str, Any]:
    """At once where it waits, else when it next tells how far it is: what an index is built of is built to its end."""
    return wire.message(**call.service.tasks.told(call.service.tasks.cancel(_own(call).id)))


@routes.add("GET", "/v1/tasks/{task}/result", "What a task found", query=ResultAsked, gives=BYTES)
def get_result(call: Call[None]) -> Streamed:
    """As a file to be saved: rows as lines of JSON, the same as JSON, or a page; a task says which there are."""
    task, asked = _own_result(call), call.query.format
    there = call.service.tasks.told(task)["formats"]
    if not there:
        raise Refusal(404, "result_not_found", f"the task keeps nothing, or not any more: it is {task.state}.", "task")
    form = asked or there[0]
    if form not in there:
        raise Refusal(404, "result_not_found", f"the task has no '{form:.20}': it has {', '.join(there)}.", "format")
    results = call.service.tasks.results
    name = f"{task.collection}-{task.kind}.{form}"
    if form == "json" and not results.file(task.id, form).is_file():
        return served_lines_as_array(results.file(task.id, "ndjson"), name)
    return served_file(results.file(task.id, form), RESULT_FORMATS[form], saved_as(name))


@routes.add("DELETE", "/v1/tasks/{task}/result", "Delete what a task found", role="write", answer=TaskAnswer)
def delete_result(call: Call[None]) -> dict[str, Any]:
    """The task itself stays."""
    task = _own_result(call)
    call.service.tasks.results.forget(task.id)
    return wire.message(**call.service.tasks.told(task))


def _own(call: Call[Any]) -> Task:
    task = call.service.tasks.get(call.path["task"])
    if not _covers(call, task):
        raise Refusal(404, "task_not_found", "there is no such task.", "task")
    return task


def _own_result(call: Call[Any]) -> Task:
    """The task, for a key that may have what it found."""
    task = _own(call)
    if not call.grant.has(task.role):
        raise Refusal(403, "not_allowed", f"that needs a key of the role '{task.role}'.")
    return task


def _covers(call: Call[Any], task: Task) -> bool:
    return all(map(call.grant.covers, (task.collection, *task.others)))
