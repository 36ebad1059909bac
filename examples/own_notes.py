"""Search inside one's own notes: a folder of Markdown, kept in step.

Sections are found under their headings; `sync` takes in what was written since and takes out what was deleted. Run it:
`python examples/own_notes.py FOLDER "what did I write about…"`; without a folder, notes are made of the samples.
"""

import json
import sys
import tempfile
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import semsearch
from semsearch.ingest.source import Source

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"


def make_notes(folder: Path) -> None:
    """A file for each subject, a heading for each sample."""
    records = [json.loads(line) for line in (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()]
    for subject, group in groupby(sorted(records, key=itemgetter("subject")), key=itemgetter("subject")):
        sections = [f"## {record['title']}\n\n{record['text']}\n" for record in group]
        file = folder / f"{subject.replace(' ', '-')}.md"
        file.write_text(f"# {subject.capitalize()}\n\n" + "\n".join(sections), "utf-8")


def main(folder: str | None = None, question: str = "what to do when someone is burnt") -> list[semsearch.Hit]:
    """Index the notes, change them, sync, and ask."""
    with tempfile.TemporaryDirectory() as temporary:
        notes = Path(folder or temporary) if folder else Path(temporary, "notes")
        if not folder:
            notes.mkdir()
            make_notes(notes)
        with semsearch.create("notes", home=Path(temporary, "home")) as collection:
            sections = Source.of(notes, "documents")  # a folder of nothing but Markdown would be a document a file
            print(f"{collection.add_from(sections).added} sections taken in")
            if not folder:
                (notes / "today.md").write_text(
                    "# Today\n\nThe kettle tipped over; ten minutes of cool water helped the burn.", "utf-8"
                )
                (notes / "sports.md").unlink()
                synced = collection.sync()
                print(f"synced: added {synced.changes.added}, removed {synced.removed}")
            hits = collection.search(question, k=3)
            for hit in hits:
                print(f"  {hit.score:.2f}  {hit.metadata['file']}: {hit.title}")
            return hits


if __name__ == "__main__":
    main(*sys.argv[1:3])
