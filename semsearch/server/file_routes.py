"""Files as people have them over HTTP: PDF, DOCX, HTML, mail and the rest, kept and indexed, and the way back to them.

A file is kept under its own name in the folder of its collection, which the person who started the server named
(`--files`), and is a source of the collection like any other: put in again, what it no longer gives is taken out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from semsearch import wire
from semsearch.collection import Collection
from semsearch.engine import Settlement
from semsearch.ingest.scan import apply, scan
from semsearch.ingest.source import ReadReport, Source
from semsearch.names import check_name
from semsearch.places import provenance, source_of
from semsearch.plain_files import is_file, is_plain_name
from semsearch.server.bodies import chunks, too_large_file
from semsearch.server.failures import Refusal
from semsearch.server.incoming import new_incoming
from semsearch.server.operations import BYTES, Call, HTTPAnswer, JSONShape, Streamed, Table
from semsearch.server.page_pictures import picture_of_page
from semsearch.server.queued_model import check_encodes
from semsearch.server.reading_process import check_readable
from semsearch.server.sent_files import SANDBOX, opened_plain, saved_as, served_file
from semsearch.server.task_routes import TaskAnswer, accepted, told_of

routes = Table("files")

MOST_NAME_BYTES = 200
KEPT_FILE_ERRORS = 100
LARGEST_IMAGE = 64 << 20  # bytes of a file that is drawn small
SHOWN = frozenset(  # files of nothing but text, which a browser shows as that; pages, pictures and PDF can do more
    {
        ".csv",
        ".json",
        ".jsonl",
        ".log",
        ".md",
        ".ndjson",
        ".py",
        ".rst",
        ".tex",
        ".toml",
        ".tsv",
        ".txt",
        ".yaml",
        ".yml",
    }
)


class KeptFile(JSONShape):
    """A file."""

    name: str
    bytes: int


class FileList(JSONShape):
    """The files of a collection."""

    schema_: int = Field(alias="schema")
    files: list[KeptFile]


class PageAsked(JSONShape):
    """Which page is wanted."""

    id: str = Field(description="Of a document.")
    page: int = Field(1, ge=1, le=1_000_000, description="Counted from 1.")


class ThumbnailAsked(JSONShape):
    """Whose picture is wanted."""

    id: str = Field(description="Of a document.")
    side: int = Field(320, ge=16, le=1_024, description="Pixels in either direction, at most.")


class OriginalAsked(JSONShape):
    """Whose file is wanted."""

    id: str = Field(description="Of a document.")
    show: bool = Field(False, description="Let a browser show it, where it is plain text; all else is to be saved.")


@routes.add(
    "POST",
    "/v1/collections/{collection}/files/{file}",
    "Put a file in",
    role="write",
    takes=BYTES,
    answer=TaskAnswer,
    status=202,
)
async def put_file(call: Call[None]) -> HTTPAnswer:
    """The body is the file, and the name in the path says by its ending of what kind it is.

    It is read in a process of its own first, within bounds of memory, time and text; then it is indexed, as a task.
    """
    service, name = call.service, _checked(call.path["file"])
    folder = _folder(call)
    collection = check_name(call.collection)
    await service.run("read", lambda: service.home.require(collection))
    incoming = await run_in_threadpool(new_incoming, folder)
    kept = incoming / name
    try:
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            async for chunk in chunks(
                call.request, service.options.max_upload, service.options.idle_seconds, too_large_file
            ):
                await run_in_threadpool(written.write, chunk)
        leave = partial(shutil.rmtree, incoming, ignore_errors=True)
        task = service.tasks.begin("file", collection, _indexing(call, folder, kept), given_up=leave)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    return accepted(call, task)


def _indexing(call: Call[None], folder: Path, incoming: Path) -> Callable[[Callable[..., None]], Any]:
    service, name = call.service, incoming.name

    def work(progress: Callable[..., None]) -> Any:
        try:
            check_readable(incoming)
            is_file(folder / name)  # no link, which the next line would follow nowhere, but who reads would
            incoming.replace(folder / name)
        finally:
            shutil.rmtree(incoming.parent, ignore_errors=True)
        report = ReadReport(skip=True, keep=KEPT_FILE_ERRORS)
        with service.collections.lease(call.collection) as collection:
            check_encodes(collection)

            def tell(done: Any) -> None:
                progress(documents=done.documents, passages=done.passages)

            done = apply(
                scan(Source.of(folder / name), report),
                collection.engine,
                lambda: collection.encoder,
                tell,
                lambda vanished, of: True,
            )
        service.maintain(call.collection)
        return {**wire.ingested(done.changes), "removed": done.removed, **told_of(service, report)}

    return work


@routes.add("GET", "/v1/collections/{collection}/files", "The files of a collection", answer=FileList)
def list_files(call: Call[None]) -> dict[str, Any]:
    """Those that were put in."""
    call.service.home.require(check_name(call.collection))
    folder = _folder(call)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return wire.message(
        files=[
            {"name": path.name, "bytes": path.lstat().st_size}
            for path in found
            if not path.name.startswith(".") and not path.is_symlink() and path.is_file()
        ]
    )


@routes.add("GET", "/v1/collections/{collection}/files/{file}", "A file as it was put in", gives=BYTES)
def get_file(call: Call[None]) -> Streamed:
    """Its bytes, to be saved and not to be shown: it may be a stranger's page."""
    return _served(_folder(call) / _checked(call.path["file"]))


@routes.add("GET", "/v1/collections/{collection}/original", "The file of a document", query=OriginalAsked, gives=BYTES)
def get_original(call: Call[None]) -> Streamed:
    """Where it was put in, or lies in a folder that the server was started with."""
    real = _original(call, call.query.id)
    return _served(real, shown=call.query.show and real.suffix.lower() in SHOWN)


def _original(call: Call[None], identity: str) -> Path:
    """Where the file of a document is, if this server may read it."""
    origins = call.service.collections.use([call.collection], lambda opened: opened[0].engine.origins.of([identity]))
    if identity not in origins:
        raise Refusal(404, "file_not_found", "the document came from no file.", "id")
    spec, file, position = origins[identity]
    found = provenance(source_of(spec), file, position, {})
    if found is None:
        raise Refusal(404, "file_not_found", "the document came from no file.", "id")
    real = Path(os.path.realpath(found[0]))
    kept = call.service.options.files
    own = kept is not None and real.is_relative_to(os.path.realpath(kept / check_name(call.collection)))
    if not own and not call.service.options.is_inside(real):
        raise Refusal(404, "file_not_found", "the file of the document lies where this server reads none.", "id")
    if not real.exists():
        raise Refusal(404, "file_not_found", "the file of the document is not there any more.", "id")
    return real


@routes.add(
    "GET",
    "/v1/collections/{collection}/original/page",
    "A page of the PDF of a document, as a picture",
    query=PageAsked,
    gives="image/png",
)
def get_page(call: Call[None]) -> HTTPAnswer:
    """A PDF can do more in a browser than be read, and a picture can't. `X-Pages` says how many pages there are."""
    path = _original(call, call.query.id)
    if path.suffix.lower() != ".pdf":
        raise Refusal(400, "invalid_parameter", "the file of the document is no PDF: it has no pages to draw.", "id")
    with opened_plain(path) as file:
        found = picture_of_page(file, call.query.page)
    headers = {"X-Pages": str(found.pages), "Content-Security-Policy": SANDBOX}
    return HTTPAnswer(found.png, media_type="image/png", headers=headers)


@routes.add(
    "GET",
    "/v1/collections/{collection}/original/thumbnail",
    "The picture of a document, small",
    query=ThumbnailAsked,
    gives="image/jpeg",
)
def get_thumbnail(call: Call[None]) -> HTTPAnswer:
    """Drawn from its pixels alone, which are decoded in a process of its own: nothing else of the file is sent on."""
    with opened_plain(_original(call, call.query.id)) as file:
        content = file.read(LARGEST_IMAGE + 1)
    if len(content) > LARGEST_IMAGE:
        raise Refusal(400, "invalid_parameter", "the file of the document is too large to be drawn small.", "id")
    made = call.service.small_pictures.small(call.collection, content, call.query.side)
    return HTTPAnswer(made, media_type="image/jpeg", headers={"Content-Security-Policy": SANDBOX})


@routes.add(
    "DELETE",
    "/v1/collections/{collection}/files/{file}",
    "Take a file out",
    role="write",
    pool="write",
)
def delete_file(call: Call[None]) -> dict[str, Any]:
    """With the documents that only it gave."""
    path = _folder(call) / _checked(call.path["file"])
    if not path.exists():
        raise Refusal(404, "file_not_found", "there is no file of that name.", "file")
    with call.service.collections.lease(call.collection) as collection:
        removed = _forgotten(collection, Source.of(path))
    path.unlink()
    call.service.maintain(call.collection)
    return wire.message(documents=removed)


def _forgotten(collection: Collection, source: Source) -> int:
    origins = collection.engine.origins
    found = origins.find(source.to_json())
    if found is None:
        return 0
    number, files = found
    numbers = [file.number for file in files.values()]
    given = list(origins.given(number, numbers))
    removed = collection.engine.remove([identity for identity, _, shared in given if not shared])
    origins.settle(number, Settlement([], set(), {}, [identity for identity, _, shared in given if shared], numbers))
    return removed


def _served(path: Path, *, shown: bool = False) -> Streamed:
    if shown:
        return served_file(path, "text/plain; charset=utf-8", f"inline; filename*=UTF-8''{quote(path.name, safe='')}")
    return served_file(path, BYTES, saved_as(path.name))


def _folder(call: Call[Any]) -> Path:
    root = call.service.options.files
    if root is None:
        raise Refusal(403, "files_not_kept", "this server keeps no files: start it with --files FOLDER.")
    folder = root / check_name(call.collection)
    if folder.is_symlink():
        raise Refusal(403, "files_not_kept", "the folder of the files is a link, which is not followed.")
    return folder


def _checked(name: str) -> str:
    """A name that a file may be kept under."""
    if (
        not is_plain_name(name)
        or name.startswith(".")
        or not name.isprintable()
        or len(name.encode()) > MOST_NAME_BYTES
    ):
        raise Refusal(400, "invalid_parameter", "that can't be the name of a file.", "file")
    return name
