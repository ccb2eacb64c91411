"""Slates of the arithmetic shop, all derivable from its one formula (tests/release_world.py)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import DataError
from serving.bundle import Bundle
from serving.encoding import History
from serving.probe import REFUSED, NamedRequest, load_answers, load_requests, main, save_requests
from serving.recommender import Recommender, Request, empty_history
from tests.release_world import DAY_US, NO_TOKENS, NOW_US, expected_score, history_of
from tests.serving.conftest import seal_bundle


def make_unavailable(folder: Path, *rows: int) -> None:
    """Let the bundle's items say what the shop has; null is not a word against an item."""
    items = pq.read_table(folder / "items.parquet")
    values = [False if row in rows else None if row % 2 else True for row in range(len(items))]
    pq.write_table(items.append_column("available", pa.array(values)), folder / "items.parquet")


def test_what_the_shop_does_not_have_is_never_shown(bundle_folder: Path) -> None:
    make_unavailable(bundle_folder, 13, 0)
    (bundle_folder / "tombstones.json").write_text('["i17"]')
    bundle = Bundle.load(seal_bundle(bundle_folder))
    assert (bundle.unavailable.tolist(), bundle.hidden.tolist()) == ([0, 13], [0, 13, 17])
    recommender = Recommender(bundle)
    assert [found.row for found in recommender.recommend(history_of(1), NOW_US, NO_TOKENS, 3)] == [21, 25, 29]
    assert len(recommender.recommend(empty_history(), NOW_US, NO_TOKENS, 99)) == 37
    assert not {0, 13, 17} & {found.row for found in recommender.similar(1, 39)}
    # A history may hold it: it was bought while it was there.
    assert recommender.recommend(History(np.array([13], np.int32), np.array([NOW_US - DAY_US]), np.zeros(1, np.int16),
                                         np.ones(1, np.float32)), NOW_US, NO_TOKENS, 1)[0].row == 1


@pytest.fixture
def recommender(bundle_folder: Path) -> Recommender:
    return Recommender(Bundle.load(bundle_folder))


def test_a_known_shopper_by_hand(recommender: Recommender) -> None:
    # User 1 bought 1, 5, 9 of group 1: next are 13, 17, 21, each with 2 * 3 + (40 - row) / 1000.
    slate = recommender.recommend(history_of(1), NOW_US, NO_TOKENS, 3)
    assert [found.row for found in slate] == [13, 17, 21]
    assert [found.score for found in slate] == pytest.approx([6.027, 6.023, 6.019], abs=1e-5)
    again = recommender.recommend(history_of(1), NOW_US, NO_TOKENS, 3, exclude_seen=False)
    assert [found.row for found in again] == [1, 5, 9]


def test_nobody_gets_the_prior(recommender: Recommender) -> None:
    slate = recommender.recommend(empty_history(), NOW_US, NO_TOKENS, 4)
    assert [found.row for found in slate] == [0, 1, 2, 3]
    assert [found.score for found in slate] == pytest.approx([expected_score(row, 0) for row in range(4)], abs=1e-6)


def test_best_sellers_fill_only_what_the_model_cannot_and_say_so(recommender: Recommender) -> None:
    slate = recommender.recommend(history_of(2), NOW_US, NO_TOKENS, 39)
    assert [found.is_fallback for found in slate] == [False] * 37 + [True] * 2
    assert [found.row for found in slate[-2:]] == [2, 6]  # the best-selling of the three seen
    assert slate[-1].score == pytest.approx(expected_score(6, 3), abs=1e-5)
    everything = recommender.recommend(history_of(2), NOW_US, NO_TOKENS, 99)
    assert sorted(found.row for found in everything) == list(range(40))


def test_buried_items_are_never_shown(bundle_folder: Path) -> None:
    (bundle_folder / "tombstones.json").write_text('["i13", "i00"]')
    recommender = Recommender(Bundle.load(seal_bundle(bundle_folder)))
    shown = {found.row for seen in (True, False)
             for found in recommender.recommend(history_of(1), NOW_US, NO_TOKENS, 40, exclude_seen=seen)}
    assert shown == set(range(40)) - {0, 13}
    assert not {0, 13} & {found.row for found in recommender.similar(1, 40)}


def test_similar_items_share_the_group_whatever_they_sell(recommender: Recommender) -> None:
    similar = recommender.similar(3, 12)
    assert [found.row for found in similar[:9]] == [7, 11, 15, 19, 23, 27, 31, 35, 39]
    assert [found.score for found in similar] == pytest.approx([1.0] * 9 + [0.0] * 3)
    with pytest.raises(DataError, match="no item row 40"):
        recommender.similar(40, 1)


def test_a_batch_answers_as_each_alone(recommender: Recommender) -> None:
    requests = [Request(history_of(user), NOW_US, NO_TOKENS) for user in range(6)]
    assert recommender.recommend_many(requests, 5) == [
        recommender.recommend(r.history, r.now_us, r.user_tokens, 5) for r in requests
    ]
    assert recommender.recommend_many([], 5) == []


@pytest.mark.parametrize(("field", "value", "fault"), [
    ("item", [0, -1, 4], "item row -1 where the bundle has 40"),
    ("item", [0, 40, 4], "item row 40"),
    ("type", [0, 1, 0], "event type 1 where the bundle has 1"),
    ("time", [3, 2, 1], "times go back"),
    ("weight", [1, -1, 1], "below 0"),
    ("weight", [1, 1], "2 weights"),
])
def test_histories_of_another_bundle_are_refused(recommender: Recommender, field: str, value: list, fault: str) -> None:
    history: History = history_of(0)
    changed = replace(history, **{field: np.array(value, getattr(history, field).dtype)})
    with pytest.raises(DataError, match=fault):
        recommender.recommend(changed, NOW_US, NO_TOKENS, 3)


def test_unknown_user_tokens_are_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="user token 3 where the bundle has 3"):
        recommender.recommend(empty_history(), NOW_US, np.array([3], np.int32), 3)
    with pytest.raises(DataError, match=r"\[2\] where \[1\]"):
        recommender.recommend(empty_history(), NOW_US, np.zeros(2, np.int32), 3)


def named(items: list[str], types: list[str]) -> NamedRequest:
    """A request of these events, a day apart, the last one the day before now."""
    times = NOW_US - DAY_US * np.arange(len(items), 0, -1)
    return NamedRequest(np.array(items, np.str_), times, np.array(types, np.str_), np.ones(len(items), np.float32),
                        NOW_US, NO_TOKENS)


def test_the_probe_answers_what_was_asked_by_name(bundle_folder: Path, tmp_path: Path, capsys) -> None:
    # To the bundle, an item that it does not know and a type that it does not know never happened.
    asked = [named([], []), named(["i03", "gone", "i07", "i11", "i00"], ["purchase"] * 4 + ["wish"])]
    save_requests(tmp_path / "requests.npz", asked, 4)
    loaded, k = load_requests(tmp_path / "requests.npz")
    assert (len(loaded), k) == (2, 4)
    assert loaded[1].item_ids.tolist() == ["i03", "gone", "i07", "i11", "i00"]
    assert loaded[1].of(Bundle.load(bundle_folder)).history.item.tolist() == [3, 7, 11]
    paths = [str(bundle_folder), str(tmp_path / "requests.npz"), str(tmp_path / "answers.npz")]
    assert main(*paths) == 0
    ids, scores = load_answers(Path(paths[2]))
    assert ids.tolist() == [["i00", "i01", "i02", "i03"], ["i15", "i19", "i23", "i27"]]
    assert scores[1] == pytest.approx([expected_score(row, 3) for row in (15, 19, 23, 27)], abs=1e-5)
    (bundle_folder / "spec.json").write_text("{}")
    assert main(*paths) == REFUSED
    assert "BundleRefused" in capsys.readouterr().err
