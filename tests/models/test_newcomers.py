"""New products rise as far as the budget allows, and no further."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from models.newcomers import newcomer_offset
from models.ranking import Floats
from pipelines.snapshot import TRAIN, VALID, Queries, SnapshotData
from tests.small_snapshot import Event, small_snapshot

ITEMS, NEW = 30, 20  # items 0 to 19 were sold in training, 20 to 29 are new


@dataclass(frozen=True)
class Falling:
    """Item i has the score -i / 4 for everybody; item 19 stands 4.75 below the first, item 20 another quarter."""

    name: str = "falling"

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        return np.tile(-np.arange(ITEMS, dtype=np.float32) / 4, (len(queries), 1))


def shop(folder: Path, wanted: list[int]) -> SnapshotData:
    """User u was never seen and wants `wanted[u]`."""
    train: list[Event] = [(99, item, 1, "buy", TRAIN, False) for item in range(NEW)]
    valid: list[Event] = [(user, item, 2, "buy", VALID, True) for user, item in enumerate(wanted)]
    return small_snapshot(folder, train + valid, users=100, items=ITEMS)


@pytest.mark.parametrize(("wanted", "budget", "offset"), [
    # Nobody wants a new item: item 9, the tenth, is lost as soon as item 20 stands above it, which takes more
    # than (20 - 9) / 4 = 2.75. Ten users want it: without a budget they may not be lost.
    ([9] * 10, 0.0, 2.5),
    # One in ten may be lost: item 9 may go at 3.0, while item 8 stays until two new ones pass it at 21 / 4 - 2 = 3.25.
    ([9, *[8] * 9], 0.1, 3.0),
    # Half want item 20, which is won at 3.0, when the others lose item 9: as many as before, and on it goes: item 20
    # stays, whatever the offset, as the first of the new.
    ([9] * 5 + [20] * 5, 0.0, 8.0),
])
def test_the_offset_is_the_largest_within_the_budget(
    tmp_path: Path, wanted: list[int], budget: float, offset: float
) -> None:
    data = shop(tmp_path / "shop", wanted)
    is_new = np.arange(ITEMS) >= NEW
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, budget) == offset


def test_without_new_items_there_is_nothing_to_raise(tmp_path: Path) -> None:
    data = shop(tmp_path / "shop", [0])
    assert newcomer_offset(Falling(), data, data.queries(VALID), np.zeros(ITEMS, bool), 0.5) == 0
