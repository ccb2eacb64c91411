"""Token bags, derived by hand."""

import numpy as np
import pytest

from models.token_bags import TokenBags
from pipelines.errors import DataError


@pytest.fixture
def bags() -> TokenBags:
    """Product 0 has tokens 2 and 7, product 1 none, product 2 has 7, 2 and 5, product 3 has 7."""
    return TokenBags(np.array([0, 2, 2, 5, 6]), np.array([2, 7, 7, 2, 5, 7], np.int32),
                     np.array([1, 0.5, 1, 1, 2, 3], np.float32))


def listed(bags: TokenBags) -> list[list[tuple[int, float]]]:
    return [list(zip(bags.tokens[a:b].tolist(), bags.weights[a:b].tolist(), strict=True))
            for a, b in zip(bags.indptr[:-1], bags.indptr[1:], strict=True)]


def test_rows_are_taken_in_the_order_asked_for(bags: TokenBags) -> None:
    assert listed(bags.take(np.array([3, 1, 0]))) == [[(7, 3)], [], [(2, 1), (7, 0.5)]]
    assert len(bags.take(np.zeros(0, np.intp))) == 0


def test_bags_are_emptied_in_place(bags: TokenBags) -> None:
    kept = bags.only(np.array([False, True, True, False]))
    assert listed(kept) == [[], [], [(7, 1), (2, 1), (5, 2)], []]
    assert listed(bags.only(np.ones(4, bool))) == listed(bags)


def test_frequent_tokens_are_numbered_anew_the_most_frequent_first(bags: TokenBags) -> None:
    """Token 7 is in three bags, 2 in two, 5 in one."""
    kept, count = bags.frequent(least=2, most=10)
    assert count == 2
    assert listed(kept) == [[(1, 1), (0, 0.5)], [], [(0, 1), (1, 1)], [(0, 3)]]
    kept, count = bags.frequent(least=1, most=1)
    assert count == 1
    assert listed(kept) == [[(0, 0.5)], [], [(0, 1)], [(0, 3)]]
    assert bags.frequent(least=4, most=10)[1] == 0


def test_shares_go_by_squared_weights_and_an_empty_bag_has_none(bags: TokenBags) -> None:
    kept, count = bags.frequent(least=1, most=10)  # 7, 2, 5
    assert kept.shares(np.array([0, 1, 2]), count).tolist() == [
        pytest.approx([0.25 / 1.25, 1 / 1.25, 0]), [0, 0, 0], pytest.approx([1 / 6, 1 / 6, 4 / 6])]


def test_arrays_of_different_snapshots_are_refused(bags: TokenBags) -> None:
    with pytest.raises(DataError, match="end at entry 6, but there are 5 tokens and 6 weights"):
        TokenBags(bags.indptr, bags.tokens[:5], bags.weights)


def test_every_field_has_one_vote() -> None:
    """A category of weight 1 beside four words of weight 1 / sqrt(4)."""
    one = TokenBags(np.array([0, 5]), np.arange(5, dtype=np.int32), np.array([1, 0.5, 0.5, 0.5, 0.5], np.float32))
    assert one.shares(np.array([0]), 5).tolist() == [[0.5, 0.125, 0.125, 0.125, 0.125]]
