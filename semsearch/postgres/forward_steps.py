"""What brings a collection that an older semsearch made forward: a step that somebody takes, and no opening does.

Several machines may have the collection open, each with a version of its own: until it is brought forward, all of them
go on; from then on older ones are refused. A newer one reads meanwhile what an older one made, and writes nothing that
the older one would not know. Each step is one transaction, so whoever is interrupted goes on with the same call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from semsearch import versions
from semsearch.postgres import tables, word_rows
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.state_row import read_settings, read_state
from semsearch.search.languages import languages_of

OLDEST_READ = 1  # the version of the tables from which on this semsearch reads them
FORWARD_STEPS: dict[int, Callable[[DatabaseSession], None]] = {}
"""From version n of the tables to n + 1, which knows them as they were then, and no others."""


def bring_forward(writing: Callable[[], AbstractContextManager[DatabaseSession]]) -> list[str]:
    """Take every step that is left, each in a transaction that `writing` begins; what was done, in sentences."""
    done: list[str] = []
    while True:
        with writing() as session:
            said = _step(session)
        if said is None:
            return done
        done.append(said)


def _step(session: DatabaseSession) -> str | None:
    state = read_state(session)
    if state.schema < tables.POSTGRES_SCHEMA:
        FORWARD_STEPS[state.schema](session)
        session.execute(b"UPDATE state SET schema = schema + 1, version = version + 1")
        return f"brought the tables forward from version {state.schema} to {state.schema + 1}"
    if state.analysis < versions.ANALYSIS:
        if state.analysis not in versions.SAME_WORDS:
            word_rows.rebuild(session, languages_of(read_settings(session)))
        session.execute(b"UPDATE state SET analysis = %s, version = version + 1", (versions.ANALYSIS,))
        return f"found the words anew (analysis {state.analysis} before, {versions.ANALYSIS} now)"
    return None
