"""Dates: the ISO forms in which they are kept, and the moments by which they compare, whatever their zone.

A date is kept as text, in ISO 8601: `2024-05-01`, or with a time, `2024-05-01T12:30:00+02:00`. A time without a zone
counts as UTC. What compares are microseconds since 1970 in UTC.
"""

from __future__ import annotations

import re
from calendar import monthrange
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

SECOND = 1_000_000  # microseconds
DAY = 86_400 * SECOND
MICROSECONDS = {"second": SECOND, "minute": 60 * SECOND, "hour": 3600 * SECOND, "day": DAY, "week": 7 * DAY}
MONTHS = {"month": 1, "year": 12}  # in months
_EPOCH = date(1970, 1, 1).toordinal()
_TIME = r"[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?"
_DATE = re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)(?:{_TIME})?", re.ASCII | re.IGNORECASE)
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_AGO = re.compile(r"\s*(?:(\d{1,6})\s+)?(second|minute|hour|day|week|month|year)s?\s*", re.ASCII | re.IGNORECASE)


def moment(text: str) -> int | None:
    """The microsecond that a date in ISO form stands for, a day for its first; None where a text is no such date.

    >>> moment("2024-05-01T02:00:00+02:00") == moment("2024-05-01")
    True
    """
    if text[4:5] != "-" or text[7:8] != "-" or (found := _DATE.fullmatch(text)) is None:  # nearly no text passes
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    seconds = 3600 * int(hour or 0) + 60 * int(minute or 0) + int(second or 0)
    if int(hour or 0) > 23 or int(minute or 0) > 59 or int(second or 0) > 59:
        return None
    if zone and zone not in "zZ":
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        seconds -= (-1 if zone[0] == "-" else 1) * (3600 * hours + 60 * minutes)
    return days * DAY + seconds * SECOND + int((fraction or "").ljust(6, "0")[:6])


def span(text: str) -> tuple[int, int] | None:
    """What a date in ISO form covers, from its first microsecond to the one behind its last: a month, a day, a moment.

    >>> span("2024-05") == (moment("2024-05-01"), moment("2024-06-01"))
    True
    """
    if found := _MONTH.fullmatch(text):
        first = moment(f"{text}-01")
        return None if first is None else (first, first + monthrange(int(found[1]), int(found[2]))[1] * DAY)
    first = moment(text)
    return None if first is None else (first, first + (DAY if len(text) == 10 else 1))


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def last(ago: str | timedelta) -> tuple[int, int] | None:
    """The time from so long ago ("30 days", "week") to now, as in `span`; None where nothing like that is said.

    Days and longer begin with a day in UTC, for a date that is a day has no time to compare. No time at all is none.
    """
    if isinstance(ago, timedelta):  # of whole days, or as many microseconds
        count, unit = (ago.days, "day") if not ago % timedelta(days=1) else (ago // timedelta(microseconds=1), "")
    elif found := _AGO.fullmatch(ago):
        count, unit = int(found[1] or 1), found[2].lower()
    else:
        return None
    if count < 1:
        return None
    here = now()
    behind = _microseconds(here) + 1
    if not unit:
        return behind - 1 - count, behind
    try:
        if unit in MONTHS:
            months = here.year * 12 + here.month - 1 - count * MONTHS[unit]
            began = _clamped(months // 12, months % 12 + 1, here.day)
        else:
            began = here.date() - timedelta(days=MICROSECONDS[unit] * count // DAY)
    except (ValueError, OverflowError):  # before the year 1
        began = date.min
    first = (began.toordinal() - _EPOCH) * DAY
    if unit in MICROSECONDS and MICROSECONDS[unit] < DAY:
        first = behind - 1 - count * MICROSECONDS[unit]
    return first, behind


def _clamped(year: int, month: int, day: int) -> date:
    """The day of a month, or its last one."""
    return date(year, month, min(day, monthrange(year, month)[1]))


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def iso(value: date) -> str:
    """A date, or a time in UTC where it has a zone, in the form that is kept.

    >>> iso(datetime.fromisoformat("2024-05-01T02:00+02:00"))
    '2024-05-01T00:00:00+00:00'
    """
    if isinstance(value, datetime) and value.utcoffset() is not None:
        with suppress(OverflowError):  # within a day of the year 1 or 10,000: it compares rightly with its zone, too
            value = value.astimezone(UTC)
    return value.isoformat()


def read(text: str) -> str:
    """A date in any form that means one thing only, in the form that is kept: ISO's forms, and that of e-mail.

    >>> read("Wed, 01 May 2024 12:00:00 +0200"), read("20240501")
    ('2024-05-01T10:00:00+00:00', '2024-05-01')

    Raises:
        ValueError: It is none.
    """
    text = text.strip()
    if moment(text) is not None and len(text) == 10:
        return text
    try:
        return iso(datetime.fromisoformat(text) if len(text) > 10 or "T" in text else date.fromisoformat(text))
    except ValueError:
        return iso(parsedate_to_datetime(text))
