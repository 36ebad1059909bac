"""How a source is read, as options that `index`, `encode` and `classify` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import parameters
from semsearch.cli.parameters import Command

if TYPE_CHECKING:
    from semsearch.ingest.source import Source


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read."""

    format: str | None
    text: tuple[str, ...]
    title: str | None
    id: str | None
    types: tuple[tuple[str, str], ...]
    reader_options: tuple[tuple[str, Any], ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    no_ignore: bool
    follow_links: bool

    def source(self, path: str) -> Source:
        """The source at `path`."""
        from semsearch.ingest.source import Source

        named = {"text": self.text, "title": self.title, "id": self.id, "types": dict(self.types)}
        return Source.of(
            path,
            self.format,
            dict(self.reader_options) | {key: value for key, value in named.items() if value},
            include=self.include,
            exclude=self.exclude,
            ignore=not self.no_ignore,
            follow_links=self.follow_links,
        )

    @property
    def usual(self) -> bool:
        """Whether nothing was said."""
        return not any(getattr(self, name) for name in self.__dataclass_fields__)


_READING = (
    click.option("--format", metavar="FORMAT", help="text, documents, jsonl, csv, … [default: by the path]."),
    click.option(
        "--text", multiple=True, metavar="FIELD", help="Column that holds the text; several make a document each."
    ),
    click.option("--title", metavar="FIELD", help="Column that holds the title [default: title]."),
    click.option("--id", metavar="FIELD", help="Column that holds the id [default: _id or id]."),
    click.option(
        "--type",
        "types",
        multiple=True,
        type=parameters.pair,
        metavar="FIELD=TYPE",
        help="As in year=int or created=date.",
    ),
    click.option(
        "--read",
        "reader_options",
        multiple=True,
        type=parameters.typed_pair,
        metavar="KEY=VALUE",
        help="Option of the reader.",
    ),
    click.option("--include", multiple=True, metavar="PATTERN", help="Of a folder: only files like this ('*.md')."),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Of a folder: no files or folders like this."),
    click.option("--no-ignore", is_flag=True, help="Read what git would ignore, too."),
    click.option("--follow-links", is_flag=True, help="Of a folder: read files out of it that links lead to, too."),
)


def reading(command: Command) -> Command:
    """Add the options of `ReadOptions`."""
    for option in reversed(_READING):
        command = option(command)
    return command
