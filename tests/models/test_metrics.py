import json
import subprocess
import sys
from math import log2
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import metrics as m
from models.baselines import itemknn
from models.ranking import rank
from pipelines.benchmark import write_predictions
from pipelines.protocol import encode_protocol
from pipelines.snapshot import TEST, TRAIN, SnapshotData
from tests.small_snapshot import small_snapshot
from tests.world import write_protocol_world

RANKS = np.array([1, 0, 3, 11], np.int32)


def test_recall_and_ndcg_of_single_answers() -> None:
    got = m.metrics(np.zeros((4, 1), np.int32), RANKS, 10, [10, 50])
    # Ranks 1 and 3 of four are among ten: 2/4, (1/log2(2) + 1/log2(4)) / 4 = (1 + 1/2) / 4; rank 11 among fifty too.
    assert got["recall@10"] == 0.5
    assert got["ndcg@10"] == pytest.approx(1.5 / 4)
    assert got["recall@50"] == 0.75
    assert got["ndcg@50"] == pytest.approx((1.5 + 1 / log2(12)) / 4)


def test_coverage_and_exposure_count_the_first_k_alone() -> None:
    top = np.array([[0, 1, 2], [0, 2, -1]], np.int32)
    assert m.exposure(top, 2, 5).tolist() == [2, 1, 1, 0, 0]
    assert m.coverage(top, 2, 5) == 3 / 5
    assert m.coverage(top, 1, 5) == 1 / 5


def test_shared_items_of_two_lists_whatever_their_order() -> None:
    ours, theirs = np.array([[0, 1, 2], [3, -1, -1]], np.int32), np.array([[2, 5, 0], [-1, 3, -1]], np.int32)
    assert m.shared_items(ours, theirs, 3).tolist() == [2, 1]  # where there is no item, nothing is shared
    assert m.shared_items(ours, theirs, 1).tolist() == [0, 0]


def test_exposure_figures_of_one_item_that_takes_all() -> None:
    got = m.exposure_figures(np.array([0, 8, 0, 0]), np.array([3, 0, 2, 1]))
    # Gini of (0, 0, 0, 8): (2 * 4 - 4 - 1) * 8 / (4 * 8) = 3/4. Item 1 was never bought, item 0 is the popular tenth.
    assert got == {"gini": 0.75, "popular_share": 0.0, "never_bought_share": 1.0}
    assert m.exposure_figures(np.full(4, 2), np.arange(4))["gini"] == 0


def test_slices_by_context_and_by_target(tmp_path: Path) -> None:
    # Ten train events: item 0 six times, item 1 twice, items 2 and 3 once. The head is what makes up 8 of the 10,
    # items 0 and 1; 2 and 3 are the tail; 4 was never met in train.
    train = [(0, 0, day, "buy", TRAIN, False) for day in range(6)] + [
        (0, 1, 6, "buy", TRAIN, False), (1, 1, 6, "buy", TRAIN, False), (1, 2, 7, "buy", TRAIN, False),
        (1, 3, 8, "return", TRAIN, False)]
    test = [(0, 3, 9, "buy", TEST, True), (1, 4, 9, "buy", TEST, True), (2, 0, 9, "buy", TEST, True)]
    data = small_snapshot(tmp_path / "shop", train + test, users=3, items=5)
    masks = m.slice_masks(data, data.queries(TEST))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "new_user": [False, False, True], "short_history_1_to_4": [False, True, False],  # 7, 3 and 0 events
        "long_history_20_up": [False] * 3, "new_item": [False, True, False], "tail_item": [True, False, False],
    }
    got = m.slices(np.array([0, 2, 1], np.int32), masks)
    assert got["new_user"] == {"events": 1, "recall@10": 1.0, "ndcg@10": 1.0}
    assert got["new_item"] == {"events": 1, "recall@10": 1.0, "ndcg@10": pytest.approx(1 / log2(3))}
    assert got["long_history_20_up"] == {"events": 0}


def test_no_events_give_no_figure() -> None:
    with pytest.raises(ValueError, match="no evaluated events"):
        m.metrics(np.zeros((0, 10), np.int32), np.zeros(0, np.int32), 5, [10])


def test_intervals_draw_users_not_events() -> None:
    # Two users of 50 events each, one all hits, one all misses: a resample of users has mean 0, 1/2 or 1 with
    # probability 1/4, 1/2, 1/4, so that the interval spans everything. Events drawn apart would give about .4 to .6.
    gain, user = np.repeat([1.0, 0.0], 50), np.repeat([3, 8], 50)
    assert m.intervals({"recall": gain}, user, 400, 1) == {"recall": [0.0, 1.0]}
    low, high = m.intervals({"recall": gain}, np.arange(100), 400, 1)["recall"]
    # Binomial: the standard error is sqrt(.25 / 100) = .05, and 1.96 of them .098.
    assert low == pytest.approx(0.402, abs=0.025)
    assert high == pytest.approx(0.598, abs=0.025)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(0, 5))
def test_intervals_hold_together_and_repeat(ranks: list[int], seed: int) -> None:
    gains = m.gains(np.array(ranks, np.int32), [10])
    user = np.arange(len(ranks)) // 2
    first = m.intervals(gains, user, 50, seed)
    assert first == m.intervals(gains, user, 50, seed)
    assert all(0 <= low <= high <= 1 for low, high in first.values())


def test_differences_are_paired() -> None:
    ours, theirs = np.array([1, 0, 5, 0], np.int32), np.array([2, 0, 0, 0], np.int32)
    got = m.differences(ours, theirs, np.arange(4), [10], samples=50, seed=0)
    assert got["recall@10"]["mean"] == 0.25  # 2/4 - 1/4
    assert got["recall@10"]["low"] >= 0  # theirs is never better, in no resample
    same = m.differences(ours, ours, np.arange(4), [10], samples=50, seed=0)
    assert same["recall@10"] == {"mean": 0, "low": 0, "high": 0}


def scorer(shared: Path, folder: Path, predictions: Path) -> dict[str, object]:
    command = [sys.executable, str(shared / "protocol" / "score.py"), str(folder), str(predictions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("protocol", ["temporal", "leave_one_out"])
def test_figures_are_those_of_the_protocols_scorer(shared: Path, tmp_path: Path, protocol: str) -> None:
    folder = write_protocol_world(tmp_path / "toy", users=150, items=40, protocol=protocol)  # type: ignore[arg-type]
    (tmp_path / "snapshot").mkdir()
    encode_protocol(folder, tmp_path / "snapshot")
    data = SnapshotData.load(tmp_path / "snapshot")
    queries = data.queries(TEST)
    ranking = rank(itemknn.fit(data), data, queries, k=10)
    write_predictions(data, queries, ranking, tmp_path / "p.parquet")
    expected = scorer(shared, folder, tmp_path / "p.parquet")
    got = m.metrics(ranking.top, ranking.rank, data.num_items, [10])
    assert len(ranking.rank) == expected["events"]
    assert round(got["recall@10"], 5) == expected["recall@10"] > 0
    assert round(got["ndcg@10"], 5) == expected["ndcg@10"]
    assert round(got["coverage@10"], 4) == expected["coverage@10"]
    slices = m.slices(ranking.rank, m.slice_masks(data, queries))
    assert {n: {k: round(v, 5) for k, v in s.items()} for n, s in slices.items()} == expected["slices"]


def test_the_tail_is_the_scorers_on_a_real_log(shared: Path, tmp_path: Path) -> None:
    events = pd.read_parquet(shared / "datasets" / "xwines" / "events.parquet")
    encode_protocol(shared / "datasets" / "xwines", tmp_path)
    # As score.py has it, letter for letter.
    events = events.sort_values(["user_id", "timestamp"], kind="stable")
    popular = events.loc[events["split"] == "train", "item_id"].value_counts()
    tail = set(popular.index[popular.cumsum() > 0.8 * popular.sum()])
    ids = pd.read_parquet(tmp_path / "items.parquet")["item_id"]
    assert set(ids[m.tail_items(SnapshotData.load(tmp_path))]) == tail
