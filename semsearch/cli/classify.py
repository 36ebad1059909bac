"""`semsearch classify`: what texts are, by the labelled documents that are like them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click
import numpy as np

import semsearch
from semsearch import wire
from semsearch.cli import parameters, source_options
from semsearch.cli.pairs import device as on_device
from semsearch.cli.parameters import NumberIn
from semsearch.cli.render import out, say, show_table
from semsearch.cli.source_options import ReadOptions
from semsearch.controls import one_line
from semsearch.home import Home

WITH_FIELDS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet")
QUOTED = 70  # characters of a text


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """What `semsearch classify` takes."""

    name: str
    file: str
    field: str
    min_confidence: float
    reader: ReadOptions
    device: str
    as_json: bool
    home: str | None


@click.command(short_help="Label texts by the documents that are like them.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("file", type=parameters.file)
@click.option("--field", required=True, metavar="FIELD", help="Of metadata, with the labels of the documents.")
@click.option("--min-confidence", type=NumberIn(0, 1), default=0.0, metavar="P", help="Below it: don't know (?).")
@source_options.reading
@on_device
@parameters.as_json
@parameters.home
@parameters.typed(ClassifyOptions)
def classify(options: ClassifyOptions) -> int:
    r"""Label the texts in FILE by the vote of the documents of collection NAME that are nearest and have a label.

    FILE has a text a line, or is JSON lines, CSV, TSV or Parquet, or of another --format. How neighbours vote is
    chosen on the labelled documents, each left out in turn. Where the texts have such a field themselves, it is said
    how many are right.

    \b
    semsearch classify tickets new.txt --field team --min-confidence 0.7
    """
    from semsearch.applications.classification import (
        calibration_error,
        document_classifier,
        is_label,
        left_out,
        printed,
    )
    from semsearch.chunking import compose
    from semsearch.ingest.source import ReadReport

    reader, report = options.reader, ReadReport()
    if reader.format is None and not options.file.endswith(WITH_FIELDS):
        reader = replace(reader, format="text")
    documents = list(reader.source(options.file).read(report))
    with semsearch.open(options.name, home=Home.of(options.home)) as collection:
        classifier, ids, notes = document_classifier(collection.engine, options.field, options.device)
        vectors = collection.encoder.encode_documents([compose(one.title, one.text) for one in documents])
        found = classifier.classify(collection._stored_form(vectors), options.min_confidence)
    rows = []
    for document, given in zip(documents, found, strict=True):
        if options.as_json:
            facts = {"id": document.id, "label": given.label, "confidence": given.confidence, "best": given.best}
            out(wire.dumps({**facts, "nearest": ids[given.nearest], "score": given.score}))
        else:
            label = "?" if given.label is None else one_line(str(given.label))
            rows.append((label, f"{given.confidence:.3f}", one_line(document.text)[:QUOTED]))
    if rows:
        show_table(("label", "confidence", "text"), rows)
    if report.same:
        say(f"texts left out, as they stand in {options.file} before: {report.same:,}")
    say(*notes)
    vote = classifier.vote
    say(
        f"{vote.k} neighbours vote; of the labelled documents, each left out, {vote.accuracy:.1%} are labelled right, "
        f"and confidence is off by {vote.calibration_error:.1%}"
    )
    own = [document.metadata.get(options.field) for document in documents]
    say(*left_out("texts not judged", options.field, own))
    judged = [(given, truth) for given, truth in zip(found, own, strict=True) if is_label(truth)]
    if judged:
        right = np.array([printed(given.best) == printed(truth) for given, truth in judged])
        error = calibration_error(np.array([given.confidence for given, _ in judged]), right)
        known = np.array([given.label is not None for given, _ in judged])
        share = right[known].mean() if known.any() else 0.0
        say(
            f"of {len(judged):,} texts with a label {right.mean():.1%} are labelled right, and confidence is off by "
            f"{error:.1%}; of the {known.sum():,} that are known, {share:.1%}"
        )
    return 0


COMMANDS = (classify,)
