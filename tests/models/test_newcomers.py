"""New products rise as far as the budget allows, and no further."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.newcomers import Standing, newcomer_offset
from models.ranking import Floats, rank
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
    # than (20 - 9) / 4 = 2.75. Ten users want it: they may not be lost, whatever the budget.
    ([9] * 10, 0.0, 2.5),
    ([9] * 10, 0.5, 2.5),
    # Two in thirty want item 20, for which one in fifteen of 28 hits may be lost. At 3.0 those two are won, and the
    # three that want item 9 lost; item 8 stays until two new ones pass it, above 21 / 4 - 2 = 3.25. A smaller budget
    # keeps item 9.
    ([9] * 3 + [8] * 25 + [20] * 2, 0.5, 3.0),
    ([9] * 3 + [8] * 25 + [20] * 2, 0.02, 2.5),
    # Two in twenty want item 29, which stands too low to be found within what might be lost: nothing is.
    ([9, *[8] * 17, 29, 29], 0.5, 2.5),
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


@dataclass(frozen=True)
class Raised:
    """Scores [items] for everybody, those of new items, from row NEW on, raised."""

    row: Floats
    offset: float = 0.0
    name: str = "raised"

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        row = self.row + np.float32(self.offset) * (np.arange(len(self.row)) >= NEW)
        return np.tile(row.astype(np.float32), (len(queries), 1))


def test_of_new_items_that_nothing_tells_apart_only_the_first_are_shown(tmp_path: Path) -> None:
    """Blank products have equal scores: whoever wants the last of twenty is not served by showing ten others."""
    items, old = 40, 20
    train: list[Event] = [(99, item, 1, "buy", TRAIN, False) for item in range(old)]
    valid: list[Event] = [(user, 39, 2, "buy", VALID, True) for user in range(5)]
    valid += [(user, 0, 2, "buy", VALID, True) for user in range(5, 10)]
    data = small_snapshot(tmp_path / "shop", train + valid, users=100, items=items)
    is_new = np.arange(items) >= old
    alike = Raised(np.where(is_new, -1.0, 0.0).astype(np.float32))
    # From 1.5 on ten new items stand above every old one, for the one half of the users and for the other.
    assert Standing.of(alike, data, data.queries(VALID), is_new).is_hit(1.5).sum() == 0
    assert newcomer_offset(alike, data, data.queries(VALID), is_new, 0.02) == 1.0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 1.5, 8.0]))
def test_hits_are_those_of_a_ranking_with_the_scores_raised(tmp_path: Path, seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path / f"{seed}-{offset}"
    data = shop(folder, rng.integers(0, ITEMS, 40).tolist()) if not folder.exists() else SnapshotData.load(folder)
    row = rng.integers(-4, 4, ITEMS).astype(np.float32) / 2  # many are equal
    queries, is_new = data.queries(VALID), np.arange(ITEMS) >= NEW
    hit = Standing.of(Raised(row), data, queries, is_new).is_hit(offset)
    assert hit.sum() == (rank(Raised(row, offset), data, queries, k=10).rank > 0).sum()
