"""The panel says what was bought, and never by whom."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.errors import BundleRefused
from pipelines.panel import draw
from serving.panel import Panel, Shopper
from serving.store import ReleaseStore
from tests.release_world import make_registered

DAY_S = 86_400


def test_histories_are_drawn_by_seed_and_told_without_users(tmp_path: Path) -> None:
    trained = make_registered(tmp_path).evaluated.trained
    panel = draw(trained, 5, seed=1)
    assert panel == draw(trained, 5, seed=1)
    assert panel != draw(trained, 5, seed=2)
    assert len(panel.shoppers) == 5
    for shopper in panel.shoppers:  # user u bought items g, g + 4, g + 8 of group g, one a day
        group = int(shopper.items[0][1:])
        assert shopper.items == tuple(f"i{row:02d}" for row in (group, group + 4, group + 8))
        assert shopper.seconds_before == (3 * DAY_S, 2 * DAY_S, DAY_S)
        assert shopper.types == ("purchase",) * 3
    assert set(panel.shoppers[0].model_dump()) == {"items", "types", "weights", "seconds_before"}
    assert [one.items for one in panel.shoppers] == sorted(one.items for one in panel.shoppers)
    assert len(draw(trained, 1000, seed=1).shoppers) == 12
    assert draw(trained, 0, seed=1).shoppers == ()


def test_every_bundle_carries_one(store: ReleaseStore) -> None:
    panel = Panel.load(store.bundle_path(store.get(1).bundle))
    assert len(panel.shoppers) == 12
    assert Panel.load(Path("/nowhere")) == Panel()


def test_requests_keep_the_gaps_between_events_and_know_no_features(tmp_path: Path) -> None:
    panel = draw(make_registered(tmp_path).evaluated.trained, 1, seed=0)
    [request] = panel.requests(user_slots=2)
    assert np.diff(request.time).tolist() == [DAY_S * 1_000_000] * 2
    assert request.now_us - request.time[-1] == DAY_S * 1_000_000
    assert request.user_tokens.tolist() == [0, 0]


def test_unknown_items_leave_and_empty_histories_with_them() -> None:
    one = Shopper(items=("a", "b"), types=("buy", "view"), weights=(1, 0.5), seconds_before=(9, 3))
    other = Shopper(items=("c",), types=("buy",), weights=(1,), seconds_before=(1,))
    assert Panel(shoppers=(one, other)).known_to({"b"}).shoppers == (
        Shopper(items=("b",), types=("view",), weights=(0.5,), seconds_before=(3,)),)


def test_a_panel_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="parts of"):
        Shopper(items=("a",), types=(), weights=(), seconds_before=())
    with pytest.raises(ValidationError, match="times go back"):
        Shopper(items=("a", "b"), types=("x", "x"), weights=(1, 1), seconds_before=(1, 2))
    (tmp_path / "panel.json").write_text('{"shoppers": [{"user_id": "7"}]}')
    with pytest.raises(BundleRefused, match=r"panel\.json is no panel"):
        Panel.load(tmp_path)
