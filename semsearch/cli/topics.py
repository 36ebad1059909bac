"""`semsearch topics`: what a collection is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import semsearch
from semsearch import wire
from semsearch.cli import pairs, parameters
from semsearch.cli.clusters import GroupingOptions, grouping
from semsearch.cli.render import out, say, show_table
from semsearch.controls import one_line
from semsearch.home import Home

if TYPE_CHECKING:
    from semsearch.applications.topics import Topic, Topics

STANDS_CHARACTERS = 60  # of the text that stands for a topic
TOPIC_COLUMNS = ("id", "topic", "name", "score")
PAGE_ENDING = ".html"


@dataclass(frozen=True, slots=True)
class TopicsOptions(GroupingOptions):
    """What `semsearch topics` takes."""

    over: str | None
    label_as: str | None
    outliers: int
    file: str | None
    as_json: bool


@click.command(short_help="Say what a collection is about.")
@click.argument("name", shell_complete=parameters.collections)
@grouping("topic")
@click.option("--over", metavar="FIELD", help="Of metadata, with dates: count documents by year, month or day.")
@click.option("--label-as", metavar="FIELD", help="Write the name of its topic into this field of each document.")
@click.option(
    "--outliers", type=click.IntRange(min=0), default=0, metavar="N", help="Name N that fit their topic least."
)
@click.option(
    "--out",
    "file",
    type=parameters.file,
    metavar="FILE",
    help="A page, FILE.html; or a line a document: FILE.jsonl, .tsv or .csv.",
)
@parameters.as_json
@parameters.home
@parameters.typed(TopicsOptions)
def topics(options: TopicsOptions) -> int:
    r"""Put the documents of collection NAME into topics, and name each by the words that tell it from the others.

    A topic is a cluster, made as `semsearch clusters` makes them. With --json a topic is a line, with its words, the
    documents that stand for it, and how many fall into each period. The exit code is 1 if there is none.

    \b
    semsearch topics tickets --count 30
    semsearch topics tickets --over created --out topics.html
    semsearch topics tickets --label-as topic
    semsearch query tickets "how do I" --where 'topic = "card, stolen, lost"'
    """
    file = None if options.file is None else pairs.checked_file(options.file, (PAGE_ENDING, *pairs.TABLE_ENDINGS))
    with semsearch.open(options.name, home=Home.of(options.home)) as collection:
        found = collection.topics(**options.grouping, over=options.over, label_as=options.label_as)
    if file is not None and file.suffix == PAGE_ENDING:
        _write_page(file, found, options)
    elif file is not None:
        pairs.write_rows(file, TOPIC_COLUMNS, _documents(found))
    elif options.as_json:
        for facts in found.told():
            out(wire.dumps(facts))
    else:
        show_table(("topic", "documents", "name", "stands for it"), map(_row, range(len(found)), found))
    _say_counts(found, options.outliers)
    return 0 if len(found) else 1


def _write_page(file: Path, found: Topics, options: TopicsOptions) -> None:
    from semsearch.applications.topics_page import topics_page

    with pairs.whole_file(file) as opened:
        opened.write(topics_page(found, options.name, options.over))


def _documents(found: Topics) -> Any:
    clusters, names = found.clusters, found.names
    for one, topic, score in zip(clusters.ids, clusters.labels.tolist(), clusters.scores.tolist(), strict=True):
        yield (one, topic, names[topic], round(score, 6)) if topic >= 0 else (one, topic, None, None)


def _row(number: int, topic: Topic) -> tuple[Any, ...]:
    stands = topic.standing[0].title or topic.standing[0].passage if topic.standing else ""
    return number, topic.size, topic.name, one_line(stands)[:STANDS_CHARACTERS]


def _say_counts(found: Topics, outliers: int) -> None:
    clusters = found.clusters
    for row in clusters.outliers(outliers).tolist() if outliers else []:
        topic = clusters.labels[row]
        where = f"topic {topic}, {clusters.scores[row]:.4f}" if topic >= 0 else "in no topic"
        say(f"outlier {one_line(clusters.ids[row])} ({where})")
    alone = int((clusters.labels < 0).sum())
    say(f"{len(found):,} topics of {len(clusters.labels) - alone:,} documents; {alone:,} are in none")
    if found.undated:
        say(f"{found.undated:,} documents in a topic have no date")
    say(*found.notes)


COMMANDS = (topics,)
