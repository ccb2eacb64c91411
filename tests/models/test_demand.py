"""Demand over time, by hand."""

from pathlib import Path

import numpy as np
import pytest

from models import demand as module
from models.demand import Demand
from pipelines.snapshot import TEST, TRAIN, VALID, SnapshotData
from tests.small_snapshot import DAY_US, Event, small_snapshot

TURN = 8  # day on which everybody goes over from item 0 to item 1


def shop(folder: Path, valid_item: int, days: int = 16) -> SnapshotData:
    """One sale a day: item 0 before day 8, item 1 from then on; item 2 never. Valid wants `valid_item`."""
    sales: list[Event] = [(day, int(day >= TURN), day, "buy", TRAIN, False) for day in range(days)]
    later: list[Event] = [(days, valid_item, days + 1, "buy", VALID, True), (days + 1, 2, days + 2, "buy", TEST, True)]
    return small_snapshot(folder, sales + later, users=days + 2, items=3)


def test_a_turning_season_is_followed_fast(tmp_path: Path) -> None:
    found = Demand.of(shop(tmp_path / "new", valid_item=1))
    assert found.half_life <= 0.1  # of 15 days: yesterday counts more than the day before
    assert found.last.argmax() == 1
    # Before the change item 0 led, at the change nobody knew of it, and three days later item 1 leads.
    row = {day: int(np.searchsorted(found.moments, day * DAY_US, side="right")) - 1 for day in (6, 8, 11)}
    assert [int(found.table[row[day]].argmax()) for day in (6, 8, 11)] == [0, 0, 1]


def test_what_comes_back_asks_for_a_long_memory(tmp_path: Path) -> None:
    found = Demand.of(shop(tmp_path / "old", valid_item=0))
    assert found.half_life == np.inf
    # Eight sales of each and a times three items: log(3 * (8 + a) / (16 + 3 a)); item 2 has none.
    a = found.smoothing
    expected = np.log(3 * (np.array([8, 8, 0]) + a) / (16 + 3 * a))
    assert found.last == pytest.approx(expected, abs=1e-6)


def test_a_moment_knows_earlier_sales_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HALF_LIVES", (0.2,))  # of 15 days: 3 days
    monkeypatch.setattr(module, "SMOOTHINGS", (1.0,))
    found = Demand.of(shop(tmp_path / "shop", valid_item=1))
    assert found.table[0] == pytest.approx([0, 0, 0])  # nothing is known: an even share
    for moment, row in zip(found.moments, found.table, strict=True):
        count = np.zeros(3)
        for day in range(16):
            if day * DAY_US < moment:
                count[int(day >= TURN)] += 2 ** (-(moment / DAY_US - day) / 3)
        assert row == pytest.approx(np.log(3 * (count + 1) / (count.sum() + 3)), abs=1e-5)
    ages = 15 - np.arange(16)
    count = np.array([(2.0 ** (-ages[:8] / 3)).sum(), (2.0 ** (-ages[8:] / 3)).sum(), 0])
    assert found.last == pytest.approx(np.log(3 * (count + 1) / (count.sum() + 3)), abs=1e-5)


def test_users_cut_at_their_own_last_events_have_no_season(tmp_path: Path) -> None:
    events: list[Event] = [
        (0, 0, 1, "buy", TRAIN, False), (0, 1, 2, "buy", VALID, True),
        (1, 0, 8, "buy", TRAIN, False), (1, 2, 9, "buy", VALID, True)]
    found = Demand.of(small_snapshot(tmp_path, events, users=2, items=3))
    assert found.table.shape == (1, 3)
    assert found.last == pytest.approx(np.log(3 * np.array([3, 1, 1]) / 5))  # two sales, and one for each item
    assert (found.table[0] == found.last).all()
