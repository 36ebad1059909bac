"""Pairs of texts from files, with a person's score where there is one: CSV, TSV or JSON lines, packed or not."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semsearch.arguments import kind_of
from semsearch.errors import DataError, UsageError
from semsearch.reading.files import MAX_TEXT_BYTES, CorpusFile, Input, StrictReport, has_suffix, open_input, read_lines
from semsearch.reading.json_objects import read_objects
from semsearch.validation import check_text

TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
PAIR_FILES = (".jsonl", ".json", *TABLE_SUFFIXES)
FIRST_COLUMNS = (
    "sentence1",
    "first",
    "text1",
    "s1",
    "sentence_1",
    "question1",
)  # names that the field's own files have
SECOND_COLUMNS = ("sentence2", "second", "text2", "s2", "sentence_2", "question2")
GOLD_COLUMNS = ("score", "gold", "label", "similarity", "is_duplicate")


@dataclass(frozen=True)
class PairFile:
    """How pairs stand in a file.

    Attributes:
        first: The column of one text; None: `sentence1`, `first` and the like.
        second: The column of the other.
        gold: The column of the score.
        split: Only the rows whose column `split` says this.
        quotes: Whether quotation marks enclose cells; None: in CSV they do, in TSV they are as any other character.
    """

    first: str | None = None
    second: str | None = None
    gold: str | None = None
    split: str | None = None
    quotes: bool | None = None

    def read(self, path: Path, *, judged: bool = True) -> tuple[list[str], list[str], list[float]]:
        """The texts of one side, those of the other, and the scores, which are empty unless `judged`.

        Raises:
            UsageError: The name ends in none of the kinds.
            DataError: A column that is not there, a row that is no pair, or no pairs at all.
        """
        if not has_suffix(path, PAIR_FILES):
            raise UsageError(f"'{path}' must end in {', '.join(PAIR_FILES[:-1])} or {PAIR_FILES[-1]}, with .gz or not.")
        firsts, seconds, golds = [], [], []
        splits = set()
        with open_input(CorpusFile(path, "")) as data:
            for where, row in self._rows(path, data):
                if self.split is not None:
                    said = row[_column(row, "split", (), where)]
                    splits.add(str(said))
                    if said != self.split:
                        continue
                firsts.append(_text(row, _column(row, self.first, FIRST_COLUMNS, where), where))
                seconds.append(_text(row, _column(row, self.second, SECOND_COLUMNS, where), where))
                if judged:
                    golds.append(_number(row, _column(row, self.gold, GOLD_COLUMNS, where), where))
        if not firsts:
            there = "" if not splits else f" of the split '{self.split}'; there are: {', '.join(sorted(splits)[:20])}"
            raise DataError(f"{path} holds no pairs{there}.")
        return firsts, seconds, golds

    def _rows(self, path: Path, data: Input) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if not has_suffix(path, TABLE_SUFFIXES):
            for where, _, record in read_objects(data, StrictReport()):
                yield where, record
            return
        commas = has_suffix(path, (".csv",))
        quotes = commas if self.quotes is None else self.quotes
        csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_BYTES))
        number = 0

        def lines() -> Iterator[str]:
            nonlocal number
            for number, text in read_lines(data, StrictReport()):  # noqa: B007  (told below)
                yield text

        rows = csv.reader(
            lines(),
            delimiter="," if commas else "\t",
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=True,
        )
        names: list[str] | None = None
        try:
            for row in rows:
                where = f"{data.name}, line {number:,}"
                if names is None:
                    names = row
                elif row:
                    if len(row) != len(names):
                        raise DataError(f"{where}: the row has {len(row)} fields, where the header has {len(names)}.")
                    yield where, dict(zip(names, row, strict=True))
        except csv.Error as error:
            hint = (
                " If quotation marks are ordinary characters in this file, say --quotes no (in sts and similarity), or "
                "make it TSV."
            )
            raise DataError(
                f"{data.name}, line {number:,}: the row can't be read: {error}.{hint if quotes else ''}"
            ) from None


def _column(row: Mapping[str, Any], named: str | None, usual: tuple[str, ...], where: str) -> str:
    for name in (named,) if named is not None else usual:
        if name in row:
            return name
    wanted = f"'{named}'" if named is not None else f"of these: {', '.join(usual)}"
    raise DataError(
        f"{where}: there is no column {wanted}; there are: {', '.join(map(str, list(row)[:20])) or 'none'}."
    )


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: '{name}' must hold a text, and holds {kind_of(value)}: {value!r:.60}.")
    check_text(value, f"{where}: '{name}'")
    return value


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    value = row[name]
    try:
        number = float(value)
        if isinstance(value, bool) or not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"{where}: '{name}' must hold a number, and holds {value!r:.60}.") from None
    return number
