import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.histories import first_meetings, group_by_user


def test_grouping_keeps_the_order_within_a_user() -> None:
    indptr, order = group_by_user(np.array([2, 0, 2, 0, 2], np.int32), 4)
    assert indptr.tolist() == [0, 2, 2, 5, 5]
    assert order.tolist() == [1, 3, 0, 2, 4]


@given(st.lists(st.integers(0, 6), max_size=50))
def test_grouping_is_a_stable_sort(users: list[int]) -> None:
    user = np.array(users, np.int32)
    indptr, order = group_by_user(user, 7)
    assert order.tolist() == np.argsort(user, kind="stable").tolist()
    assert np.diff(indptr).tolist() == np.bincount(user, minlength=7).tolist()


def test_only_the_first_meeting_counts() -> None:
    user, item = np.array([0, 0, 1, 0], np.int32), np.array([5, 5, 5, 6], np.int32)
    assert first_meetings(user, item).tolist() == [True, False, True, True]
