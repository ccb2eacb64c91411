"""The benchmark of baskets: which questions are asked, and scores that can be counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.baskets import Question, cosine_scores, counted_scores, questions, recall
from pipelines.errors import DataError
from pipelines.snapshot import TEST, TRAIN
from tests.small_snapshot import Event, small_snapshot

# User, item, day, type, split, is it evaluated: items 0 and 1 are bought by three, 1 and 2 by one.
LEARNED: list[Event] = [(0, 0, 0, "buy", TRAIN, False), (1, 0, 0, "buy", TRAIN, False), (2, 0, 0, "buy", TRAIN, False),
                        (0, 1, 1, "buy", TRAIN, False), (1, 1, 1, "buy", TRAIN, False), (2, 1, 1, "buy", TRAIN, False),
                        (2, 2, 2, "buy", TRAIN, False), (2, 2, 3, "buy", TRAIN, False)]


def test_a_basket_is_what_one_customer_takes_at_once(tmp_path: Path) -> None:
    asked: list[Event] = [(0, 2, 5, "buy", TEST, True), (0, 3, 5, "buy", TEST, True), (0, 3, 5, "return", TEST, False),
                          (1, 2, 5, "buy", TEST, True), (1, 3, 6, "buy", TEST, True)]
    found = questions(small_snapshot(tmp_path, LEARNED + asked, 3, 4), 10, 0)
    # User 1 takes them on two days, and what user 0 returns is not taken.
    assert [{*question.items, question.left_out} for question in found] == [{2, 3}]


def test_without_any_basket_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody took two products together"):
        questions(small_snapshot(tmp_path, LEARNED, 3, 4), 10, 0)


def test_customers_who_took_both_are_counted_once_each(tmp_path: Path) -> None:
    data = small_snapshot(tmp_path, LEARNED, 3, 4)
    # Of the three customers of item 1, three took 0, three 1 and one 2; of the one of item 2, one took each.
    scores = counted_scores(data, [Question((1,), 0), Question((1, 2), 0)])
    assert scores.tolist() == [[3, 3, 1, 0], [4, 4, 2, 0]]


def test_cosines_leave_the_prior_out() -> None:
    vectors = np.array([[2, 0, 9], [1, 1, 0], [0, 3, 1]], np.float32)
    assert cosine_scores(vectors, [Question((0, 2), 1)]) == pytest.approx(np.array([[1, 2**0.5, 1]]))


def test_what_is_in_the_basket_takes_no_place_in_the_answer() -> None:
    scores = np.arange(24, 0, -1, dtype=np.float32)[None].repeat(3, axis=0)
    asked = [Question((0, 1), 11), Question((0, 1), 12), Question((20,), 9)]
    # Ten are shown: rows 2 to 11, 2 to 11, and 0 to 9.
    assert recall(scores, asked) == pytest.approx(2 / 3)
