"""`semsearch map`: a picture of a collection."""

from __future__ import annotations

from dataclasses import dataclass

import click

import semsearch
from semsearch.cli import pairs, parameters
from semsearch.cli.clusters import GroupingOptions, grouping
from semsearch.cli.render import say
from semsearch.home import Home

PICTURE_ENDINGS = (".html", ".png")


@dataclass(frozen=True, slots=True)
class MapOptions(GroupingOptions):
    """What `semsearch map` takes."""

    by: str | None
    file: str | None


@click.command(short_help="Draw a map of a collection.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--by", metavar="FIELD", help="Colour by this field of metadata, and not by topic.")
@grouping("topic")
@click.option(
    "--out",
    "file",
    type=parameters.file,
    metavar="FILE",
    help="A page, FILE.html, or a picture, FILE.png.  [NAME.html]",
)
@parameters.home
@parameters.typed(MapOptions)
def map(options: MapOptions) -> int:
    r"""Draw collection NAME: a point for each document, those that are alike side by side, topics with their names.

    The page is one file that needs no network: move and zoom it, point at a document to read it, choose a topic. The
    same seed gives the same map.

    \b
    semsearch map tickets                            # tickets.html
    semsearch map tickets --by product --out tickets-by-product.html
    semsearch map tickets --count 20 --out tickets.png
    """
    file = pairs.checked_file(options.file or f"{options.name}.html", PICTURE_ENDINGS)
    with semsearch.open(options.name, home=Home.of(options.home)) as collection:
        found = collection.map(options.by, **options.grouping)
    content = found.picture() if file.suffix == ".png" else found.page().encode("utf-8")
    pairs.write_whole(file, content)
    say(f"drew {len(found):,} documents in {len(found.topics):,} topics: {file} ({len(content):,} bytes)", *found.notes)
    return 0 if len(found) else 1


COMMANDS = (map,)
