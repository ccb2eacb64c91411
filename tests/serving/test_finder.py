"""Search under a condition: always what an exact scan finds, whichever way was taken."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.index import IndexSettings, build_scann
from serving import finder as module
from serving.bundle import IndexConfig
from serving.finder import Finder, fetch_size, plan
from serving.retriever import ExactRetriever, ScannRetriever

ITEMS = 3000


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(ITEMS, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def scann(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Finder:
    folder = tmp_path_factory.mktemp("scann") / "index"
    queries = np.random.default_rng(4).normal(size=(50, 8)).astype(np.float32)
    build_scann(vectors, queries, IndexSettings(recall_target=1.0), folder)
    # All leaves are searched: what is left to get wrong is the condition.
    leaves = max(16, 2 * int(ITEMS**0.5))
    return Finder(ScannRetriever.load(
        folder, IndexConfig(kind="scann", leaves=leaves, leaves_to_search=leaves, reorder=ITEMS), vectors))


def test_the_plan_by_hand() -> None:
    # Of a million, a scan of 5,000 takes 1,100 us; for 20 of them the index is asked for 2 * 20 * 200 + 20 = 8,020.
    assert fetch_size(20, 5_000, 1_000_000) == 8_020
    assert plan(20, 5_000, 1_000_000) == "exact"
    # 2 * 20 / .03 + 20 = 1,354 take 912 us, a scan of 30,000 takes 6,600.
    assert fetch_size(20, 30_000, 1_000_000) == 1_354
    assert plan(20, 30_000, 1_000_000) == "approximate"
    # 200 of them are 13,534: 8,220 us.
    assert plan(200, 30_000, 1_000_000) == "exact"
    assert plan(20, 900_000, 1_000_000) == "approximate"
    assert fetch_size(20, 10, 100) == 100


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0, 0.001, 0.01, 0.1, 0.4, 0.9, 1]), k=st.integers(1, 30),
       buried=st.integers(0, 800), scan_us=st.sampled_from([0.22, 1e6]))
def test_any_condition_finds_what_an_exact_scan_finds(
    scann: Finder, vectors: np.ndarray, seed: int, share: float, k: int, buried: int, scan_us: float
) -> None:
    random = np.random.default_rng(seed)
    query = random.normal(size=8).astype(np.float32)
    mask = random.random(ITEMS) < share
    never = np.sort(random.choice(ITEMS, buried, replace=False))
    free = mask & ~np.isin(np.arange(ITEMS), never)
    scores = np.where(free, vectors @ query, -np.inf)
    right = np.argsort(-scores, kind="stable")[: min(k, int(free.sum()))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCAN_US", scan_us)
        patch.setattr(module, "PRODUCT_US", scan_us)
        for condition in (mask, None) if share == 1 else (mask,):
            found = scann.find(query, k, condition, never)
            assert found.rows.tolist() == right.tolist()
            assert found.scores == pytest.approx(scores[right], abs=1e-4)
            assert found.allowed == int(free.sum())
        exact = Finder(ExactRetriever(vectors)).find(query, k, mask, never)
        assert exact.rows.tolist() == right.tolist() and exact.how == "exact"


def test_both_ways_are_taken(scann: Finder, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    # A scan of 20 rows costs what asking for nothing costs.
    monkeypatch.setattr(module, "SCAN_US", 5.0)
    monkeypatch.setattr(module, "PRODUCT_US", 5.0)
    none = np.zeros(0, np.int64)
    assert scann.find(vectors[0], 5, np.arange(ITEMS) % 2 == 0, none).how == "approximate"
    assert scann.find(vectors[0], 5, np.arange(ITEMS) < 20, none).how == "exact"
    # Allowed are only the items that are farthest from the query: the index's best hold none of them.
    far = vectors @ vectors[0] < -4
    assert 200 < far.sum() < 1500
    found = scann.find(vectors[0], 5, far, none)
    assert (found.how, len(found.rows)) == ("exact", 5)


def test_a_search_without_its_vectors_is_refused() -> None:
    with pytest.raises(TypeError, match="vectors that an exact scan needs"):
        Finder(object())  # type: ignore[arg-type]
