"""How many documents of each topic fall into which year, month or day, by a field of metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from semsearch.dates import DAY, span
from semsearch.search.fields import fields_of

EPOCH = date(1970, 1, 1)
DAYS_OF_YEARS = 3 * 366  # from so many days on years are counted,
DAYS_OF_MONTHS = 92  # from so many months
MOST_PERIODS = 400  # up to so many those in which nothing falls are there, too
YEAR = re.compile(r"\d{4}", re.ASCII)
YEARS, MONTHS_LONG, DAYS_LONG = 4, 7, 10  # characters of a period's name: 2024, 2024-05, 2024-05-01


class Periods:
    """Documents of topics counted by their dates.

    Args:
        field: Of metadata, perhaps dotted: dates in ISO form, months ("2024-05"), or years, as text or whole number.
        topics: How many.
    """

    def __init__(self, field: str, topics: int) -> None:
        self.undated = 0
        self._field, self._topics = field, topics
        self._days: Counter[tuple[int, date]] = Counter()
        self._finest = DAYS_LONG  # what all dates tell

    def add(self, topic: int, metadata: Mapping[str, Any]) -> None:
        """Count a document of a topic."""
        for name, _, kind, value in fields_of(metadata):
            if name == self._field and (found := _day(kind, value)) is not None:
                day, finest = found
                self._days[topic, day] += 1
                self._finest = min(self._finest, finest)
                return
        self.undated += 1

    @property
    def dated(self) -> int:
        """Documents with a date."""
        return self._days.total()

    @property
    def names(self) -> list[str]:
        """The periods, from the first to the last."""
        length, days = self._length(), sorted({day for _, day in self._days})
        names = list(dict.fromkeys(day.isoformat()[:length] for day in days))
        filled = names[:1]
        while filled and filled[-1] != names[-1]:
            if len(filled) == MOST_PERIODS:
                return names
            filled.append(_behind(filled[-1]))
        return filled

    def counts(self) -> list[list[int]]:
        """Of each topic the documents in each of the periods."""
        length, place = self._length(), {name: at for at, name in enumerate(self.names)}
        made = [[0] * len(place) for _ in range(self._topics)]
        for (topic, day), count in self._days.items():
            made[topic][place[day.isoformat()[:length]]] += count
        return made

    def _length(self) -> int:
        days = [day for _, day in self._days]
        covered = (max(days) - min(days)).days if days else 0
        wanted = YEARS if covered > DAYS_OF_YEARS else MONTHS_LONG if covered > DAYS_OF_MONTHS else DAYS_LONG
        return min(wanted, self._finest)


def _day(kind: str, value: Any) -> tuple[date, int] | None:
    """The first day of what a value covers, and how finely it tells it."""
    if kind == "date":
        return _of_days(value // DAY, DAYS_LONG)
    if kind == "number" and float(value).is_integer() and 1 <= value <= 9999:
        return date(int(value), 1, 1), YEARS
    if kind == "text" and YEAR.fullmatch(value) and int(value):
        return date(int(value), 1, 1), YEARS
    if kind == "text" and len(value) == MONTHS_LONG and (covered := span(value)) is not None:
        return _of_days(covered[0] // DAY, MONTHS_LONG)
    return None


def _of_days(days: int, length: int) -> tuple[date, int] | None:
    try:
        return EPOCH + timedelta(days=days), length
    except OverflowError:  # within a day of the year 1 or 10,000, by its zone
        return None


def _behind(name: str) -> str:
    """The period behind one."""
    year, month, day = (int(part) for part in f"{name}-01-01".split("-")[:3])
    if len(name) == YEARS:
        return f"{year + 1:04d}"
    if len(name) == MONTHS_LONG:
        return f"{year + month // 12:04d}-{month % 12 + 1:02d}"
    return (date(year, month, day) + timedelta(days=1)).isoformat()
