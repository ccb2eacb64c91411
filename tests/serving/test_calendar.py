from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.calendar import SLOTS, TOKENS, calendar_tokens

DAY_US = 86_400_000_000


def at(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp() * 1_000_000)


def test_the_moment_of_a_question_is_three_tokens() -> None:
    # 2026-11-28 was a Saturday: November is the 11th month, Saturday the 6th day, and 23 h the 24th hour.
    assert calendar_tokens(np.array([at(2026, 11, 28, 23, 59, 59)]), 0).tolist() == [[10, 12 + 5, 19 + 23]]
    # 1970-01-01 was a Thursday.
    assert calendar_tokens(np.array([1]), 100).tolist() == [[100, 112 + 3, 119]]


def test_no_moment_has_no_calendar() -> None:
    assert calendar_tokens(np.array([0, -DAY_US, DAY_US]), 5).tolist() == [[0] * 3, [0] * 3, [5, 5 + 12 + 4, 5 + 19]]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))
def test_the_calendar_is_pythons_own(moment: datetime) -> None:
    us = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    expected = [moment.month - 1, 12 + moment.weekday(), 19 + moment.hour]
    assert calendar_tokens(np.array([us]), 0)[0].tolist() == expected
    assert max(expected) < TOKENS


def test_towers_that_know_no_calendar_get_none() -> None:
    assert calendar_tokens(np.array([5 * DAY_US, 6 * DAY_US]), None).shape == (2, 0)
    assert calendar_tokens(np.zeros(0, np.int64), 7).shape == (0, SLOTS)
