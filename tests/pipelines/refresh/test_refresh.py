"""A newer catalogue under the live model: what is embedded, what stays, what is refused, and who wins a race."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import Origin
from pipelines.errors import DataError, GateRejected, ReleaseConflict, SettingsError
from pipelines.promote import promote
from pipelines.refresh import run
from pipelines.refresh.items import NEW, arrange
from pipelines.refresh.run import RefreshOutcome, RefreshParams, refresh_catalogue
from pipelines.releases.collect import Keeping
from pipelines.releases.collect import plan as gc_plan
from pipelines.releases.opening import open_store
from pipelines.releases.rollback import plan, rollback
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.encoding import History
from serving.panel import Panel
from serving.recommender import Recommender, Request
from serving.store import ReleaseStore
from tests.door_world import PICTURED, photograph
from tests.refresh_world import GREENER, NEWCOMER, forget, items, release, verdict_of, write_shop
from tests.release_world import ITEMS, NO_TOKENS, NOW_US

ORIGIN = Origin(actor="tester", reason="spring", cause="manual")
MORE = {"i40": "green", "i41": "red"}


@pytest.fixture
def of_shop(places: Settings) -> Settings:
    return places.of_shop("toy")


@pytest.fixture
def store(of_shop: Settings) -> ReleaseStore:
    """Release 1, of 40 items."""
    release(of_shop)
    return open_store(of_shop)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "toy")


def refresh(shop: Path, places: Settings, **params: Any) -> RefreshOutcome:
    installation = places.model_copy(update={"store": places.store.removesuffix("/toy")})
    return refresh_catalogue(RefreshParams(source=str(shop), **params), ORIGIN, installation)


def live(store: ReleaseStore) -> Bundle:
    record = store.live()
    assert record is not None
    return Bundle.load(store.bundle_path(record.bundle), record.bundle)


def vector(bundle: Bundle, item: str) -> Any:
    return pytest.approx(bundle.item_vectors[bundle.rows[item]].tolist(), abs=1e-6)


def slate(bundle: Bundle, *bought: str) -> list[str]:
    rows = np.array([bundle.rows[item] for item in bought], np.int32)
    history = History(rows, np.full(len(rows), NOW_US - 1), np.zeros(len(rows), np.int16),
                      np.ones(len(rows), np.float32))
    found = Recommender(bundle).recommend_many([Request(history, NOW_US, NO_TOKENS)], 12)[0]
    return [bundle.item_ids[one.row] for one in found]


def test_a_new_product_is_recommended_by_its_features(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    write_shop(shop, items(MORE))
    done = refresh(shop, of_shop)
    assert (done.status, done.release, done.items, done.added, done.changed, done.removed) == (
        "released", 2, 42, 2, 0, 0)
    fresh = live(store)
    # i41 is red: the one-hot vector of red, and the prior of what is new; green's adds what green says.
    assert vector(fresh, "i41") == [1, 0, 0, 0, NEWCOMER]
    assert vector(fresh, "i40") == [0, 1, 0, 0, NEWCOMER + GREENER]
    # Ten other red ones stand before it; whoever bought a red one gets it before anything that is not red.
    assert slate(fresh, "i00") == [f"i{row:02d}" for row in range(4, 40, 4)] + ["i41", "i01", "i02"]
    # And who bought the newcomer is somebody who likes red.
    assert slate(fresh, "i41")[:3] == ["i00", "i04", "i08"]
    recommender = Recommender(fresh)
    # It is called n02, as a blue one is: who asks for a red one of that name finds it first.
    assert fresh.item_ids[recommender.search("red n02", 1)[0].row] == "i41"


def test_the_record_goes_on_with_the_model_and_its_data(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    write_shop(shop, items(MORE))
    refresh(shop, of_shop, reason="spring")
    first, second = store.history()
    assert (second.cause, second.refreshes, second.parent, second.actor) == ("refresh", 1, 1, "tester")
    for name in ("training", "as_of", "run_id", "model_name", "model_version"):
        assert getattr(second, name) == getattr(first, name), name
    assert second.bundle != first.bundle and second.verdict != first.verdict


def test_what_training_knew_keeps_its_vector_to_the_bit(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    before = live(store)
    write_shop(shop, items(MORE).iloc[::-1])
    refresh(shop, of_shop)
    fresh = live(store)
    assert fresh.item_ids[:ITEMS] == before.item_ids
    np.testing.assert_array_equal(fresh.item_vectors[:ITEMS], before.item_vectors)
    np.testing.assert_array_equal(fresh.item_inputs[:ITEMS], before.item_inputs)
    assert fresh.text is not None and before.text is not None
    np.testing.assert_array_equal(fresh.text.vectors[:ITEMS], before.text.vectors)
    assert fresh.popularity.tolist() == [*before.popularity.tolist(), 40, 41]


def test_other_features_move_what_is_not_an_items_own(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    table = items()
    table.loc[[0, 12], "colour"] = "green"
    write_shop(shop, table)
    done = refresh(shop, of_shop)
    assert (done.added, done.changed, done.removed) == (0, 2, 0)
    fresh = live(store)
    # Half of i00 is its own and stays red; i12 was its colour alone.
    half = 0.5**0.5
    assert vector(fresh, "i00") == [half, half, 0, 0, 0.040 + GREENER]
    assert vector(fresh, "i12") == [0, 1, 0, 0, 0.028 + GREENER]
    assert fresh.items.column("colour")[12].as_py() == "green"
    # Back again, and it is as it was.
    write_shop(shop)
    assert refresh(shop, of_shop).status == "released"
    assert vector(live(store), "i00") == [1, 0, 0, 0, 0.04]


def test_what_is_gone_leaves_everything_and_comes_back_as_it_was(
    store: ReleaseStore, of_shop: Settings, shop: Path
) -> None:
    before = live(store)
    write_shop(shop, items(MORE).drop(index=[2, 7, 39]))
    done = refresh(shop, of_shop)
    assert (done.added, done.removed) == (2, 3)
    fresh = live(store)
    assert not {"i02", "i07", "i39"} & set(fresh.item_ids) and fresh.num_items == 39
    assert sorted(fresh.popularity.tolist()) == list(range(39))
    for item in fresh.item_ids:
        if item in before.rows:
            assert vector(before, item) == fresh.item_vectors[fresh.rows[item]].tolist()
            assert fresh.display(fresh.rows[item])["title"] == f"n{item[1:]}"
    assert fresh.photos is not None and fresh.pictures is not None
    pictured = {fresh.item_ids[row] for row in fresh.pictures.rows}
    assert pictured == {f"i{row:02d}" for row in range(PICTURED)} - {"i02", "i07"}
    assert {item for item in fresh.item_ids if fresh.photos.has(fresh.rows[item])} == pictured
    write_shop(shop, items(MORE))
    refresh(shop, of_shop)
    fresh = live(store)
    assert vector(before, "i02") == fresh.item_vectors[fresh.rows["i02"]].tolist()


def test_availability_texts_and_pictures_follow(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    table = items()
    table.loc[4, "available"] = False
    table.loc[9, "name"] = "n39 renamed"
    table.at[3, "image"] = photograph("red")
    table.at[30, "image"] = photograph("blue")
    write_shop(shop, table)
    assert refresh(shop, of_shop, max_changed=0.5).status == "released"
    fresh, before = live(store), Bundle.load(store.bundle_path(store.get(1).bundle))
    assert fresh.hidden.tolist() == [4]
    assert slate(fresh, "i00")[0] == "i08"
    assert fresh.display(9)["title"] == "n39 renamed"
    assert fresh.pictures is not None and before.photos is not None and fresh.photos is not None
    # The mean of each channel: red, and blue where there was none.
    assert np.round(fresh.pictures.vectors[3] / fresh.pictures.vectors[3].max()).tolist() == [1, 0, 0]
    assert fresh.pictures.rows.tolist() == [*range(PICTURED), 30]
    assert fresh.photos.of(3) != before.photos.of(3) and fresh.photos.of(2) == before.photos.of(2)
    assert fresh.photos.has(30)


def test_the_same_catalogue_makes_no_release(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    assert refresh(shop, of_shop).status == "unchanged"
    write_shop(shop, items(MORE))
    first = refresh(shop, of_shop)
    again = refresh(shop, of_shop)
    forget(of_shop)
    elsewhere = refresh(shop, of_shop)
    assert (again.status, elsewhere.status) == ("unchanged", "unchanged")
    assert again.bundle == elsewhere.bundle == first.bundle and store.numbers() == [1, 2]
    # Only what can be bought changed: that is a release too.
    table = items(MORE)
    table.loc[0, "available"] = False
    write_shop(shop, table)
    assert refresh(shop, of_shop).release == 3


def test_a_release_whose_bundle_was_removed_under_it_is_mended(
    store: ReleaseStore, of_shop: Settings, shop: Path
) -> None:
    write_shop(shop, items(MORE))
    done = refresh(shop, of_shop)
    store.shelf.remove(done.bundle)
    assert refresh(shop, of_shop).status == "unchanged"
    assert live(store).num_items == 42


def test_a_dry_run_releases_nothing(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    write_shop(shop, items(MORE))
    done = refresh(shop, of_shop, dry_run=True)
    assert (done.status, done.release) == ("dry run", 2)
    assert store.numbers() == [1] and len(store.shelf.stock()) == 1


def test_the_command_says_what_it_did(store: ReleaseStore, places: Settings, shop: Path) -> None:
    write_shop(shop, items(MORE))
    command = ["refresh-catalogue", "--data", str(shop), "--reason", "spring"]
    answer = CliRunner().invoke(app, command, env={"VITRINE_HOME": str(places.home)})
    assert answer.exit_code == 0, answer.output
    assert "released: release 2, bundle " in answer.output and "42 items, +2 -0, 0 with other features" in answer.output
    assert store.get(2).reason == "spring"
    again = CliRunner().invoke(app, [*command, "--json"], env={"VITRINE_HOME": str(places.home)})
    assert json.loads(again.stdout)["status"] == "unchanged"


def test_a_catalogue_that_lost_its_half_is_refused_with_figures(
    store: ReleaseStore, of_shop: Settings, shop: Path
) -> None:
    write_shop(shop, items().iloc[:20])
    with pytest.raises(GateRejected, match=r"changed_share: 0\.5000 is above 0\.2000: of 40 items 0 came, 20 went"):
        refresh(shop, of_shop)
    assert store.numbers() == [1]
    with pytest.raises(GateRejected, match="churn@10"):
        refresh(shop, of_shop, max_changed=1)
    assert refresh(shop, of_shop, max_changed=1, max_churn=1).status == "released"


def test_a_model_without_an_item_tower_says_retrain(of_shop: Settings, shop: Path) -> None:
    with pytest.raises(SettingsError, match="no release whose catalogue"):
        refresh(shop, of_shop)
    release(of_shop, has_tower=False)
    with pytest.raises(SettingsError, match=r"has no item tower: .* retrain once"):
        refresh(shop, of_shop)


@pytest.mark.parametrize(("change", "fault"), [
    (lambda table: table.drop(columns="colour"), "colour is missing"),
    (lambda table: table.assign(image="https://shop.example/x.png"), "image was image, and is now like 'https"),
    (lambda table: table.assign(item_id="i00"), "items.item_id"),
    (lambda table: table.iloc[:0], "the table is empty"),
])
def test_a_table_that_the_model_cannot_read_is_named(
    store: ReleaseStore, of_shop: Settings, shop: Path, change: Any, fault: str
) -> None:
    write_shop(shop, change(items()))
    with pytest.raises(DataError, match=fault):
        refresh(shop, of_shop)
    assert store.numbers() == [1]


def test_a_retrain_that_comes_between_is_not_undone(
    store: ReleaseStore, of_shop: Settings, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the gate of the refresh and its record somebody releases another model: it begins anew with that one."""
    write_shop(shop, items(MORE))
    judge, calls = run.judge, []

    def meanwhile(*arguments: Any) -> Any:
        verdict = judge(*arguments)
        if not calls:
            calls.append(verdict)
            release(of_shop, parent=1, epochs=7)
        return verdict

    monkeypatch.setattr(run, "judge", meanwhile)
    done = refresh(shop, of_shop)
    first, second, third = store.history()
    assert (done.release, third.refreshes, third.training) == (3, 2, second.training)
    assert second.training != first.training
    # What was refused is on record.
    assert [one.error for one in store.refusals()] == ["ReleaseConflict"]


def test_a_refresh_does_not_stand_in_a_retrains_way(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    """A challenger was judged against release 1; two refreshes of it came while it was on its way."""
    verdict = verdict_of(of_shop, parent=1, epochs=7)
    for extra in ({"i40": "red"}, MORE):
        write_shop(shop, items(extra))
        refresh(shop, of_shop)
    promoted = promote(verdict, ORIGIN, False, of_shop)
    assert (promoted.number, promoted.parent) == (4, 3)
    # Its retry, also when its own model was refreshed since, is the same record.
    refresh(shop, of_shop)
    assert promote(verdict, Origin(actor="a retry"), False, of_shop) == promoted
    assert [one.cause for one in store.history()] == ["promotion", "refresh", "refresh", "promotion", "refresh"]
    trained = verdict.sealed.registered.evaluated.trained
    parent = store.parent_for(trained.digest, trained.snapshot.window.as_of)
    assert parent is not None and parent.number == 3
    # Another model between is none of a refresh: that one is a conflict.
    with pytest.raises(ReleaseConflict):
        promote(verdict_of(of_shop, parent=1, epochs=8), ORIGIN, False, of_shop)


def test_after_a_rollback_the_model_that_is_live_again_is_refreshed(
    store: ReleaseStore, of_shop: Settings, shop: Path
) -> None:
    release(of_shop, parent=1, epochs=7)
    write_shop(shop, items(MORE))
    refresh(shop, of_shop)
    back = rollback(store, plan(store, 1, "tester", "worse"))
    done = refresh(shop, of_shop)
    fifth = store.get(done.release)
    assert (back.number, fifth.number, fifth.refreshes, fifth.training) == (4, 5, 1, store.get(1).training)
    # A rollback to a refresh is of its model too.
    again = rollback(store, plan(store, 3, "tester", "better after all"))
    assert again.refreshes is None and store.origin(again).number == 2


def test_cleaning_leaves_the_model_that_a_refresh_goes_on_with(
    store: ReleaseStore, of_shop: Settings, shop: Path
) -> None:
    release(of_shop, parent=1, epochs=7)
    for extra in ({"i40": "red"}, MORE):
        write_shop(shop, items(extra))
        refresh(shop, of_shop)
    bundles = [one.bundle for one in store.history()]

    def kept(previous: int) -> list[bool]:
        fates = {fate.bundle: fate.is_kept for fate in gc_plan(
            store, Keeping(previous=previous, grace=timedelta(0)), datetime.now(UTC) + timedelta(hours=1))}
        return [fates[bundle] for bundle in bundles]

    # Release 4 is live and refreshes 2. One more model is release 1, one more release is 3.
    assert kept(0) == [False, True, False, True]
    assert kept(1) == [True, True, True, True]


def test_who_was_erased_is_not_in_the_panel_of_a_refresh(store: ReleaseStore, of_shop: Settings, shop: Path) -> None:
    shown = Panel.load(store.bundle_path(store.get(1).bundle)).shoppers
    gone = next(one for one in shown if one.items[0] == "i00")
    store.erasures.erase(["u00"], at=datetime.now(UTC), actor="tester", reason="asked", histories=[gone])
    write_shop(shop, items(MORE))
    refresh(shop, of_shop)
    assert set(shown) - set(Panel.load(live(store).path).shoppers) == {gone}


ids = st.lists(st.integers(0, 30).map(lambda n: f"i{n:02d}"), unique=True).map(sorted)


@given(ids, ids)
def test_rows_hold_todays_items_once_each_and_most_stay(base: list[str], today: list[str]) -> None:
    order = arrange(base, today)
    rows = [today[place] for place in order]
    assert sorted(rows) == today and NEW not in order
    kept = min(len(base), len(today))
    # Whatever stood in the rows that remain and still exists, stays there.
    assert all(rows[row] == item for row, item in enumerate(base[:kept]) if item in set(today))
