"""Who was erased is left out of whatever is read: also of what was sealed before, and while a stage runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts import place, seal, take_away
from pipelines.contracts import Artifact, Origin
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import ErasedMeanwhile, TakenAway, UpstreamErased
from pipelines.evaluate import EvaluateSettings, evaluate
from pipelines.panel import draw
from pipelines.retrain import RetrainParams, run_stage
from pipelines.settings import Settings
from serving.erased import ErasureLog
from serving.storage import open_storage
from serving.store import ReleaseStore
from tests.erasure_world import SHOP, USER, Installation
from tests.pipelines.test_evaluate import make_trained
from tests.pipelines.test_feeds import write_shop
from tests.release_world import AS_OF, DAY_US, NOW_US, USERS, make_registered

WHO = {"actor": "tester", "reason": "asked for"}
LATER = AS_OF + timedelta(days=1)


@pytest.fixture
def shop(places: Settings, tmp_path: Path) -> Installation:
    return Installation(places, write_shop(tmp_path / SHOP))


def users_of(folder: str, name: str = "users") -> set[str]:
    return set(pd.read_parquet(Path(folder) / f"{name}.parquet")["user_id"])


def test_a_lake_of_before_the_erasure_is_read_without_the_person(shop: Installation) -> None:
    shop.release()
    lake = shop.ingest()
    before, feeds = shop.features(lake), shop.feeds(lake)
    assert USER in users_of(feeds.path, "user_items")
    shop.store.erasures.erase([USER], at=LATER, **WHO)  # as the API does, which does not see the lake
    after, new_feeds = shop.features(lake), shop.feeds(lake)
    assert USER in users_of(lake.path) and USER in users_of(before.path)
    assert users_of(after.path) == users_of(before.path) - {USER}
    assert (after.events, after.users) == (before.events - 3, before.users - 1)
    assert users_of(new_feeds.path, "user_items") == users_of(feeds.path, "user_items") - {USER}
    assert users_of(new_feeds.path, "next_best") == users_of(feeds.path, "next_best") - {USER}


def test_only_what_happened_up_to_the_erasure_is_left_out(shop: Installation) -> None:
    # Each user bought one item a day, on the three days before AS_OF; the erasure lies on the second of them.
    second = datetime.fromtimestamp((NOW_US - 2 * DAY_US) / 1e6, UTC)
    shop.release()
    lake = shop.ingest()
    shop.store.erasures.erase([USER], at=second, **WHO)
    new = shop.ingest()
    days = pd.concat(pd.read_parquet(path) for path in sorted(Path(new.path).glob("events/*/*.parquet")))
    own = days[days["user_id"] == USER]
    assert own["item_id"].tolist() == ["i09"] and (own["timestamp"] > second).all()
    assert (new.events_erased, new.users) == (2, USERS)
    assert USER not in users_of(new.path)  # nobody can say whose the row of the user table is
    for lake_read in (lake, new):
        feeds = shop.feeds(lake_read)
        table = pd.read_parquet(Path(feeds.path) / "user_items.parquet")
        # score = 2 * (one event left) + (40 - 1) / 1000
        assert table[table["user_id"] == USER]["score"].max() == pytest.approx(2.039, abs=1e-5)


def test_an_evaluation_asks_nothing_of_an_erased_person(tmp_path: Path) -> None:
    store, asking = ReleaseStore(tmp_path / "store"), EvaluateSettings(bootstrap_samples=20)
    trained = make_trained(tmp_path)
    first = evaluate(trained, store, asking, tmp_path)
    assert users_of(first.path, "targets") == {f"u{user}" for user in (*range(8), 12)}
    store.erasures.erase(["u3"], at=datetime.now(UTC), **WHO)
    again = evaluate(trained, store, asking, tmp_path)
    assert users_of(again.path, "targets") == {f"u{user}" for user in (0, 1, 2, 4, 5, 6, 7, 12)}
    assert again.path != first.path


def test_a_panel_is_drawn_without_an_erased_person(tmp_path: Path) -> None:
    trained = make_registered(tmp_path).evaluated.trained
    log = ErasureLog(open_storage(tmp_path / "store"))
    log.erase(["u05"], at=LATER, **WHO)
    panel = draw(trained, 1000, 1, Exclusion(log))
    assert len(panel.shoppers) == USERS - 1
    # u01, u05 and u09 bought the same; two of them are left.
    assert [one.items for one in panel.shoppers].count(("i01", "i05", "i09")) == 2


def sealed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("stage", ["ingest", "features", "feeds"])
def test_somebody_erased_while_a_stage_runs_is_never_sealed(
    shop: Installation, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release()
    lake = shop.ingest() if stage != "ingest" else None
    call = {"ingest": shop.ingest, "features": lambda: shop.features(lake), "feeds": lambda: shop.feeds(lake)}[stage]
    before, real = sealed(shop.root / stage), Exclusion.require_unchanged

    def late(exclusion: Exclusion) -> None:
        if shop.store.erasures.read().number == 0:
            shop.store.erasures.erase([USER], at=LATER, **WHO)
        real(exclusion)

    monkeypatch.setattr(Exclusion, "require_unchanged", late)
    with pytest.raises(ErasedMeanwhile, match="run it again"):
        call()
    assert sealed(shop.root / stage) == before
    assert Path(call().path).is_dir()


def test_what_was_taken_away_while_it_was_written_is_never_sealed_half(tmp_path: Path) -> None:
    def build(out: Path) -> dict[str, Any]:
        (out / "a").mkdir()
        (out / "a/first.txt").write_text("first")
        assert take_away(out)
        assert not take_away(out)
        (out / "b").mkdir(parents=True)  # as a writer does who knows nothing of it
        (out / "b/second.txt").write_text("second")
        return {}

    with pytest.raises(TakenAway, match="held a person who was erased meanwhile"):
        seal(Artifact, tmp_path, "ingest", "k" * 64, build)
    assert not place(tmp_path, "ingest", "k" * 64).exists() and not list((tmp_path / "ingest").iterdir())

    def dies(out: Path) -> dict[str, Any]:
        take_away(out)
        (out / "a").mkdir()  # fails: there is no such folder any more
        return {}

    with pytest.raises(TakenAway):
        seal(Artifact, tmp_path, "ingest", "k" * 64, dies)


def test_a_run_whose_lake_was_removed_says_that_it_begins_anew(shop: Installation) -> None:
    shop.release()
    lake = shop.ingest()
    shop.erase()
    assert not Path(lake.path).exists()
    params = RetrainParams(source=str(shop.source), as_of=AS_OF)
    with pytest.raises(UpstreamErased, match=r"features starts from .*ingest.*run the retrain anew") as caught:
        run_stage("features", lake.model_dump(mode="json"), params, Origin(), shop.own)
    assert not caught.value.is_retryable
    anew = run_stage("ingest", None, params, Origin(), shop.own)
    assert anew["events_erased"] == 3


EVENT = st.tuples(st.sampled_from("abc"), st.integers(0, 9))
ERASED = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))


@settings(max_examples=40, deadline=None)
@given(events=st.lists(EVENT, min_size=1, max_size=20), erased=ERASED)
def test_events_are_left_out_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]], erased: dict[str, int]
) -> None:
    log = ErasureLog(open_storage(tmp_path_factory.mktemp("store")))
    for user, day in erased.items():
        log.erase([user], at=AS_OF + timedelta(days=day), **WHO)
    frame = pd.DataFrame({"user_id": [user for user, _ in events],
                          "timestamp": pd.to_datetime([AS_OF + timedelta(days=day) for _, day in events], utc=True)})
    expected = [user in erased and day <= erased[user] for user, day in events]
    assert Exclusion(log).events(frame).tolist() == expected
