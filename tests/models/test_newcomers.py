"""New products rise as far as the shelves of validation and fairness speak for it, and no further."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.newcomers import ALWAYS, NEVER, Standing, arrivals, newcomer_offset
from models.ranking import Floats, rank
from pipelines.snapshot import TEST, TRAIN, VALID, Queries, SnapshotData
from tests.small_snapshot import DAY_US, Event, small_snapshot

ITEMS, NEW = 30, 20  # items 0 to 19 were sold in training, 20 to 29 are new


@dataclass(frozen=True)
class Falling:
    """Item i has the score -i / 4 for everybody; item 19 stands 4.75 below the first, item 20 another quarter."""

    name: str = "falling"

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        return np.tile(-np.arange(ITEMS, dtype=np.float32) / 4, (len(queries), 1))


CAME = 3  # the day on which somebody bought each new item
BEFORE, AFTER = CAME, CAME + 1  # days of questions: what came on the very day was not known to be there


def shop(folder: Path, before: list[int], after: list[int]) -> SnapshotData:
    """Shoppers who were never seen want what the lists say, asked before the new items came and after."""
    events: list[Event] = [(199, item, 1, "buy", TRAIN, False) for item in range(NEW)]
    events += [(user, item, BEFORE, "buy", VALID, True) for user, item in enumerate(before)]
    events += [(198, item, CAME, "buy", VALID, False) for item in range(NEW, ITEMS)]
    events += [(user, item, AFTER, "buy", VALID, True) for user, item in enumerate(after, len(before))]
    return small_snapshot(folder, events, users=200, items=ITEMS)


# Item 9, the tenth, is lost as soon as item 20 stands above it, which takes more than (20 - 9) / 4 = 2.75: at 3.0.
# Item 8 is lost when two new ones have passed it, which takes more than (21 - 8) / 4 = 3.25: at 3.5.
@pytest.mark.parametrize(("before", "after", "budget", "offset"), [
    # Nobody wants a new item: ten users want item 9 and may not be lost, whatever the budget.
    ([], [9] * 10, 0.0, 2.75),
    ([], [9] * 10, 0.9, 2.75),
    # At 3.0 two are won and three lost, one of 28; for new items to be found as often as known ones it may be spent.
    ([], [9] * 3 + [8] * 25 + [20] * 2, 0.04, 3.0),
    ([], [9] * 3 + [8] * 25 + [20] * 2, 0.03, 2.75),
    # With item 29, out of reach, two in three would be found of the new and 25 in 28 of the known:
    # less than four fifths, for which nothing is spent.
    ([], [9] * 3 + [8] * 25 + [20] * 2 + [29], 0.9, 2.75),
    # Three in four are found of the new, more than four fifths of 25 in 29.
    ([], [9] * 4 + [8] * 25 + [20] * 3 + [29], 0.04, 3.0),
    # From 3.0 on three are won and two lost, at 3.5 all twenty-five.
    ([], [9] * 2 + [8] * 25 + [20] * 3, 0.0, 3.25),
    # Two more asked before any new item came, and say nothing of new items: 3.0 is best, though it would lose four
    # for three, were the new items always there.
    ([9] * 2, [9] * 2 + [8] * 40 + [20] * 3, 0.0, 3.0),
    # It may not lose a tenth then, as seven of 50 would be.
    ([9] * 5, [9] * 2 + [8] * 40 + [20] * 3, 0.0, 3.0),
    ([9] * 8, [9] * 2 + [8] * 40 + [20] * 3, 0.0, 2.75),
    # The first to buy a new item do not show how it does on a shelf: five of them outweigh none of those who lose.
    ([20] * 5, [9] * 6 + [8] * 8, 0.9, 2.75),
    # Half want item 20, which is won at 3.0, when the others lose item 9: as many as before, and on it goes: item 20
    # stays, whatever the offset, as the first of the new.
    ([], [9] * 5 + [20] * 5, 0.0, 8.0),
])
def test_the_offset_finds_most_on_the_shelves_within_the_budget(
    tmp_path: Path, before: list[int], after: list[int], budget: float, offset: float
) -> None:
    data = shop(tmp_path / "shop", before, after)
    is_new = np.arange(ITEMS) >= NEW
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, budget) == offset


def dated(data: SnapshotData, days: list[int | None]) -> SnapshotData:
    """With the days on which the shop says that its items come."""
    times = pd.to_datetime([None if day is None else day * DAY_US for day in days], unit="us", utc=True)
    pd.read_parquet(data.path / "items.parquet").assign(available_from=times).to_parquet(data.path / "items.parquet")
    return data


def test_where_the_shop_says_when_items_come_nothing_else_may_be(tmp_path: Path) -> None:
    # Before the new items came ten wanted item 9. As above eight were too many of whom nobody knows what they met.
    data = shop(tmp_path / "shop", [9] * 10, [9] * 2 + [8] * 40 + [20] * 3)
    is_new = np.arange(ITEMS) >= NEW
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, 0.0) == 2.75
    dated(data, [None] * NEW + [AFTER] * (ITEMS - NEW))  # on which day they are there
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, 0.0) == 3.25


def test_where_no_question_met_a_new_item_nothing_is_known(tmp_path: Path) -> None:
    """A collection that comes after the last question of valid costs nothing there, however high it stands."""
    events: list[Event] = [(99, item, 1, "buy", TRAIN, False) for item in range(NEW)]
    events += [(user, 8, 4, "buy", VALID, True) for user in range(50)]
    data = dated(small_snapshot(tmp_path / "shop", events, users=100, items=ITEMS), [None] * NEW + [9] * (ITEMS - NEW))
    is_new = np.arange(ITEMS) >= NEW
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, 0.05) == 0
    # Nor where valid finds nothing that could be lost: items 10 and on are beyond the ten best.
    unfound = [(user, 15, day, kind, split, target) for user, _, day, kind, split, target in events if split == VALID]
    data = small_snapshot(tmp_path / "other", [*events[:NEW], *unfound], users=100, items=ITEMS)
    assert newcomer_offset(Falling(), data, data.queries(VALID), is_new, 0.05) == 0


def test_the_first_buyers_of_new_items_do_not_outweigh_what_the_shelves_lose(tmp_path: Path) -> None:
    # Were all new items there, six would be won at 3.0 and as many lost; on the shelves six are lost for none.
    data = shop(tmp_path / "shop", [20] * 6, [9] * 6 + [8] * 8)
    assert newcomer_offset(Falling(), data, data.queries(VALID), np.arange(ITEMS) >= NEW, 0.9) == 2.75


def test_an_item_comes_when_the_shop_says_so_or_with_its_first_event(tmp_path: Path) -> None:
    events: list[Event] = [(0, 0, 1, "buy", TRAIN, False), (0, 1, 2, "return", TRAIN, False),
                           (1, 2, 1, "buy", TEST, True), (2, 2, 5, "buy", VALID, True), (3, 0, 5, "buy", VALID, True),
                           (4, 3, 6, "buy", TEST, True)]
    data = small_snapshot(tmp_path / "shop", events, users=5, items=5)
    earliest, latest = arrivals(data)
    assert earliest.tolist() == [ALWAYS] * 5
    assert latest.tolist() == [DAY_US, 2 * DAY_US, 5 * DAY_US, NEVER, NEVER]  # test events tell nothing
    # The shop says nothing of the first and the last; item 2 was bought before it says that it came.
    dated(data, [None, 1, 9, 7, None])
    earliest, latest = arrivals(data)
    assert earliest.tolist() == [ALWAYS, DAY_US - 1, 5 * DAY_US, 7 * DAY_US - 1, ALWAYS]
    assert latest.tolist() == [DAY_US, DAY_US - 1, 5 * DAY_US, 7 * DAY_US - 1, NEVER]
    # Words by that name are no times.
    table = pd.read_parquet(data.path / "items.parquet").assign(available_from="spring")
    table.to_parquet(data.path / "items.parquet")
    assert arrivals(data)[0].tolist() == [ALWAYS] * 5


def test_without_new_items_there_is_nothing_to_raise(tmp_path: Path) -> None:
    data = shop(tmp_path / "shop", [], [0])
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
    events: list[Event] = [(99, item, 1, "buy", TRAIN, False) for item in range(old)]
    events += [(98, item, 2, "buy", VALID, False) for item in range(old, items)]
    events += [(user, 39, 3, "buy", VALID, True) for user in range(5)]
    events += [(user, 0, 3, "buy", VALID, True) for user in range(5, 10)]
    data = small_snapshot(tmp_path / "shop", events, users=100, items=items)
    is_new = np.arange(items) >= old
    alike = Raised(np.where(is_new, -1.0, 0.0).astype(np.float32))
    # From 1.25 on ten new items stand above every old one, for the one half of the users and for the other.
    for standing in Standing.of(alike, data, data.queries(VALID), is_new):
        assert standing.is_hit(1.25).sum() == 0
    assert newcomer_offset(alike, data, data.queries(VALID), is_new, 0.5) == 1.0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 1.5, 8.0]))
def test_hits_are_those_of_a_ranking_with_the_scores_raised(tmp_path: Path, seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path / f"{seed}-{offset}"
    before, after = (rng.integers(0, ITEMS, 20).tolist() for _ in range(2))
    data = shop(folder, before, after) if not folder.exists() else SnapshotData.load(folder)
    row = rng.integers(-4, 4, ITEMS).astype(np.float32) / 2  # many are equal
    queries, is_new = data.queries(VALID), np.arange(ITEMS) >= NEW
    every, there = Standing.of(Raised(row), data, queries, is_new)
    assert every.is_hit(offset).sum() == (rank(Raised(row, offset), data, queries, k=10).rank > 0).sum()
    # Asked before the new items came, it is as if they were at the very end; the others are asked as they are.
    is_early = queries.time <= CAME * DAY_US
    hits = [(rank(Raised(row, up), data, queries.only(np.flatnonzero(chosen)), k=10).rank > 0).sum()
            for up, chosen in ((-100.0, is_early), (offset, ~is_early))]
    assert there.is_hit(offset).sum() == sum(hits)
