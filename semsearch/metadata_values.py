"""Python's and numpy's objects as the JSON values that metadata is made of."""

from __future__ import annotations

import math
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from semsearch import dates

LONG_UNITS = ("Y", "M", "W")  # units of numpy's dates that say no day
_FINE = {"ps", "fs", "as"}


def json_value(value: object) -> Any:
    """What is kept of a date, a time, or a scalar or array of numpy's: text, number, truth value, or a list of them.

    Decimals are kept as numbers where these say the same, else as texts; durations in seconds; as those of Parquet.

    >>> json_value(np.datetime64("2024-05-01")), json_value(np.float32(0.5)), json_value(np.arange(2))
    ('2024-05-01', 0.5, [0, 1])

    Raises:
        TypeError: It is nothing of these.
        ValueError: It is a date that says no date (NaT), or no day.
    """
    if isinstance(value, date):
        if value != value:  # pandas' NaT
            raise ValueError("no date (NaT)")
        return dates.iso(value)
    if isinstance(value, np.datetime64):
        return _numpy_date(value)
    if isinstance(value, Decimal):
        return decimal_value(value)
    if isinstance(value, timedelta):
        return decimal_value(Decimal(value // timedelta(microseconds=1)).scaleb(-6))
    if isinstance(value, np.timedelta64):
        return _seconds(value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.ndarray):
        return [json_value(one) if isinstance(one, np.generic | np.ndarray) else one for one in value]
    if isinstance(value, np.bool_ | np.integer | np.floating) and not isinstance(value, np.timedelta64):
        return float(value) if isinstance(value, np.longdouble) else value.item()
    raise TypeError(f"{type(value).__name__} is no value of metadata")


def _numpy_date(value: np.datetime64) -> str:
    """A date of numpy's, in the form that is kept."""
    if np.isnat(value):
        raise ValueError("no date (NaT)")
    unit = np.datetime_data(value)[0]
    if unit in LONG_UNITS:
        what = {"Y": "year", "M": "month", "W": "week"}[unit]
        raise ValueError(
            f"the {what} {str(value)!r} of numpy's, which says no day: give a day, np.datetime64(…, 'D'), or a text"
        )
    if unit == "h":
        return str(value.astype("datetime64[m]"))
    return str(value.astype("datetime64[ns]") if unit in _FINE else value)


def _seconds(value: np.timedelta64) -> Any:
    """A duration of numpy's in seconds."""
    if np.isnat(value):
        raise ValueError("no duration (NaT)")
    unit = np.datetime_data(value)[0]
    if unit in LONG_UNITS[:2] or unit in _FINE or unit == "generic":
        raise TypeError("timedelta64 of this unit is no value of metadata")
    if unit == "ns":
        return decimal_value(Decimal(int(value.astype(np.int64))).scaleb(-9))
    return json_value(value.item())


def decimal_value(value: Decimal) -> float | str:
    """A decimal as a float where that says the same, else as a text.

    >>> decimal_value(Decimal("1.10")), decimal_value(Decimal("12345678901234567890.5"))
    (1.1, '12345678901234567890.5')
    """
    if not value.is_finite():
        return str(value)
    found = float(value)
    return found if math.isfinite(found) and Decimal(repr(found)) == value else str(value)
