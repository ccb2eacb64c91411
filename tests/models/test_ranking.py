from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ranking import contexts, rank, sample, top_items
from pipelines.snapshot import TEST, TRAIN, Queries, SnapshotData
from tests.small_snapshot import small_snapshot


class Fixed:
    """The same scores for everybody."""

    name = "fixed"

    def __init__(self, *scores: float) -> None:
        self.row = np.array(scores, np.float32)

    def scores(self, data: SnapshotData, queries: Queries) -> np.ndarray:
        return np.broadcast_to(self.row, (len(queries), len(self.row)))


@pytest.fixture
def shop(tmp_path: Path) -> SnapshotData:
    """User 0 bought item 0, brought back item 1, and then bought 2 and 3 at once; user 1 is new and bought 4."""
    return small_snapshot(tmp_path / "shop", [
        (0, 0, 1, "buy", TRAIN, False), (0, 1, 2, "return", TRAIN, False),
        (0, 2, 3, "buy", TEST, True), (0, 3, 3, "buy", TEST, True), (1, 4, 3, "buy", TEST, True),
    ], users=2, items=5)


def test_what_the_context_met_is_never_shown_returns_too(shop: SnapshotData) -> None:
    got = rank(Fixed(5, 4, 3, 2, 1), shop, shop.queries(TEST), k=5)
    # User 0 met 0 and 1: 2, 3, 4 are left. User 1 met nothing.
    assert got.top.tolist() == [[2, 3, 4, -1, -1], [0, 1, 2, 3, 4]]
    assert got.rank.tolist() == [1, 2, 5]


def test_a_target_outside_the_list_is_of_rank_0(shop: SnapshotData) -> None:
    assert rank(Fixed(5, 4, 3, 2, 1), shop, shop.queries(TEST), k=1).rank.tolist() == [1, 0, 0]


def test_blocks_do_not_change_the_result(shop: SnapshotData) -> None:
    whole, single = (rank(Fixed(1, 5, 2, 4, 3), shop, shop.queries(TEST), k=3, block=b) for b in (256, 1))
    assert whole.top.tolist() == single.top.tolist()
    assert whole.rank.tolist() == single.rank.tolist()


def test_equal_scores_stand_in_row_order(shop: SnapshotData) -> None:
    assert rank(Fixed(1, 1, 1, 1, 1), shop, shop.queries(TEST), k=2).top.tolist() == [[2, 3], [0, 1]]


def test_a_model_that_gives_nan_is_named(shop: SnapshotData) -> None:
    with pytest.raises(ValueError, match="fixed: 2 scores are NaN"):
        rank(Fixed(1, 2, float("nan"), 4, 5), shop, shop.queries(TEST))


def test_a_model_of_another_catalogue_is_named(shop: SnapshotData) -> None:
    with pytest.raises(ValueError, match=r"scores are \(2, 3\), expected \(2, 5\)"):
        rank(Fixed(1, 2, 3), shop, shop.queries(TEST))


def test_no_queries_give_an_empty_ranking(shop: SnapshotData) -> None:
    got = rank(Fixed(1, 2, 3, 4, 5), shop, shop.queries(TEST).part(0, 0), k=3)
    assert got.top.shape == (0, 3)
    assert got.rank.shape == (0,)


def test_contexts_name_the_events_of_each_query(shop: SnapshotData) -> None:
    owner, event = contexts(shop.queries(TEST))
    assert owner.tolist() == [0, 0]
    assert shop.histories.item[event].tolist() == [0, 1]


def test_a_sample_keeps_whole_questions(shop: SnapshotData) -> None:
    queries = shop.queries(TEST)  # two questions with 2 and 1 targets
    assert sample(queries, 3, 0) is queries
    # Of two targets at most either question fits; with one, the basket of two never does.
    assert {tuple(sample(queries, 2, seed).user) for seed in range(20)} == {(0,), (1,)}
    assert {tuple(sample(queries, 1, seed).user) for seed in range(20)} <= {(1,), ()}
    one = sample(queries, 1, next(s for s in range(20) if len(sample(queries, 1, s))))
    assert one.target_query.tolist() == [0]
    assert shop.histories.item[one.target_event].tolist() == [4]


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)),
              elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])), st.integers(1, 12))
def test_top_items_is_a_stable_sort(scores: np.ndarray, k: int) -> None:
    expected = [[int(i) if np.isfinite(row[i]) else -1 for i in np.argsort(-row, kind="stable")[:k]] for row in scores]
    assert top_items(scores, k).tolist() == expected
