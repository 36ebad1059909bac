"""`semsearch get, remove, drop, list, describe, info`: looking after collections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.render import (
    confirmed,
    draw_document,
    on_terminal,
    out,
    say,
    screen,
    show_facts,
    show_table,
    size,
)
from semsearch.controls import one_line
from semsearch.errors import SemsearchError, UsageError
from semsearch.home import Home, nearest_home
from semsearch.ingest import MAX_VANISHED

if TYPE_CHECKING:
    from semsearch.collection import Collection


@click.command(short_help="Print documents by id.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@parameters.as_json
@parameters.home
@parameters.resident
def get(name: str, ids: tuple[str, ...], as_json: bool, home: str | None) -> int:
    r"""Print the documents of collection NAME that have these ids, in the order asked.

    For programs, --json gives one object a line. The exit code is 1 if an id is not there.

    \b
    semsearch get corpus doc-17
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        found = collection.get(ids)
    console = screen()
    for position, (identity, document) in enumerate(zip(ids, found, strict=True)):
        if document is None:
            say(f"'{name}' has no document '{one_line(identity)}'.")
        elif as_json:
            out(wire.dumps(wire.document(document)))
        else:
            if position:
                out("")
            draw_document(console, document)
    return 1 if None in found else 0


@click.command(short_help="Take documents out of a collection.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--where", type=parameters.where, metavar="FILTER", help="Documents by their metadata, as in 'year < 1990'."
)
@click.option("--yes", is_flag=True, help="With --where: remove even more than 20 % of all without asking.")
@parameters.home
def remove(name: str, ids: tuple[str, ...], where: dict[str, Any] | None, yes: bool, home: str | None) -> int:
    r"""Take documents out of collection NAME: by id, or by a filter on their metadata.

    The exit code is 1 if an id is not there, or if no document is as the filter says.

    \b
    semsearch remove corpus doc-17 doc-18
    semsearch remove films --where 'year < 1990'
    """
    if bool(ids) == bool(where):
        raise UsageError("say which documents: either their ids, or --where with a filter.")
    with semsearch.open(name, home=Home.of(home)) as collection:
        asked = set(collection.ids(where)) if where else set(ids)
        if where and len(asked) > MAX_VANISHED * len(collection) and not yes:
            what = f"{len(asked):,} of the {len(collection):,} documents of '{name}'"
            if not sys.stdin.isatty():
                raise UsageError(f"that would remove {what}, and nobody is here to ask. Add --yes.")
            if not confirmed(f"Remove {what}?"):
                say("nothing was removed.")
                return 0
        removed = collection.remove(sorted(asked))
    out(f"removed {removed:,}, unknown {len(asked) - removed:,}")
    return 0 if removed == len(asked) and removed else 1


@click.command(short_help="Delete a whole collection.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--yes", is_flag=True, help="Don't ask.")
@parameters.home
def drop(name: str, yes: bool, home: str | None) -> int:
    r"""Delete collection NAME with all its documents and vectors. It asks first; a script says --yes.

    \b
    semsearch drop corpus --yes
    """
    from semsearch.opening import drop as delete

    place = Home.of(home)
    place.require(name)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"deleting '{name}' in {place.location} can't be undone, and nobody is here to ask. Add --yes."
            )
        if not confirmed(f"Delete '{name}' in {place.location} for good?"):
            say(f"'{name}' was kept.")
            return 0
    delete(name, home=place)
    say(f"dropped '{name}'")
    return 0


@click.command("list", short_help="Show the collections.")
@parameters.as_json
@parameters.home
def list_collections(as_json: bool, home: str | None) -> int:
    r"""Show the collections with their documents, passages, size and model.

    On a terminal a table; else one line each with tabs between.

    \b
    semsearch list
    """
    where = Home.of(home)
    names = where.names()
    if not names:
        say(f"there is no collection in {where.location} yet. Make one with 'semsearch index PATH'.")
        return 0
    say(f"collections in {where.location}")
    rows: list[tuple[object, ...]] = []
    for name in names:
        try:
            with semsearch.open(name, home=where) as collection:
                facts = collection.info()
        except SemsearchError as error:
            say(f"'{name}' can't be opened: {error}")
            continue
        if as_json:
            out(wire.dumps(wire.info(facts)))
        else:
            amount = size(facts["bytes"]) if on_terminal() else facts["bytes"]
            encoder = (facts.get("encoder") or {}).get("name") or ""
            rows.append((name, facts["documents"], facts["passages"], amount, encoder, one_line(facts["description"])))
    if rows:
        described = any(row[-1] for row in rows)
        names = ("name", "documents", "passages", "size", "model", *(["what it holds"] if described else []))
        show_table(names, [row[: len(names)] for row in rows])
    return 0


@click.command(short_help="Say what a collection holds, or which collections are used here.")
@click.argument("name", required=False, shell_complete=parameters.collections)
@click.argument("text", required=False, type=parameters.utf8)
@click.option(
    "--folder", type=parameters.file, metavar="PATH", help="Say it of the documents of one folder or file alone."
)
@parameters.as_json
@parameters.home
@click.pass_context
def describe(
    context: click.Context, name: str | None, text: str | None, folder: str | None, as_json: bool, home: str | None
) -> int:
    r"""Say in a few words what collection NAME holds, or show what was said; an empty TEXT takes it back.

    Without a NAME: which home is used here and why, and its collections with what was said of each, for people and
    programs that choose among them.

    \b
    semsearch describe papers "what our group published since 2010"
    semsearch describe papers "drafts, not reviewed" --folder papers/drafts
    semsearch describe
    """
    where = Home.of(home)
    if folder is not None and text is None:
        raise UsageError("--folder is for saying what a folder holds: semsearch describe NAME TEXT --folder PATH.")
    if name is None:
        return _describe_home(where, _chosen_by(context.get_parameter_source("home")), as_json)
    with semsearch.open(name, home=where) as collection:
        if text is not None:
            collection.describe(text, folder)
        said = collection.description if folder is None else text
        if as_json:
            out(wire.dumps(wire.message(**_described(collection))))
        elif text is None:
            out(one_line(said or "") or f"nothing was said of '{name}': semsearch describe {name} \"…\"")
            for path, words in collection.described_folders.items():
                out(f"{one_line(path)}: {one_line(words)}")
        else:
            what = f"'{name}'" if folder is None else f"{one_line(folder)} in '{name}'"
            say(f"{what} is described" if said else f"nothing is said of {what} any more")
    return 0


def _chosen_by(source: ParameterSource | None) -> str:
    """Why this home is used, in words."""
    match source:
        case ParameterSource.COMMANDLINE:
            return "chosen with --home"
        case ParameterSource.ENVIRONMENT:
            return "named by SEMSEARCH_HOME"
        case ParameterSource.DEFAULT_MAP:
            return "a default of semsearch.toml"
    return "your own, as there is no .semsearch here or above" if nearest_home() is None else "the nearest .semsearch"


def _describe_home(where: Home, why: str, as_json: bool) -> int:
    rows, told = [], []
    for name in where.names():
        try:
            with semsearch.open(name, home=where) as collection:
                facts = _described(collection)
        except SemsearchError as error:
            say(f"'{name}' can't be opened: {error}")
            continue
        told.append(facts)
        sources = ", ".join(one_line(str(source)) for source in facts["sources"])
        rows.append((name, facts["documents"], one_line(facts["description"]), sources))
    if as_json:
        out(wire.dumps(wire.message(home=where.location, chosen_by=why, collections=told)))
        return 0
    say(f"home: {one_line(where.location)} ({why})")
    if rows:
        show_table(("name", "documents", "what it holds", "sources"), rows)
    else:
        say("there is no collection yet. Make one with 'semsearch index PATH'.")
    return 0


def _described(collection: Collection) -> dict[str, Any]:
    return {
        "name": collection.name,
        "description": collection.description,
        "folders": collection.described_folders,
        "documents": len(collection),
        "sources": [source.get("path") for source in collection.sources],
    }


@click.command(short_help="Show what a collection is made of.")
@click.argument("name", required=False, shell_complete=parameters.collections)
@click.option("--config", is_flag=True, help="Show defaults instead, and where each comes from.")
@parameters.as_json
@parameters.home
@click.pass_context
def info(context: click.Context, name: str | None, config: bool, as_json: bool, home: str | None) -> int:
    r"""Show what collection NAME is made of: counts, model, splitting, languages, index, sources, size.

    \b
    semsearch info corpus --json
    semsearch info --config
    """
    if config:
        return _show_config(context, as_json)
    if name is None:
        raise UsageError(f"say which collection: {', '.join(Home.of(home).names()) or 'there is none'}.")
    with semsearch.open(name, home=Home.of(home)) as collection:
        facts = collection.info()
    if as_json:
        out(wire.dumps(wire.info(facts)))
    else:
        show_facts(facts)
    return 0


def _show_config(context: click.Context, as_json: bool) -> int:
    from semsearch.cli.defaults import CONFIG_FILE, files, origins

    group = context.find_root().command
    assert isinstance(group, click.Group)
    found = list(origins(group))
    if as_json:
        for option, value, origin in found:
            out(wire.dumps({"option": option, "value": value, "origin": origin}))
    else:
        say(f"files read: {', '.join(map(str, files())) or f'none ({CONFIG_FILE} in {Home.of().location} or here)'}")
        show_table(("option", "value", "from"), found)
    return 0


COMMANDS = (get, remove, drop, list_collections, describe, info)
