"""Batches against a log that fits on paper."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.batches import MET_A_BATCH, Sequences, Share, assemble, cut, plan
from models.visits import Visits
from pipelines.snapshot import TRAIN, VALID, SnapshotData
from tests.models.plain_batches import Run, plain_batches, plain_cut
from tests.small_snapshot import Event, small_snapshot

SECOND = 1_000_000


def log(visits_of_users: list[int]) -> Visits:
    """Users with so many visits of one event each; visit v is event v, of item v, at second v."""
    total = sum(visits_of_users)
    ones = np.ones(total, np.float32)
    return Visits(np.arange(total + 1), np.arange(total, dtype=np.int32), np.zeros(total, np.int16), ones, ones,
                  np.ones(total, bool), np.arange(total, dtype=np.int64) * SECOND,
                  np.concatenate([[0], np.cumsum(visits_of_users)]), np.arange(len(visits_of_users), dtype=np.int32))


def sequences(*runs: Run) -> Sequences:
    return Sequences(*np.array(runs, np.int64).reshape(-1, 4).T)


def rows(found: Sequences) -> list[Run]:
    columns = (found.user, found.first, found.target, found.last)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_short_history_is_one_sequence() -> None:
    assert rows(cut(log([3, 2]), 4)) == [(0, 0, 0, 3), (1, 3, 3, 5)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(2, 9))
def test_every_visit_is_a_target_once_and_inputs_fit(counts: list[int], slots: int) -> None:
    visits = log(counts)
    targets: list[int] = []
    for user, first, target, last in rows(cut(visits, slots)):
        targets += range(target, last)
        is_pooled = first > visits.user_ptr[user]
        assert visits.user_ptr[user] <= first <= target < last <= visits.user_ptr[user + 1]
        assert last - 1 - first + is_pooled <= slots
        # What is asked for lies behind at least one input, unless nothing was before it.
        assert target > first or target == visits.user_ptr[user]
    assert targets == list(range(sum(counts)))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.integers(2, 9), st.integers(2, 60), st.integers(0, 99))
def test_sequences_and_batches_are_those_of_plain_loops(counts: list[int], slots: int, room: int, seed: int) -> None:
    visits = log(counts)
    found, expected = cut(visits, slots), plain_cut(visits.user_ptr.tolist(), slots)
    assert rows(found) == expected
    batches = plan(visits, found, room, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    length = np.array([last - first for _, first, _, last in expected])
    noisy = length * rng.uniform(0.9, 1.1, len(length)) + rng.uniform(0, 0.9, len(length))
    order = np.argsort(noisy, kind="stable").tolist()
    assert sorted(batch.tolist() for batch in batches) == sorted(plain_batches(expected, order, room))


def test_a_long_history_does_not_make_a_large_batch() -> None:
    # One user with 4,000 events: each of 160 runs of 25 questions has up to 25 * 4,000 pairs of question and met event.
    visits = log([4000, 3])
    found = cut(visits, 50)
    batches = plan(visits, found, 10**6, np.random.default_rng(0))
    pairs = [len(assemble(visits, found.part(rows), np.zeros((2, 1), np.int32), 1)["met_item"]) for rows in batches]
    assert sum(pairs) == 4000 * 3999 // 2 + 3
    assert max(pairs) <= MET_A_BATCH
    assert len(batches) <= 2 * sum(pairs) / MET_A_BATCH + 1


def test_what_is_asked_later_takes_no_part_where_targets_stand_for_the_catalogue() -> None:
    # Visits 0 to 4 of items 0 to 4; asked are 2, 3 and 4.
    batch = assemble(log([5]), sequences((0, 0, 2, 5)), np.zeros((1, 1), np.int32), 1, with_later=True)
    assert batch["target_item"].tolist() == [2, 3, 4]
    found = {query: batch["met_item"][batch["met_query"] == query].tolist() for query in range(3)}
    assert found == {0: [0, 1, 3, 4], 1: [0, 1, 2, 4], 2: [0, 1, 2, 3]}
    assert (np.diff(batch["met_query"]) >= 0).all()


def test_what_is_asked_later_is_counted_too() -> None:
    # 1,000 users of 51 events: 51 questions of 50 other events each.
    visits = log([51] * 1000)
    found = cut(visits, 50)
    batches = plan(visits, found, 10**6, np.random.default_rng(0), with_later=True)
    made = [assemble(visits, found.part(rows), np.zeros((1000, 1), np.int32), 1, with_later=True) for rows in batches]
    pairs = [len(batch["met_item"]) for batch in made]
    assert sum(pairs) == 1000 * 51 * 50
    assert max(pairs) <= MET_A_BATCH


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.integers(1, 4))
def test_shares_of_a_batch_are_the_batch(counts: list[int], workers: int) -> None:
    visits = log(counts)
    found = cut(visits, 4)
    if not len(found):
        return
    tokens = np.arange(len(counts), dtype=np.int32)[:, None]
    whole = assemble(visits, found, tokens, 1)
    shares = [assemble(visits, found, tokens, 1, Share(index, workers)) for index in range(workers)]
    weighing = [share["target_item"][share["target_weight"] > 0] for share in shares]
    assert sorted(np.concatenate(weighing)) == sorted(whole["target_item"])
    assert sum(share["target_weight"].sum() for share in shares) == whole["target_weight"].sum()
    # Who has nothing to do is in step all the same.
    assert all(len(share["query_slot"]) > 0 for share in shares)


def test_a_batch_by_hand() -> None:
    # One user, visits at seconds 0..4, of which the run keeps visit 2 alone, pools 0 and 1, and asks for 3 and 4.
    batch = assemble(log([5]), sequences((0, 2, 3, 5)), np.zeros((1, 1), np.int32), 1)
    # Slots: 0 start, 1 pool, 2 visit 2, 3 visit 3. Asked from slot 2 for visit 3, from slot 3 for visit 4.
    assert batch["event_item"].tolist() == [0, 1, 2, 3]
    assert batch["event_slot"].tolist() == [1, 1, 2, 3]
    assert batch["counts"].tolist() == [[0, 2, 1, 1]]
    assert batch["gaps"].tolist() == [[0, 0, 2, 2]]  # one second: log2(2) + 1
    assert batch["query_slot"].tolist() == [2, 3]
    assert batch["query_wait"].tolist() == [2, 2]
    assert batch["target_query"].tolist() == [0, 1]
    assert batch["target_item"].tolist() == [3, 4]
    # Before visit 3 the user had met items 0, 1 and 2; before visit 4 item 3 too.
    assert batch["met_query"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert batch["met_item"].tolist() == [0, 1, 2, 0, 1, 2, 3]


def test_newcomers_are_asked_from_the_start() -> None:
    batch = assemble(log([2]), sequences((0, 0, 0, 2)), np.zeros((1, 1), np.int32), 1)
    assert batch["query_slot"].tolist() == [0, 1]
    assert batch["query_wait"].tolist() == [0, 2]
    assert batch["event_slot"].tolist() == [1]


def test_training_sees_nothing_of_valid_or_test(world: SnapshotData) -> None:
    visits = Visits.of(world)
    h = world.histories
    assert visits.time.max() < h.time[h.split != TRAIN].min()


def test_an_epoch_asks_for_every_target_once(world: SnapshotData) -> None:
    visits = Visits.of(world)
    found = cut(visits, world.spec["visits"])
    types, rng = len(world.spec["event_types"]), np.random.default_rng(0)
    batches = [assemble(visits, found.part(rows), world.user_tokens, types) for rows in plan(visits, found, 64, rng)]
    assert len(batches) > 3
    assert sum(len(b["target_item"]) for b in batches) == visits.is_new.sum()
    assert np.array_equal(np.bincount(np.concatenate([b["target_item"] for b in batches]), minlength=world.num_items),
                          np.bincount(visits.item[visits.is_new], minlength=world.num_items))


def test_where_each_user_is_asked_once_long_histories_weigh_less(tmp_path: Path) -> None:
    buys: list[Event] = [(0, item, 1 + item, "buy", TRAIN, False) for item in range(4)]
    buys += [(0, 4, 5, "buy", VALID, True), (1, 4, 8, "buy", TRAIN, False), (1, 0, 9, "buy", VALID, True)]
    visits = Visits.of(small_snapshot(tmp_path, buys, users=2, items=5))
    assert visits.target_weight.tolist() == [0.5] * 4 + [1.0]  # 1 / sqrt(4 targets) and 1 / sqrt(1)


def test_questions_know_their_month_day_and_hour() -> None:
    # The first visit lies at no moment, the second a microsecond after 1970-01-01 began, a Thursday: January, the 4th
    # day and the first hour, from token 1.
    batch = assemble(log([2]), sequences((0, 0, 0, 2)), np.zeros((1, 1), np.int32), 1, calendar=1)
    assert batch["query_calendar"].tolist() == [[0, 0, 0], [1, 13 + 3, 20]]
