"""The share of demand that new items get is carried from one training to another, whatever the scores of each."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.newcomer_share import NewcomerShare
from models.ranking import Floats
from pipelines.snapshot import TRAIN, VALID, Queries, SnapshotData
from tests.small_snapshot import small_snapshot


@dataclass(frozen=True)
class Fixed:
    """Scores [items] for everybody."""

    row: tuple[float, ...]
    name: str = "fixed"

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        return np.tile(np.array(self.row, np.float32), (len(queries), 1))


@pytest.fixture
def data(tmp_path: Path) -> SnapshotData:
    """Items 0 to 2 were sold, item 3 is new; user 0 has met item 0, user 1 nothing, user 2 all that was sold."""
    return small_snapshot(tmp_path / "shop", [
        (0, 0, 1, "buy", TRAIN, False), (2, 0, 1, "buy", TRAIN, False), (2, 1, 1, "buy", TRAIN, False),
        (2, 2, 1, "buy", TRAIN, False), *((user, 3, 2, "buy", VALID, True) for user in range(3)),
    ], users=3, items=4)


IS_NEW = np.array([False, False, False, True])


def test_the_share_is_that_of_the_softmax_over_what_was_not_met(data: SnapshotData) -> None:
    share = NewcomerShare.of(Fixed((0, 0, 0, 0)), data, data.queries(VALID), IS_NEW)
    # User 0 is shown one new item of three, user 1 one of four; user 2 has nothing else left, which says nothing.
    assert share.at(0) == pytest.approx((1 / 3 + 1 / 4) / 2 / (1 / 4))
    # With e^offset = 6 it is 6 of 8 and 6 of 9.
    assert share.at(math.log(6)) == pytest.approx((6 / 8 + 6 / 9) / 2 / (1 / 4))
    assert share.offset((6 / 8 + 6 / 9) / 2 / (1 / 4)) == pytest.approx(math.log(6), abs=1e-5)


def test_scores_count_as_log_odds(data: SnapshotData) -> None:
    share = NewcomerShare.of(Fixed((0, math.log(2), math.log(3), math.log(5))), data, data.queries(VALID), IS_NEW)
    # User 0: 5 of 2 + 3 + 5; user 1: 5 of 1 + 2 + 3 + 5.
    assert share.at(0) == pytest.approx((5 / 10 + 5 / 11) / 2 / (1 / 4))


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.floats(0.001, 0.9), st.floats(-15, 15))
def test_the_offset_of_a_share_is_the_one_that_gives_it(odds: list[float], part: float, offset: float) -> None:
    share = NewcomerShare(np.array(odds), part)
    assert share.at(share.offset(share.at(offset))) == pytest.approx(share.at(offset), rel=1e-4)


def test_a_share_that_no_offset_gives_has_the_farthest_one() -> None:
    share = NewcomerShare(np.zeros(3), 0.5)
    assert share.offset(0) == -50
    assert share.offset(2) == 50  # two even shares of a half are everything


def test_without_a_question_nothing_is_carried_over() -> None:
    nobody = NewcomerShare(np.zeros(0), 0.5)
    assert (nobody.at(3), nobody.offset(2)) == (1, 0)
