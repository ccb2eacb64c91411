"""Whom the summary shows, and with which history."""

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.snapshot import Histories
from stack.summary import customers_to_show, history_of, purchases

TYPES = ["purchase", "return"]


def histories(lengths: list[int], times: list[int], weights: list[float]) -> Histories:
    count = len(times)
    return Histories(
        indptr=np.cumsum([0, *lengths]), item=np.arange(count, dtype=np.int32), time=np.array(times, np.int64),
        type=np.array([0 if weight else 1 for weight in weights], np.int16),
        split=np.zeros(count, np.uint8), weight=np.array(weights, np.float32),
        target=np.zeros(count, bool), row=np.arange(count),
    )


def test_customers_with_five_purchases_are_shown_the_latest_first() -> None:
    # User 0: five purchases until time 5. User 1: nothing. User 2: six until 10. User 3: five events of which
    # one is a return (weight 0). User 4: five until 7. So 2 (10), 4 (7), 0 (5).
    made = histories(
        [5, 0, 6, 5, 5], [1, 2, 3, 4, 5, *range(5, 11), 1, 2, 3, 4, 99, 3, 4, 5, 6, 7],
        [1] * 5 + [1] * 6 + [1, 1, 1, 1, 0] + [1] * 5,
    )
    assert customers_to_show(made, purchases(made, TYPES)) == [2, 4, 0]


def test_a_shop_without_a_type_called_purchase_shows_its_positives() -> None:
    made = histories([3], [1, 2, 3], [1, 0, 1])
    assert purchases(made, ["listen", "skip"]).tolist() == [True, False, True]
    # Here type 1 is the purchase, whatever its weight.
    assert purchases(made, ["view", "purchase"]).tolist() == [False, True, False]


def test_no_customer_to_show_is_said() -> None:
    with pytest.raises(DataError, match="no customer has 5 purchases"):
        made = histories([2, 0], [1, 2], [1, 1])
        customers_to_show(made, purchases(made, TYPES))


def test_a_history_is_the_users_own_slice() -> None:
    made = histories([2, 3], [1, 2, 3, 4, 5], [1, 1, 1, 0, 1])
    assert history_of(made, 1).item.tolist() == [2, 3, 4]
    assert history_of(made, 1).weight.tolist() == [1, 0, 1]
