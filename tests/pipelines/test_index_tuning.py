"""How much a query searches: the cheapest way that is enough, by costs and recalls worked out by hand."""

from itertools import pairwise

import pytest

from pipelines.index_tuning import cost_us, efforts, tuned
from serving.index_files import IndexConfig


def test_a_cost_by_hand() -> None:
    # 2,000 centres at 6 ns, 1/100 of a million codes at 2 ns, 100 vectors at 70 ns: 12 + 20 + 7 us.
    assert cost_us(2000, 20, 100, (1_000_000, 64)) == pytest.approx(39)
    # Half of the columns, half of the cost; 50 items cannot give 100 candidates.
    assert cost_us(2000, 20, 100, (1_000_000, 32)) == pytest.approx(19.5)
    assert cost_us(10, 10, 100, (50, 64)) == pytest.approx(0.06 + 0.1 + 3.5)


def test_ways_go_from_one_leaf_to_all_of_them_cheapest_first() -> None:
    ways = efforts(20, (1000, 64))
    assert {search for search, _ in ways} == {1, 2, 3, 4, 6, 8, 11, 16, 20}
    assert {reorder for _, reorder in ways} == {50, 100, 200, 400, 800, 1600, 3200}
    assert len(ways) == 63 and ways[0] == (1, 50) and ways[-1] == (20, 3200)
    costs = [cost_us(20, *way, (1000, 64)) for way in ways]
    assert costs == sorted(costs)


SHAPE = (1_000_000, 64)


def by_hand(config: IndexConfig) -> float:
    """As a tree finds it: the leaves bound what can be found, the candidates what is kept of it."""
    assert config.leaves_to_search is not None and config.reorder is not None
    return min(config.leaves_to_search, config.reorder / 10, 20) / 20


def test_the_cheapest_way_that_is_enough_is_taken() -> None:
    config, recall = tuned(by_hand, 2000, SHAPE, 0.5)
    # .5 needs 10 leaves and 100 candidates; the steps above 10 leaves is 11. Nothing below it is enough.
    assert (config.leaves_to_search, config.reorder, recall) == (11, 100, 0.5)
    assert config.curve is not None
    points = [(point.leaves_to_search, point.reorder, point.recall) for point in config.curve]
    assert (11, 100, 0.5) in points and points[0] == (1, 50, 0.05)


def test_the_curve_rises_and_goes_on_beyond_what_was_chosen() -> None:
    config, recall = tuned(by_hand, 2000, SHAPE, 0.5)
    curve = config.curve or ()
    assert all(a.recall < b.recall and a.cost_us <= b.cost_us for a, b in pairwise(curve))
    chosen = next(point for point in curve if point.recall == recall)
    # 200 candidates and 16 or 23 leaves cost less than twice as much.
    assert curve[-1].recall == 1.0 and curve[-1].cost_us <= 2 * chosen.cost_us + 0.1
    for point in curve:
        way = IndexConfig(kind="scann", leaves=2000, leaves_to_search=point.leaves_to_search, reorder=point.reorder)
        assert point.recall == by_hand(way)
        assert point.cost_us == pytest.approx(cost_us(2000, point.leaves_to_search, point.reorder, SHAPE), abs=0.06)


def test_where_nothing_is_enough_the_best_is_taken() -> None:
    asked: list[tuple[int | None, int | None]] = []

    def half(config: IndexConfig) -> float:
        asked.append((config.leaves_to_search, config.reorder))
        return by_hand(config) / 2

    config, recall = tuned(half, 2000, SHAPE, 0.9)
    assert (config.leaves_to_search, config.reorder, recall) == (23, 200, 0.5)
    assert asked == efforts(2000, SHAPE)
