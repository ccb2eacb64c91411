from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from models.batches import Share, cut
from models.stream import Stream, VisitLog
from models.visits import Visits
from pipelines.snapshot import SnapshotData
from tests.models.plain_batches import plain_questions

SLOTS = 8


def stream(data: SnapshotData, memory: int | None = None, room: int = 64, share: Share = Share()) -> Stream:  # noqa: B008
    """Batches of the toy shop; `memory` in bytes, which no setting of a real log would make so small."""
    log = VisitLog.of(data, SLOTS, memory_mb=0 if memory else 512)
    return Stream(replace(log, memory=memory or log.memory), SLOTS, len(data.spec["event_types"]), room, 3, share)


def questions(batches: list[dict[str, np.ndarray]]) -> Counter[tuple[int, tuple[int, ...]]]:
    """(item, items met before) of every target of some batches."""
    found: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for batch in batches:
        for query, item in zip(batch["target_query"], batch["target_item"], strict=True):
            found[int(item), tuple(sorted(batch["met_item"][batch["met_query"] == query].tolist()))] += 1
    return found


@pytest.mark.parametrize("memory", [None, 1_000, 6_000])
def test_an_epoch_asks_for_the_questions_of_the_plain_log(world: SnapshotData, memory: int | None) -> None:
    found = stream(world, memory)
    windows = len(list(found.log.windows(np.random.default_rng(0))))
    assert windows == 1 if memory is None else windows > 3
    assert questions(list(found.epoch(1))) == Counter((item, met) for _, item, met in plain_questions(world))


def test_windows_are_the_log_and_stay_below_their_memory(world: SnapshotData) -> None:
    log = stream(world, 6_000).log
    assert len(log.blocks) == world.num_users  # a block is never smaller than a user
    windows = list(log.windows(np.random.default_rng(0)))
    whole = Visits.of(world)
    assert sorted(u for w in windows for u in w.user.tolist()) == list(range(world.num_users))
    for window in windows:
        held = sum(getattr(window, name).nbytes for name in vars(window)) + 64 * len(cut(window, SLOTS))
        assert held <= 6_000 + 16  # the one more entry of each of the two pointers
    one = log.read(log.blocks)
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(one, name), getattr(whole, name), err_msg=name)
    assert log.total("targets") == whole.is_new.sum()
    assert log.total("slots") == (cut(whole, SLOTS).last - cut(whole, SLOTS).first + 1).sum()


def test_order_is_a_function_of_seed_and_epoch(world: SnapshotData) -> None:
    def order(number: int, skip: int = 0, memory: int = 6_000) -> list[list[int]]:
        return [batch["target_item"].tolist() for batch in stream(world, memory).epoch(number, skip)]

    assert order(2) == order(2)
    assert order(2) != order(1)
    assert sorted(map(sum, order(2))) != sorted(map(sum, order(1)))  # not the same batches in another order
    # From whichever batch on, over the borders of windows too.
    for skip in (1, len(order(2)) // 2, len(order(2)) - 1, len(order(2))):
        assert order(2, skip) == order(2)[skip:]


def test_workers_have_the_same_batches(world: SnapshotData) -> None:
    whole = list(stream(world, 6_000).epoch(1))
    shares = [list(stream(world, 6_000, share=Share(index, 2)).epoch(1)) for index in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        weighing = [part["target_item"][part["target_weight"] > 0] for part in parts]
        assert sorted(np.concatenate(weighing)) == sorted(batch["target_item"])
