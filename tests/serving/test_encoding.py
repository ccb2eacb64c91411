import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.encoding import GAP_BUCKETS, History, Limits, encode, gap_bucket

SECOND = 1_000_000
ONE_HOT = np.eye(6, dtype=np.float32)


def history(events: list[tuple[int, int, int, float]]) -> History:
    """(item, second, type, weight) rows as a history."""
    item, time, kind, weight = zip(*events, strict=True) if events else ((), (), (), ())
    return History(np.array(item, np.int32), np.array(time, np.int64) * SECOND, np.array(kind, np.int16),
                   np.array(weight, np.float32))


def encoded(events: list[tuple[int, int, int, float]], now: int, visits: int) -> dict[str, np.ndarray]:
    nobody = np.zeros((1, 1), np.int32)
    return encode([history(events)], np.array([now * SECOND]), nobody, ONE_HOT, Limits(visits, 2, 1))


def test_events_of_one_instant_are_one_visit_and_the_last_one_stands_last() -> None:
    got = encoded([(0, 10, 0, 1.0), (1, 10, 1, 3.0), (2, 25, 0, 1.0)], 26, 3)
    assert got["visits"][0].tolist() == [[1, 3, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]
    assert got["counts"][0].tolist() == [4, 1]
    assert got["types"][0].tolist() == [[0.25, 0.75], [1, 0]]
    # 15 s since the visit before: log2(15 + 1) = 4, and 0 is kept for "none", so 5. One second to now: log2(2) + 1.
    assert got["gaps"][0].tolist() == [0, 5]
    assert got["wait"].tolist() == [2]


def test_what_does_not_fit_is_pooled_into_the_first_slot() -> None:
    got = encoded([(0, 1, 0, 1.0), (1, 2, 0, 1.0), (2, 9, 0, 1.0), (3, 10, 0, 1.0)], 10, 2)
    assert got["visits"][0].tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    # The pool ends at second 9, one second before the last visit.
    assert got["gaps"][0].tolist() == [0, 2]


def test_events_without_weight_are_no_sign_of_taste() -> None:
    assert encoded([(0, 1, 0, 1.0), (1, 2, 1, 0.0)], 3, 2)["counts"][0].tolist() == [1]


def test_nobody_is_all_zeros() -> None:
    assert all(not part.any() for part in encoded([], 5, 2).values())


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 1), st.sampled_from([0.0, 1.0, 2.0])),
                  max_size=12).map(lambda rows: sorted(rows, key=lambda row: row[1]))


@given(EVENTS, st.integers(1, 6))
def test_no_event_is_ever_cut_off(events: list[tuple[int, int, int, float]], visits: int) -> None:
    got = encoded(events, 10, visits)
    expected = np.zeros(6)
    for item, _, _, weight in events:
        expected[item] += weight
    assert np.allclose(got["visits"][0].sum(axis=0), expected)
    assert np.isclose(got["counts"].sum(), expected.sum())


@given(EVENTS, st.randoms())
def test_the_order_within_a_visit_means_nothing(events: list[tuple[int, int, int, float]], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    shuffled.sort(key=lambda row: row[1])
    first, second = encoded(events, 10, 4), encoded(shuffled, 10, 4)
    assert all(np.allclose(first[name], second[name]) for name in first)


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_a_batch_is_its_rows(histories: list[list[tuple[int, int, int, float]]]) -> None:
    together = encode([history(h) for h in histories], np.full(len(histories), 10 * SECOND),
                      np.zeros((len(histories), 1), np.int32), ONE_HOT, Limits(3, 2, 1))
    for row, events in enumerate(histories):
        alone = encoded(events, 10, 3)
        for name, array in alone.items():
            expected = array[0]
            if name in ("visits", "counts", "types", "gaps"):  # right-aligned, empty slots in front
                front = together[name].shape[1] - len(expected)
                expected = np.pad(expected, [(front, 0)] + [(0, 0)] * (expected.ndim - 1))
            assert np.allclose(together[name][row], expected)


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 1), (1, 2), (2, 2), (3, 3), (6, 3), (7, 4), (2**20 - 2, 20),
                                                 (2**20 - 1, 21), (2**30 - 2, 30), (2**30 - 1, 31), (2**40, 31)])
def test_a_bucket_is_one_more_than_the_whole_part_of_log2(seconds: int, bucket: int) -> None:
    # Counted from one second, so that 2 ** n - 1 whole seconds begin bucket n + 1.
    assert gap_bucket(np.array([seconds * SECOND, seconds * SECOND + SECOND - 1])).tolist() == [bucket, bucket]


@given(st.integers(0, 2**62))
def test_gap_buckets_stay_in_the_table(gap: int) -> None:
    assert 1 <= gap_bucket(np.array([gap]))[0] < GAP_BUCKETS


def test_the_moment_of_asking_stands_beside_the_users_own_tokens() -> None:
    # 1970-01-02, 01:00: January, Friday (the 5th day) and the second hour, behind 12 months and 7 days from token 3 on.
    got = encode([history([])], np.array([25 * 3600 * SECOND]), np.array([[2]], np.int32), ONE_HOT, Limits(3, 2, 1, 3))
    assert got["user"].tolist() == [[2, 3, 15 + 4, 22 + 1]]
