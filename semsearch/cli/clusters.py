"""`semsearch clusters`: documents in groups that are about the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import semsearch
from semsearch import wire
from semsearch.cli import pairs, parameters
from semsearch.cli.render import out, say, show_table
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.search.where import Exists

if TYPE_CHECKING:
    from semsearch.applications.clusters import Clusters
    from semsearch.collection import Collection

LINE_CHARACTERS = 70  # characters of a text
CLUSTER_METHODS = ("communities", "kmeans", "agglomerative", "hdbscan")
NEW_CLUSTERS = ("method", "count", "min_score", "min_size", "seed")  # options of making them


@dataclass(frozen=True, slots=True)
class GroupingOptions:
    """What all commands take that put documents into clusters."""

    name: str
    method: str | None
    count: int | None
    min_score: float | None
    min_size: int | None
    seed: int
    device: str
    home: str | None

    @property
    def grouping(self) -> dict[str, Any]:
        """As keyword arguments, with a line now and then that says how far it is."""
        return {
            "method": self.method,
            "count": self.count,
            "min_score": self.min_score,
            "min_size": self.min_size,
            "seed": self.seed,
            "device": self.device,
            "progress": pairs.how_far("compared"),
        }


def grouping(group: str, default: str | None = None) -> Callable[[parameters.Command], parameters.Command]:
    """The options of these commands; a `group` is a cluster or a topic, made by k-means without a `default`."""
    methods = click.Choice(CLUSTER_METHODS)
    made = f"What makes the {group}s"
    options = (
        click.option("--method", type=methods, help=f"{made}; k-means by default.")
        if default is None
        else click.option("--method", type=methods, default=default, show_default=True, help=f"{made}."),
        click.option("--count", type=click.IntRange(min=1), metavar="K", help=f"{group.capitalize()}s of k-means."),
        click.option(
            "--min-score", type=parameters.score, metavar="S", help="With the centre, or on average to be merged."
        ),
        click.option("--min-size", type=click.IntRange(min=1), metavar="N", help=f"Documents of a {group} at least."),
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that draws lots."
        ),
        pairs.device,
    )

    def with_options(command: parameters.Command) -> parameters.Command:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


@dataclass(frozen=True, slots=True)
class ClustersOptions(GroupingOptions):
    """What `semsearch clusters` takes."""

    method: str
    label_as: str | None
    assign: bool
    outliers: int
    file: str | None
    as_json: bool


@click.command(short_help="Put documents that are about the same together.")
@click.argument("name", shell_complete=parameters.collections)
@grouping("cluster", default="communities")
@click.option("--label-as", metavar="FIELD", help="Write the number of its cluster into this field of each document.")
@click.option("--assign", is_flag=True, help="Only give documents without a label in --label-as that of their cluster.")
@click.option(
    "--outliers", type=click.IntRange(min=0), default=0, metavar="N", help="Name N that fit their cluster least."
)
@click.option(
    "--out", "file", type=parameters.file, metavar="FILE", help="A line a document: FILE.jsonl, .tsv or .csv."
)
@parameters.as_json
@parameters.home
@parameters.typed(ClustersOptions)
def clusters(options: ClustersOptions) -> int:
    r"""Put the documents of collection NAME that are about the same together, and show each cluster and who is in it.

    Communities lie around one document each; --method kmeans --count K parts all documents into K clusters; both take
    any number. agglomerative and hdbscan take up to 20,000. The same seed gives the same clusters. The exit code is 1
    if there is none; --assign ends with 0 where nothing was to be labelled.

    \b
    semsearch clusters questions --min-score 0.8 --min-size 5
    semsearch clusters questions --method kmeans --count 50 --label-as topic
    semsearch query questions "how do I learn" --where 'topic = 3'
    semsearch clusters questions --label-as topic --assign       # only what came since
    """
    file = None if options.file is None else pairs.checked_file(options.file)
    if options.assign and options.label_as is None:
        raise UsageError("say with --label-as which field has the labels.")
    if options.assign and (file is not None or options.as_json or options.outliers):
        raise UsageError("--assign lists nothing: leave out --out, --json and --outliers.")
    if options.assign and (given := [name for name in parameters.given() if name in NEW_CLUSTERS]):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--assign goes by the clusters that there are: leave out {flags}.")
    with semsearch.open(options.name, home=Home.of(options.home)) as collection:
        if options.assign:
            labels = collection.assign_clusters(str(options.label_as), device=options.device)
            with collection.engine.view() as view:
                without = len(collection) - view.count(Exists(str(options.label_as)))
            say(f"labelled {len(labels):,} documents; near no cluster, and without a label: {without:,}")
            return 0
        found = collection.clusters(**options.grouping, label_as=options.label_as)
        if file is not None:
            pairs.write_rows(file, ("id", "cluster", "score"), _documents(found))
        elif options.as_json:
            for facts in found.told():
                out(wire.dumps(facts))
        else:
            _show(collection, found)
        for row in found.outliers(options.outliers).tolist() if options.outliers else []:
            cluster = found.labels[row]
            where = f"cluster {cluster}, {found.scores[row]:.4f}" if cluster >= 0 else "in no cluster"
            say(f"outlier {one_line(found.ids[row])} ({where})")
        _say_counts(found)
        return 0 if len(found) else 1


def _documents(found: Clusters) -> Any:
    for one, cluster, score in zip(found.ids, found.labels.tolist(), found.scores.tolist(), strict=True):
        yield one, cluster, round(score, 6) if cluster >= 0 else None


def _show(collection: Collection, found: Clusters) -> None:
    sizes, rows = found.sizes.tolist(), []
    best = [found.ids[int(members[0])] for members in found.representatives]
    for cluster, document in enumerate(collection.get(best)):
        text = "" if document is None else one_line(document.title or document.text)
        rows.append((cluster, sizes[cluster], one_line(best[cluster]), text[:LINE_CHARACTERS]))
    show_table(("cluster", "size", "best", "says"), rows)


def _say_counts(found: Clusters) -> None:
    alone = int((found.labels < 0).sum())
    told = found.min_score is not None and found.min_score > -math.inf  # which no pair told
    least = f", by a score of {found.min_score:.4f}" if told else ""
    say(f"{len(found):,} clusters of {len(found.labels) - alone:,} documents{least}; {alone:,} are in none")


COMMANDS = (clusters,)
