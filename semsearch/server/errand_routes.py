"""The long work of an engine over HTTP: indexes, recall, checks, repairs, changes of model, holding writers off.

What it is done with is asked back from the client, where only the client has it; see `semsearch.server.errands`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from starlette.types import Send

from semsearch import engine_wire as ew
from semsearch import plugins, wire
from semsearch.collection import Collection
from semsearch.engine import IndexSpec, Maintained
from semsearch.errors import DataError, DimensionMismatch, ModelMismatch, SemsearchError, UsageError
from semsearch.records import Entry, Record
from semsearch.search.recall import check_target
from semsearch.server.engine_methods import check_lengths, chosen_index
from semsearch.server.engine_routes import ASKED, EngineAsked
from semsearch.server.errands import Errand
from semsearch.server.failures import Refusal
from semsearch.server.operations import BYTES, Call, HTTPAnswer, Streamed, Table
from semsearch.server.served_models import plain_json
from semsearch.types import Keys, Metric, Vectors
from semsearch.vectors import check_k

routes = Table("engine")

HOLDING_SECONDS = 30.0  # without a look, until writers are held off no more
SENT_BYTES = 1 << 20

Facts = Mapping[str, Any]


class ErrandKind(NamedTuple):
    """What may be begun: the role that it needs, what does it, how long its client may be silent."""

    role: str
    work: Callable[[Call[Any], Collection, Facts, Errand], Any]
    silent_seconds: float = 120.0


@routes.add("POST", "/v1/engine/{collection}/errands/{what}", "Begin long work", pool="write", body=EngineAsked)
def begin_errand(call: Call[Any]) -> HTTPAnswer:
    """A method of `Indexed` or `Maintained`, or `hold`; it is looked at by the id that is answered."""
    kind = ERRANDS.get(call.path["what"])
    if kind is None:
        raise Refusal(404, "not_found", f"an engine has no '{call.path['what']:.40}'.")
    if not call.grant.has(kind.role):
        raise Refusal(403, "not_allowed", f"that needs a key of the role '{kind.role}'.")
    facts, name = dict(call.body.model_extra or {}), call.collection
    call.service.home.require(name)

    def work(errand: Errand) -> Any:
        with call.service.collections.lease(name) as collection:
            try:
                return kind.work(call, collection, facts, errand)
            except (KeyError, AttributeError, TypeError) as error:
                if isinstance(error, SemsearchError):
                    raise
                call.service.log_fault(call.path["what"], error)
                raise Refusal(400, "invalid_request", f"what '{call.path['what']}' takes was not given so.") from error

    return plain_json({"errand": call.service.errands.begin(name, work, kind.silent_seconds).id})


@routes.add("POST", "/v1/engine/{collection}/errand/{errand}", "Look at long work", body=EngineAsked)
async def look_at_errand(call: Call[Any]) -> HTTPAnswer:
    """What it asks, how it ended, or how far it is; with the `answer` to question `number`, if there is one."""
    facts = call.body.model_extra or {}
    errand = call.service.errands.get(call.path["errand"], call.collection)
    return plain_json(await errand.look(facts.get("number"), facts.get("answer")))


@routes.add("GET", "/v1/engine/{collection}/backup", "Read a backup", role="admin", gives=BYTES)
async def read_backup(call: Call[None]) -> Streamed:
    """What `BackedUp.backup` writes, as of one commit."""
    return Streamed(partial(_send_backup, call))


async def _send_backup(call: Call[None], send: Send) -> None:
    loop, pool = asyncio.get_running_loop(), call.service.pools["write"]
    with tempfile.TemporaryDirectory(prefix="semsearch-backup-") as folder:
        file = Path(folder) / "backup"

        def make() -> int:
            with call.service.collections.lease(call.collection) as collection:
                return collection.backup(file)

        size = await loop.run_in_executor(pool, make)
        headers = [
            (b"content-type", BYTES.encode()),
            (b"content-length", str(size).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with file.open("rb") as content:
            while chunk := await loop.run_in_executor(pool, content.read, SENT_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


# ------------------------------------------------------------------------------------------------------- what is done


def _maintained(collection: Collection) -> Maintained:
    engine = collection.engine
    if not isinstance(engine, Maintained):
        raise UsageError(f"the server's collection '{collection.name}' is looked after with its database's own tools.")
    return engine


def _spec(facts: Facts) -> IndexSpec:
    said = dict(facts["spec"])
    spec = IndexSpec(str(said["backend"]), dict(said["options"]), said["recall"], check_k(said["k"]))
    plugins.check_index(spec.backend, spec.options)
    return spec if spec.recall is None else IndexSpec(spec.backend, spec.options, check_target(spec.recall), spec.k)


def _queries(facts: Facts, errand: Errand) -> Any:
    """What an index is measured on: vectors, or what makes some, which the client does."""
    said = facts["queries"]
    if said is None:
        return None
    if said != "made":
        return ew.unpack_vectors(said[0], int(said[1]))

    def made(count: int, generator: np.random.Generator) -> tuple[Vectors, Keys]:
        answer = errand.ask(queries=count, seed=int(generator.integers(1 << 62)))
        vectors, keys = ew.unpack_vectors(answer[0], int(answer[1])), ew.unpack_keys(answer[2])
        if len(vectors) != len(keys):
            raise DimensionMismatch(f"{len(vectors)} queries came with {len(keys)} keys.")
        return vectors, keys

    return made


def _rebuild(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> Any:
    certificate = chosen_index(collection).rebuild(_spec(facts), _queries(facts, errand))
    return None if certificate is None else wire.certificate(certificate)


def _tune(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> Any:
    return wire.certificate(chosen_index(collection).tune(_spec(facts), _queries(facts, errand)))


def _load_index(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> None:
    chosen_index(collection).load_index()


def _check(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> Any:
    problems = _maintained(collection).check(deep=facts["deep"] is True)
    told = [[one.part, one.what, one.fix] for one in problems]
    if call.service.shows_paths(call.grant):
        return told
    return [[call.service.refusal(DataError(text)).message for text in one] for one in told]


def _repair(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> Any:
    encode = _encode(collection, errand, None) if facts["encodes"] is True else None
    return list(_maintained(collection).repair(encode, lambda: _queries(facts, errand)))


def _migrate(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> list[str]:
    return collection.migrate()


def _compact(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> Any:
    done = _maintained(collection).compact()
    call.service.tasks.forget_results(call.collection)
    return [done.rows, done.bytes_before, done.bytes_after, done.erased]


def _reencode(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> int:
    """By the server's own model where it has it, else by the client's."""
    target, dim = dict(facts["target"]), int(facts["dim"])
    described = dict(target["encoder"])
    if described.get("name") in call.service.options.encoders:
        if call.service.encoder(described["name"]).fingerprint != described["fingerprint"]:
            raise ModelMismatch(
                f"the server's model '{described['name']}' is another than the one of that name elsewhere: their "
                "weights or settings differ."
            )
        return collection.reencode(described["name"], progress=errand.tell)
    if described.get("name") is not None:
        call.service.encoder(described["name"])  # which says that it is not served
    encode = _encode(collection, errand, (Metric(target["metric"]), dim))
    try:
        return _maintained(collection).reencode(target, dim, encode, errand.tell)
    finally:
        call.service.collections.forget(call.collection)  # it is opened again with what it has now


def _encode(
    collection: Collection, errand: Errand, form: tuple[Metric, int] | None
) -> Callable[[Sequence[Record]], list[Entry]]:
    """The client's splitting and encoding of records; `form` of the vectors, where it is not the collection's."""

    def encode(records: Sequence[Record]) -> list[Entry]:
        answer = errand.ask(encode=[ew.record_json(record) for record in records])
        entries = [ew.read_entry(entry) for entry in answer]
        if [entry.record.document.id for entry in entries] != [record.document.id for record in records]:
            raise DataError("other documents were encoded than were asked for.")
        check_lengths(collection.engine, entries, form)
        return entries

    return encode


def _fill_sparse(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> int:
    done = collection.fill_sparse(errand.tell)
    call.service.maintain(call.collection)
    return done


def _hold(call: Call[Any], collection: Collection, facts: Facts, errand: Errand) -> None:
    """Hold other writers off, and write what the client says, until it lets go or is silent."""
    with collection.engine.hold():
        said = errand.ask(held=True)
        while said is not None:
            try:
                told = {"result": _written(call, collection, said)}
            except Exception as error:
                told = call.service.refusal(error).body()
                if told["error"]["code"] == "internal_error":
                    call.service.log_fault("hold", error)
            said = errand.ask(**told)


def _written(call: Call[Any], collection: Collection, said: Facts) -> Any:
    asked = ASKED[str(said["what"])]
    if not call.grant.has(asked.role):
        raise Refusal(403, "not_allowed", f"that needs a key of the role '{asked.role}'.")
    return asked.answer(call, collection, dict(said["facts"]))


ERRANDS: Mapping[str, ErrandKind] = {
    "rebuild": ErrandKind("admin", _rebuild),
    "tune": ErrandKind("admin", _tune),
    "load_index": ErrandKind("read", _load_index),
    "check": ErrandKind("admin", _check),
    "repair": ErrandKind("admin", _repair),
    "migrate": ErrandKind("admin", _migrate),
    "compact": ErrandKind("admin", _compact),
    "reencode": ErrandKind("admin", _reencode),
    "fill_sparse": ErrandKind("write", _fill_sparse),
    "hold": ErrandKind("write", _hold, HOLDING_SECONDS),
}
