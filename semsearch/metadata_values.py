"""Python's and numpy's objects as the JSON values that metadata is made of."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from semsearch import dates

LONG_UNITS = ("Y", "M", "W")  # units of numpy's dates that say no day
_FINE = {"ps", "fs", "as"}


def json_value(value: object) -> Any:
    """What is kept of a date, a time, or a scalar or array of numpy's: text, number, truth value, or a list of them.

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
    if isinstance(value, np.ndarray):
        return [json_value(one) if isinstance(one, np.generic | np.ndarray) else one for one in value]
    if isinstance(value, np.bool_ | np.integer | np.floating) and not isinstance(value, np.timedelta64):
        return float(value) if isinstance(value, np.longdouble) else value.item()
    raise TypeError(f"{type(value).__name__} is no value of metadata")
