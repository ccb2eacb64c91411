"""Ridge regression of low rank against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.reduced_rank import fit_reduced_rank


def data(n: int, d: int, t: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(n, t)).astype(np.float32)


def test_one_feature_and_one_label_by_hand() -> None:
    """b = sum xy / (sum xx + ridge * d) = (1 * 2 + 2 * 4) / (1 + 4 + 3 * 1) = 10 / 8, up to its sign."""
    weights = fit_reduced_rank(np.array([[1], [2]], np.float32), np.array([[2], [4]], np.float32), 1, 3.0)
    assert abs(weights.item()) == pytest.approx(1.25)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 15), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_at_full_rank_inner_products_are_those_of_the_primal_ridge_s_predictions(
    n: int, d: int, t: int, seed: int
) -> None:
    x, y = data(n, d, t, seed)
    x64 = x.astype(np.float64)
    predicted = x64 @ np.linalg.solve(x64.T @ x64 + 0.1 * d * np.eye(d), x64.T @ y)
    found = x @ fit_reduced_rank(x, y, t, 0.1)
    assert found @ found.T == pytest.approx(predicted @ predicted.T, rel=1e-3, abs=1e-3)


def test_no_weights_of_the_same_rank_come_nearer() -> None:
    """Ridge is least squares with sqrt(ridge d) I below X, 0 below Y; its best fit of a rank is a truncated SVD."""
    x, y = data(30, 8, 5, seed=3)
    ridge, rank = 2.0, 2
    below = np.sqrt(ridge * 8) * np.eye(8)
    tall, target = np.vstack([x, below]).astype(np.float64), np.vstack([y, np.zeros((8, 5))])
    fitted = tall @ np.linalg.lstsq(tall, target, rcond=None)[0]
    left, values, right = np.linalg.svd(fitted, full_matrices=False)
    least = ((target - (left[:, :rank] * values[:rank]) @ right[:rank]) ** 2).sum()
    shown = tall @ fit_reduced_rank(x, y, rank, ridge)  # up to what best reads the labels off it
    found = ((target - shown @ np.linalg.lstsq(shown, target, rcond=None)[0]) ** 2).sum()
    assert found == pytest.approx(least, rel=1e-6)


def test_a_lower_rank_keeps_what_tells_most() -> None:
    """The second label is the first feature's, a hundred times weaker: one dimension goes to the first label."""
    x, _ = data(200, 2, 1, seed=0)
    y = np.stack([x[:, 1], 0.01 * x[:, 0]], axis=1)
    weights = fit_reduced_rank(x, y, 1, 1e-6)
    assert np.abs(weights[:, 0]).tolist() == pytest.approx([0, 1], abs=1e-2)


def test_columns_beyond_the_labels_are_zero() -> None:
    x, y = data(20, 6, 2, seed=0)
    weights = fit_reduced_rank(x, y, 4, 0.1)
    assert weights.shape == (6, 4)
    assert weights[:, 2:].tolist() == [[0, 0]] * 6
