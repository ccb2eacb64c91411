"""When it is asked, as the shopper meets it: month, weekday and hour as tokens of the user feature table.

What is wanted turns with the season and the day, and of a shopper nobody knows it is all that is known.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MONTHS, WEEKDAYS, HOURS = 12, 7, 24
TOKENS = MONTHS + WEEKDAYS + HOURS
SLOTS = 3  # one of each
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday, and weeks begin on Mondays


def first_token(spec: Mapping[str, Any]) -> int | None:
    """January's, behind those of the users' features; None for towers that know no calendar, as those of 0.1.0."""
    return spec["user_token_count"] if spec.get("calendar") else None


def table_rows(spec: Mapping[str, Any]) -> int:
    """Rows of the table of users' features and calendar."""
    return int(spec["user_token_count"]) + (TOKENS if spec.get("calendar") else 0)


def calendar_tokens(now: npt.NDArray[np.int64], first: int | None) -> npt.NDArray[np.int32]:
    """Tokens int32 [n, 3] of month, weekday and hour in UTC; [n, 0] where the towers know no calendar.

    Args:
        now: [n] microseconds since 1970; 0 and before is no moment, whose tokens are the padding.
        first: token of January; the other months, Monday to Sunday and the hours from 0 follow. None for no calendar.
    """
    if first is None:
        return np.zeros((len(now), 0), np.int32)
    hours = now // 3_600_000_000
    days = hours // 24
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % MONTHS
    parts = (month, MONTHS + (days + _FIRST_WEEKDAY) % WEEKDAYS, MONTHS + WEEKDAYS + hours % 24)
    return (np.stack(parts, axis=1) + first).astype(np.int32) * (now > 0)[:, None]
