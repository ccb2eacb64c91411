"""Baselines on shops small enough for paper."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models.baselines import als, ease, itemknn, popularity
from models.baselines.interactions import buyers, purchases
from models.baselines.tuning import best, valid_queries
from models.ranking import rank
from pipelines.benchmark import benchmark
from pipelines.errors import DataError
from pipelines.snapshot import TEST, TRAIN, VALID, SnapshotData
from tests.small_snapshot import Event, small_snapshot


@pytest.fixture
def shop(tmp_path: Path) -> SnapshotData:
    """Users 0 to 2 bought 0 and 1 (user 0 item 0 twice), user 3 bought 2 and 3 and returned 0; 4 and 5 ask.

    User 4 bought 2 after training and then 0, and wants 1; user 5 is new and wants 0.
    """
    train: list[Event] = [
        (0, 0, 1, "buy", TRAIN, False), (0, 0, 2, "buy", TRAIN, False), (0, 1, 3, "buy", TRAIN, False),
        (1, 0, 3, "buy", TRAIN, False), (1, 1, 4, "buy", TRAIN, False),
        (2, 0, 4, "buy", TRAIN, False), (2, 1, 5, "buy", TRAIN, False),
        (3, 2, 5, "buy", TRAIN, False), (3, 3, 6, "buy", TRAIN, False), (3, 0, 6, "return", TRAIN, False),
    ]
    later: list[Event] = [
        (4, 2, 7, "buy", VALID, True), (4, 0, 8, "buy", TEST, False), (4, 1, 9, "buy", TEST, True),
        (5, 0, 9, "buy", TEST, True),
    ]
    return small_snapshot(tmp_path / "shop", train + later, users=6, items=5)


def test_only_bought_in_train_counts_and_once_a_user(shop: SnapshotData) -> None:
    assert purchases(shop).toarray().tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0] * 5, [0] * 5]
    assert buyers(shop).tolist() == [3, 3, 1, 1, 0]


def test_popularity_shows_the_same_to_everybody(shop: SnapshotData) -> None:
    got = rank(popularity.fit(shop), shop, shop.queries(TEST), k=3)
    assert got.top.tolist() == [[1, 3, 4], [0, 1, 2]]  # user 4 has met 2 and 0
    assert got.rank.tolist() == [1, 1]


def test_buyers_of_late_count_more(shop: SnapshotData) -> None:
    # Train lasts from second 1 to 6, a fifth of that is one second. Last events with item 0 are at 2 (user 0), 3 and 4.
    assert buyers(shop, 0.2) == pytest.approx([2**-4 + 2**-3 + 2**-2, 2**-3 + 2**-2 + 2**-1, 2**-1, 1, 0])
    assert buyers(shop, 1e9) == pytest.approx(buyers(shop), rel=1e-6)


def test_popularity_is_that_of_late_where_valid_speaks_for_it(tmp_path: Path) -> None:
    # Items 0 to 9 sold thrice each at the beginning, items 10 to 19 once each at the end: valid asks for those.
    old: list[Event] = [(user, item, 1, "buy", TRAIN, False) for user in range(3) for item in range(10)]
    late: list[Event] = [(3, item, 100, "buy", TRAIN, False) for item in range(10, 20)]
    asked: list[Event] = [(4, 12, 101, "buy", VALID, True)]
    found = popularity.tuned(small_snapshot(tmp_path / "shop", old + late + asked, users=5, items=20))
    assert found.half_life < 1
    asked = [(4, 3, 101, "buy", VALID, True)]
    found = popularity.tuned(small_snapshot(tmp_path / "other", old + late + asked, users=5, items=20))
    assert found.half_life == np.inf


def test_itemknn_adds_up_what_the_context_is_like(shop: SnapshotData) -> None:
    scores = itemknn.fit(shop, shrink=1.0, decay=0.5).scores(shop, shop.queries(TEST))
    # User 4, latest first: 0 (weight 1), 2 (weight 1/2). cos(0, 1) = 3 / (sqrt(3 * 3) + 1) = 3/4,
    # cos(2, 3) = 1 / (1 + 1) = 1/2. Nothing else was bought together; what is like nothing stands by its
    # buyers below zero: n / (3 + 1) - 1.
    assert scores[0] == pytest.approx([-0.25, 0.75, -0.75, 0.25, -1.0])
    # User 5 is new: popularity.
    assert scores[1] == pytest.approx([-0.25, -0.25, -0.75, -0.75, -1.0])


def test_ease_solves_its_own_equation(shop: SnapshotData) -> None:
    fitted = ease.fit(shop, l2=1.0, decay=0.5)
    assert fitted.kept.tolist() == [0, 1, 2, 3]
    # X'X + I is [[4, 3], [3, 4]] for items 0 and 1, whose inverse is [[4, -3], [-3, 4]] / 7: B_01 = 3 / 4.
    # For items 2 and 3 it is [[2, 1], [1, 2]]: B_23 = 1 / 2.
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = 0.75
    weights[2, 3] = weights[3, 2] = 0.5
    assert fitted.weights == pytest.approx(weights, abs=1e-6)
    scores = fitted.scores(shop, shop.queries(TEST))
    # User 4, latest first: 0 (weight 1), 2 (weight 1/2). User 5 is new, item 4 was never bought: popularity.
    assert scores[0, :4] == pytest.approx([0, 0.75, 0, 0.25], abs=1e-6)
    assert scores[0, 4] < -100
    assert np.argsort(-scores[1], kind="stable").tolist() == [0, 1, 2, 3, 4]


def test_ease_agrees_with_the_textbook_and_leaves_rare_items_to_popularity(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    bought = rng.random((40, 12)) < 0.3
    pairs = np.argwhere(bought).tolist()
    events: list[Event] = [(user, item, item + 1, "buy", TRAIN, False) for user, item in pairs]
    data = small_snapshot(tmp_path / "shop", [*events, (0, 0, 99, "buy", TEST, True)], users=40, items=12)
    x = bought.astype(float)
    inverse = np.linalg.inv(x.T @ x + 3.0 * np.eye(12))
    expected = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(expected, 0)
    assert ease.fit(data, l2=3.0).weights == pytest.approx(expected, abs=1e-5)
    few = ease.fit(data, l2=3.0, max_items=5)
    best_sellers = np.sort(np.argsort(-x.sum(axis=0), kind="stable")[:5])
    assert few.kept.tolist() == best_sellers.tolist()
    assert few.weights.shape == (5, 5)


def test_itemknn_counts_ranks_over_positive_events_only(tmp_path: Path) -> None:
    data = small_snapshot(tmp_path, [
        (0, 0, 1, "buy", TRAIN, False), (0, 1, 2, "buy", TRAIN, False), (1, 0, 3, "buy", TRAIN, False),
        (1, 2, 4, "return", TRAIN, False), (1, 1, 5, "buy", TEST, True)], users=2, items=3)
    # The return is no event of the context: 0 is the latest, weight 1. cos(0, 1) = 1 / sqrt(2 * 1).
    assert itemknn.fit(data, shrink=0.0, decay=0.5).scores(data, data.queries(TEST))[0, 1] == pytest.approx(0.5 ** 0.5)


def test_als_tells_two_tastes_apart(shop: SnapshotData) -> None:
    model = als.fit(shop, factors=8, alpha=10.0, regularisation=0.1)
    got = rank(model, shop, shop.queries(TEST), k=3)
    assert got.top[0].tolist()[:2] in ([1, 3], [3, 1])  # user 4 likes both
    assert got.top[1].tolist() == [0, 1, 2]  # user 5 is new: popularity
    again = als.fit(shop, factors=8, alpha=10.0, regularisation=0.1)
    assert np.array_equal(again.items, model.items)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 5.0, 40.0]), st.sampled_from([0.1, 10.0]))
def test_als_folds_in_as_the_normal_equations_say(seed: int, alpha: float, regularisation: float) -> None:
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(30, 6)).astype(np.float32)
    gram = items.T @ items + regularisation * np.eye(6, dtype=np.float32)
    model = als.Als(6, alpha, regularisation, items, gram, np.linalg.inv(gram), np.ones(30, np.float32))
    context = sparse.csr_array((rng.random((4, 30)) < 0.3).astype(np.float32))
    # Hu et al. 2008, eq. 4: x = (Y^T C Y + reg I)^-1 Y^T C p, with C of alpha where p = 1, and 1 elsewhere.
    expected = [
        np.linalg.solve(items.T @ (np.where(p > 0, alpha, 1)[:, None] * items) + regularisation * np.eye(6),
                        items.T @ (alpha * p))
        for p in context.toarray().astype(np.float64)
    ]
    assert model.fold_in(context) == pytest.approx(np.array(expected), rel=1e-3, abs=1e-4)


def test_tuning_keeps_the_first_of_equals_and_asks_valid_only(shop: SnapshotData) -> None:
    queries = valid_queries(shop)
    assert shop.histories.split[queries.target_event].tolist() == [VALID]
    first, second = popularity.fit(shop), popularity.fit(shop)
    assert best([first, second], shop, queries) is first


def test_tuning_without_valid_events_is_named(tmp_path: Path) -> None:
    data = small_snapshot(tmp_path, [(0, 0, 1, "buy", TRAIN, False)], users=1, items=1)
    with pytest.raises(DataError, match="no evaluated events in the valid split"):
        itemknn.tuned(data)


@pytest.mark.parametrize(("model", "reference"), [
    ("popularity", "popularity"), ("itemknn", "itemknn_recency"), ("als", "als_tuned")])
def test_baselines_reach_the_reference_figures(shared: Path, tmp_path: Path, model: str, reference: str) -> None:
    expected = json.loads((shared / "protocol" / "baselines.json").read_text())["online_retail"][reference]
    got = benchmark(shared / "datasets" / "online_retail", tmp_path / "p.parquet", model)
    assert got["recall@10"] >= 0.97 * expected["recall@10"]
    assert got["ndcg@10"] >= 0.97 * expected["ndcg@10"]
