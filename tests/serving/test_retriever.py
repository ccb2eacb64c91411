"""Search: hand-derived answers, ties, exclusions, and ScaNN beside exact search."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import BundleRefused, DataError
from pipelines.index import IndexSettings, build_scann
from pipelines.index_tuning import ExactAnswers
from serving.index_files import IndexConfig
from serving.retriever import NOTHING, ExactRetriever, ScannRetriever, _among, best, distinct

ITEMS = np.array([[1, 0], [0, 1], [1, 1], [1, 0]], np.float32)


def test_exact_search_by_hand() -> None:
    # Products with (2, 1): 2, 1, 3, 2. Rows 0 and 3 tie, the lower row goes first.
    rows, scores = ExactRetriever(ITEMS).search(np.array([[2, 1]], np.float32), 3)
    assert rows.tolist() == [[2, 0, 3]]
    assert scores.tolist() == [[3, 2, 2]]


def test_of_tied_rows_at_the_end_the_lowest_are_taken() -> None:
    assert best(np.array([1, 5, 1, 1, 5], np.float32), 3)[0].tolist() == [1, 4, 0]


def test_exclusions_are_per_query_and_short_lists_say_so() -> None:
    queries = np.array([[2, 1], [0, 1]], np.float32)
    exclude = [np.array([2, 0]), np.array([0, 1, 2, 3])]
    rows, scores = ExactRetriever(ITEMS).search(queries, 3, exclude)
    assert rows.tolist() == [[3, 1, NOTHING], [NOTHING] * 3]
    assert scores.tolist() == [[2, 1, -np.inf], [-np.inf] * 3]


@pytest.mark.parametrize(("vectors", "k", "fault"), [
    (np.array([[np.nan, 1]], np.float32), 1, "not finite"),
    (np.zeros((1, 3), np.float32), 1, r"\[queries, 2\]"),
    (np.zeros((1, 2), np.float32), 0, "at least 1"),
])
def test_impossible_questions_are_named(vectors: np.ndarray, k: int, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        ExactRetriever(ITEMS).search(vectors, k)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), items=st.integers(1, 30), k=st.integers(1, 35), banned=st.integers(0, 30))
def test_exact_search_is_a_full_sort(seed: int, items: int, k: int, banned: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (items, 3)).astype(np.float32)  # small whole numbers: many ties, no rounding
    query = rng.integers(-2, 3, 3).astype(np.float32)
    out = rng.permutation(items)[: min(banned, items)]
    rows, scores = ExactRetriever(vectors).search(query[None], k, [out])
    order = sorted(set(range(items)) - set(out.tolist()), key=lambda row: (-float(vectors[row] @ query), row))[:k]
    assert rows[0].tolist() == order + [NOTHING] * (k - len(order))
    assert scores[0, : len(order)].tolist() == [float(vectors[row] @ query) for row in order]


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """3,000 vectors in 60 clusters with a prior as last column, and 50 queries like them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 16))
    def draw(count: int, last: float) -> np.ndarray:
        points = centres[rng.integers(0, 60, count)] + 0.3 * rng.normal(size=(count, 16))
        return np.concatenate([points, np.full((count, 1), last)], axis=1).astype(np.float32)
    return draw(3000, 0.1), draw(50, 1.0)


@pytest.fixture(scope="module")
def scann_folder(clusters, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("scann") / "index"
    return folder, build_scann(*clusters, IndexSettings(recall_target=0.97), folder)


@pytest.fixture(scope="module")
def scann(clusters, scann_folder) -> ScannRetriever:
    folder, _ = scann_folder
    config = IndexConfig.model_validate_json((folder / "index.json").read_text())
    return ScannRetriever.load(folder, config, clusters[0])


def test_scann_finds_what_exact_search_finds(clusters, scann_folder, scann) -> None:
    vectors, queries = clusters
    exact, _ = ExactRetriever(vectors).search(queries, 10)
    rows, scores = scann.search(queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), rows.tolist(), strict=True)])
    assert recall == pytest.approx(scann_folder[1], abs=1e-3)
    assert recall >= 0.97
    # Scores are the items' own, not the quantised ones.
    assert scores == pytest.approx(np.einsum("qkd,qd->qk", vectors[rows], queries), abs=1e-4)


def test_scann_folder_holds_no_absolute_path_and_no_pickle(scann_folder) -> None:
    folder, _ = scann_folder
    assert not [path for path in folder.iterdir() if path.suffix == ".pkl"]
    assert str(folder.parent).encode() not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_scann_excludes_and_still_fills_the_slate(clusters, scann) -> None:
    vectors, queries = clusters
    # All but 15 rows are excluded: leaves alone could not fill the list, exact search over the rest does.
    allowed = np.arange(0, 3000, 200)
    banned = np.setdiff1d(np.arange(3000), allowed)
    rows, _ = scann.search(queries[:3], 10, [banned] * 3)
    expected, _ = ExactRetriever(vectors).search(queries[:3], 10, [banned] * 3)
    assert rows.tolist() == expected.tolist()
    top, _ = scann.search(queries[:1], 10)
    rest, _ = scann.search(queries[:1], 10, [top[0]])
    assert not set(rest[0]) & set(top[0])
    assert NOTHING not in rest


@pytest.mark.parametrize(("k", "banned"), [(10, 0), (10, 7), (40, 1), (10, 2985), (10, 2995), (10, 3000), (5000, 3)])
def test_scann_answers_one_query_as_it_does_several(clusters, scann, k: int, banned: int) -> None:
    _, queries = clusters
    exclude = [np.random.default_rng(query).permutation(3000)[:banned].astype(np.int64) for query in range(5)]
    rows, scores = scann.search(queries[:5], k, exclude)
    for query, (one, own) in enumerate(zip(rows, scores, strict=True)):
        found, found_scores = scann.search(queries[query : query + 1], k, [exclude[query]])
        assert found[0].tolist() == one.tolist()
        assert found_scores[0] == pytest.approx(own, abs=1e-4)


def test_scann_is_built_alike_each_time(clusters, scann_folder, tmp_path: Path) -> None:
    # Of fresh processes, tests/pipelines/test_index.py says the same.
    first, _ = scann_folder
    build_scann(*clusters, IndexSettings(recall_target=0.97), tmp_path / "index")
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (tmp_path / "index" / path.name).read_bytes(), path.name


def test_an_index_of_other_items_is_refused(clusters, scann) -> None:
    with pytest.raises(BundleRefused, match=r"holds 3,000 items where the bundle has vectors of 2,999"):
        ScannRetriever(scann.searcher, scann.config, clusters[0][:-1])


def test_recall_counts_what_is_missing_and_forgives_ties() -> None:
    class Fixed:
        def __init__(self, rows: list[int]) -> None:
            self.rows = np.array([rows])

        def search(self, vectors, k, exclude=None):
            return self.rows[:, :k], np.zeros((1, k), np.float32)

    # Products with (2, 1): 2, 1, 3, 2. The best two are row 2 and, tied, row 0 or 3.
    answers = ExactAnswers(ITEMS, np.array([[2, 1]], np.float32), 2)
    assert answers.recall(Fixed([2, 0])) == answers.recall(Fixed([2, 3])) == 1.0
    assert answers.recall(Fixed([2, 1])) == 0.5
    assert answers.recall(Fixed([1, NOTHING])) == 0.0


def test_distinct_rows_are_ascending_and_once() -> None:
    none = np.zeros(0, np.int64)
    assert distinct().tolist() == distinct(none, none).tolist() == []
    assert distinct(np.array([5, 2, 5], np.int32), none, np.array([2, 9])).tolist() == [2, 5, 9]
    assert distinct(np.array([1, 4, 4])).tolist() == [1, 4]
    assert distinct(np.array([1, 4, 7], np.int32)).dtype == np.int64


def test_what_is_excluded_is_found_in_short_and_in_long_lists() -> None:
    candidates = np.arange(0, 400, 2)
    for banned in (np.array([4, 5]), np.arange(0, 300, 3)):  # pair by pair, and by sorting: 200 x 100 pairs
        assert _among(candidates, banned).tolist() == [row in set(banned.tolist()) for row in candidates.tolist()]


def test_scann_is_imported_without_tensorflow() -> None:
    code = ("import sys; from serving.retriever import import_scann; found = import_scann(); "
            "assert hasattr(found, 'ScannSearcher') and 'tensorflow' not in sys.modules")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=Path(__file__).parents[2])
