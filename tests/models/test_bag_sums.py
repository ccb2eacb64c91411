"""Sums over bags of tokens, beside the same product and gradient by dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bag_sums import BagSums
from models.legacy_keras import tf

WEIGHTS = st.sampled_from([0.125, 0.5, 0.5, 0.75])  # exact in binary, and often equal beside each other


@st.composite
def bags(draw: st.DrawFn) -> tuple[list[list[tuple[int, float]]], int]:
    count = draw(st.integers(1, 7))
    one = st.lists(st.tuples(st.integers(0, count - 1), WEIGHTS), max_size=6)
    return draw(st.lists(one, min_size=1, max_size=5)), count


@settings(max_examples=60, deadline=None)
@given(bags())
def test_sums_and_gradient_are_those_of_the_dense_product(drawn: tuple[list[list[tuple[int, float]]], int]) -> None:
    found, count = drawn
    dense = np.zeros((len(found), count), np.float32)
    for bag, entries in enumerate(found):
        for token, weight in entries:
            dense[bag, token] += weight
    indptr = np.cumsum([0, *map(len, found)])
    flat = [entry for entries in found for entry in entries]
    sums = BagSums(indptr, np.array([token for token, _ in flat], np.int32),
                   np.array([weight for _, weight in flat], np.float32), count)
    # Small whole numbers: sums are exact in whichever order.
    table = tf.Variable(np.arange(3 * count, dtype=np.float32).reshape(count, 3))
    upstream = np.arange(3 * len(found), dtype=np.float32).reshape(len(found), 3) - 4
    with tf.GradientTape() as tape:
        result = sums(table)
        total = tf.reduce_sum(result * upstream)
    np.testing.assert_array_equal(result, dense @ table.numpy())
    np.testing.assert_array_equal(tape.gradient(total, table), dense.T @ upstream)


@pytest.mark.parametrize("traced", [False, True])
def test_a_graph_gives_the_same(traced: bool) -> None:
    sums = BagSums(np.array([0, 2, 2, 3]), np.array([1, 0, 1], np.int32), np.array([0.5, 0.5, 2], np.float32), 2)
    call = tf.function(sums.__call__, autograph=False) if traced else sums
    np.testing.assert_array_equal(call(tf.constant([[2.0, 4.0], [6.0, 8.0]])), [[4, 6], [0, 0], [12, 16]])
