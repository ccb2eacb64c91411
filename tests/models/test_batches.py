"""Batches against a log that fits on paper."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.batches import Sequence, Visits, _assemble, cut, epoch
from pipelines.snapshot import TRAIN, VALID, SnapshotData
from tests.small_snapshot import Event, small_snapshot

SECOND = 1_000_000


def log(visits_of_users: list[int]) -> Visits:
    """Users with so many visits of one event each; visit v is event v, of item v, at second v."""
    total = sum(visits_of_users)
    ones = np.ones(total, np.float32)
    return Visits(np.arange(total + 1), np.arange(total, dtype=np.int32), np.zeros(total, np.int16), ones, ones,
                  np.ones(total, bool), np.arange(total, dtype=np.int64) * SECOND,
                  np.concatenate([[0], np.cumsum(visits_of_users)]))


def test_a_short_history_is_one_sequence() -> None:
    assert cut(log([3, 2]), 4) == [Sequence(0, 0, 0, 3), Sequence(1, 3, 3, 5)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(2, 9))
def test_every_visit_is_a_target_once_and_inputs_fit(counts: list[int], slots: int) -> None:
    visits = log(counts)
    targets: list[int] = []
    for s in cut(visits, slots):
        targets += range(s.target, s.last)
        is_pooled = s.first > visits.user_ptr[s.user]
        assert visits.user_ptr[s.user] <= s.first <= s.target < s.last <= visits.user_ptr[s.user + 1]
        assert s.last - 1 - s.first + is_pooled <= slots
        # What is asked for lies behind at least one input, unless nothing was before it.
        assert s.target > s.first or s.target == visits.user_ptr[s.user]
    assert targets == list(range(sum(counts)))


def test_a_batch_by_hand() -> None:
    # One user, visits at seconds 0..4, of which the run keeps visit 2 alone, pools 0 and 1, and asks for 3 and 4.
    batch = _assemble(log([5]), [Sequence(0, 2, 3, 5)], np.zeros((1, 1), np.int32), 1)
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
    batch = _assemble(log([2]), [Sequence(0, 0, 0, 2)], np.zeros((1, 1), np.int32), 1)
    assert batch["query_slot"].tolist() == [0, 1]
    assert batch["query_wait"].tolist() == [0, 2]
    assert batch["event_slot"].tolist() == [1]


def test_training_sees_nothing_of_valid_or_test(world: SnapshotData) -> None:
    visits = Visits.of(world)
    h = world.histories
    assert visits.time.max() < h.time[h.split != TRAIN].min()


def test_newer_events_weigh_more_in_the_loss(world: SnapshotData) -> None:
    visits = Visits.of(world, half_life=0.5)
    of_visit = np.repeat(np.arange(len(visits.time)), np.diff(visits.event_ptr))
    newest, oldest = visits.time.argmax(), visits.time.argmin()
    # From one end of the window to the other lie two half-lives.
    assert np.allclose(visits.target_weight[of_visit == newest], 1)
    assert np.allclose(visits.target_weight[of_visit == oldest], 0.25)
    assert (Visits.of(world).target_weight == 1).all()


def test_an_epoch_asks_for_every_target_once(world: SnapshotData) -> None:
    visits = Visits.of(world)
    sequences = cut(visits, world.spec["visits"])
    types, rng = len(world.spec["event_types"]), np.random.default_rng(0)
    batches = list(epoch(visits, sequences, world.user_tokens, types, 64, rng))
    assert len(batches) > 3
    assert sum(len(b["target_item"]) for b in batches) == visits.is_new.sum()
    assert np.array_equal(np.bincount(np.concatenate([b["target_item"] for b in batches]), minlength=world.num_items),
                          np.bincount(visits.item[visits.is_new], minlength=world.num_items))


def test_where_each_user_is_asked_once_long_histories_weigh_less(tmp_path: Path) -> None:
    buys: list[Event] = [(0, item, 1 + item, "buy", TRAIN, False) for item in range(4)]
    buys += [(0, 4, 5, "buy", VALID, True), (1, 4, 8, "buy", TRAIN, False), (1, 0, 9, "buy", VALID, True)]
    visits = Visits.of(small_snapshot(tmp_path, buys, users=2, items=5), half_life=0.1)
    assert visits.target_weight.tolist() == [0.5] * 4 + [1.0]  # 1 / sqrt(4 targets) and 1 / sqrt(1)
