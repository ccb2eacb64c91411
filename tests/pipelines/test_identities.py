"""A session that was found to be a customer: one profile offline as online, from its date on and no moment before.

The kiosk (tests/lake_world.py) sells item y to customer u1 at six o'clock each day. The session "visit" looks at z at
seven on the sixth of March, is found to be u1 at noon, and looks at x at one o'clock.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import Ingested, Window
from pipelines.features import FeatureSettings, features
from pipelines.identities import Identities
from pipelines.ingest import ingest as ingest_window
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec
from pipelines.shoppers import shoppers
from pipelines.snapshot import SnapshotData
from serving.landing import LandingFolder
from serving.sessions.contract import Event, Merge
from serving.sessions.sqlite import SqliteSessions
from tests.lake_world import SHOP, ingest, installation, lake_of, log_of, march, write_kiosk
from tests.pipelines.test_shoppers import bundle_of

LAST = 6
LOOK, FOUND, AFTER = (datetime(2026, 3, LAST, hour, tzinfo=UTC) for hour in (7, 12, 13))


def us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop, and an installation whose lake has all days but the last."""
    folder = tmp_path_factory.mktemp("before")
    shop = write_kiosk(folder, log_of(LAST))
    for day in range(1, LAST):
        ingest(shop, march(day), installation(folder / "home"), late_days=0)
    return folder


@pytest.fixture
def places(before: Path, tmp_path: Path) -> Settings:
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    return installation(tmp_path / "home")


@pytest.fixture
def landing(places: Settings) -> LandingFolder:
    """Where the session's events lie; merges are up to each test."""
    folder = LandingFolder(places.landing_of(SHOP), clock=AFTER.timestamp)
    folder.add_events([Event("e1", "visit", "z", "view", us(LOOK)), Event("e2", "visit", "x", "view", us(AFTER))])
    return folder


def window_of(tmp_path: Path, places: Settings, landing: LandingFolder) -> Ingested:
    """The window of all days, when the last has been taken in."""
    landing.seal()
    ingest(tmp_path / SHOP, march(LAST), places, late_days=0)
    return window_as_of(places, LAST + 1)


def window_as_of(places: Settings, day: int) -> Ingested:
    """The window that ends as a day of March begins."""
    as_of = datetime(2026, 3, day, tzinfo=UTC)
    erasures = open_store(places.of_shop(SHOP)).erasures
    return ingest_window(str(lake_of(places).folder), Window(as_of=as_of), ShopSpec(), places.artifacts, erasures)


def profiles(lake: Ingested, places: Settings) -> dict[str, list[tuple[str, int]]]:
    """User id -> (item, microseconds) of the snapshot's histories."""
    made = features(lake, FeatureSettings(), places.artifacts, open_store(places.of_shop(SHOP)).erasures)
    data = SnapshotData.load(made.path)
    users = pd.read_parquet(Path(made.path) / "users.parquet")["user_id"]
    h = data.histories
    spans = {user: range(h.indptr[row], h.indptr[row + 1]) for row, user in enumerate(users)}
    return {user: [("xyz"[h.item[event]], int(h.time[event])) for event in span] for user, span in spans.items()}


def own_of(customer: int, days: int) -> list[tuple[str, int]]:
    """What a customer of the kiosk bought."""
    return [("xyzx"[customer], us(datetime(2026, 3, day, 6 * customer, tzinfo=UTC))) for day in range(1, days + 1)]


def test_a_history_offline_is_the_profile_that_answers_online(
    tmp_path: Path, places: Settings, landing: LandingFolder
) -> None:
    landing.add_merge(Merge("m", "visit", "u1", us(FOUND)))
    lake = window_of(tmp_path, places, landing)
    sessions = SqliteSessions(tmp_path / "sessions.db")
    sessions.add([Event(f"own-{n}", "u1", item, "purchase", time) for n, (item, time) in enumerate(own_of(1, LAST))]
                 + [Event("e1", "visit", "z", "view", us(LOOK)), Event("e2", "visit", "x", "view", us(AFTER))],
                 us(AFTER))
    sessions.identify(Merge("m", "visit", "u1", us(FOUND)))
    online = [(event.item_id, event.time_us) for event in sessions.history("u1")]
    found = profiles(lake, places)
    assert found.keys() == {"u0", "u1", "u2", "u3"}
    assert found["u1"] == online
    assert online[-3:] == [("y", us(datetime(2026, 3, LAST, 6, tzinfo=UTC))), ("z", us(LOOK)), ("x", us(AFTER))]
    # And it is the one that feeds are asked with.
    snapshot = features(lake, FeatureSettings(), places.artifacts)
    asked = {user: request.history for block in shoppers(lake, bundle_of(snapshot, tmp_path / "release"), 10)
             for user, request in zip(block.user_ids, block.requests, strict=True)}
    assert asked.keys() == found.keys()
    assert [("xyz"[i], t) for i, t in zip(asked["u1"].item, asked["u1"].time.tolist(), strict=True)] == online


def test_a_merge_changes_nothing_before_its_date(tmp_path: Path, places: Settings, landing: LandingFolder) -> None:
    landing.add_merge(Merge("m", "u3", "u1", us(FOUND)))
    assert window_of(tmp_path, places, landing).users == 5  # who came, under whichever id
    assert profiles(window_as_of(places, LAST), places) == {f"u{n}": own_of(n, LAST - 1) for n in range(4)}
    after = profiles(window_as_of(places, LAST + 1), places)
    assert after.keys() == {"u0", "u1", "u2", "visit"}
    assert after["u1"] == sorted(own_of(1, LAST) + own_of(3, LAST), key=lambda one: one[1])


def test_what_nobody_could_have_known_is_not_evaluated(
    tmp_path: Path, places: Settings, landing: LandingFolder
) -> None:
    def targets(lake: Ingested) -> list[int]:
        """Times of the session's events that are evaluated."""
        h = SnapshotData.load(features(lake, FeatureSettings(), places.artifacts).path).histories
        return [int(time) for time in h.time[np.asarray(h.target)] if time in (us(LOOK), us(AFTER))]

    apart = window_of(tmp_path, places, landing)
    assert targets(apart) == [us(LOOK), us(AFTER)]
    landing.add_merge(Merge("m", "visit", "u1", us(FOUND)))
    # At seven nobody knew that it was u1 who looked; at one o'clock everybody did.
    assert targets(window_of(tmp_path, places, landing)) == [us(AFTER)]


def test_an_undone_merge_never_was(tmp_path: Path, places: Settings, landing: LandingFolder) -> None:
    landing.add_merge(Merge("m", "visit", "u1", us(FOUND)))
    landing.add_merge(Merge("m", "", "", us(AFTER), us(AFTER)))
    found = profiles(window_of(tmp_path, places, landing), places)
    assert found["u1"] == own_of(1, LAST)
    assert found["visit"] == [("z", us(LOOK)), ("x", us(AFTER))]


def test_merges_outlive_the_landing_folder(tmp_path: Path, places: Settings, landing: LandingFolder) -> None:
    landing.add_merge(Merge("m", "visit", "u1", us(FOUND)))
    window_of(tmp_path, places, landing)
    for path in (landing.folder / "merges").rglob("*.parquet"):
        path.unlink()
    # The day once more, with what came late, and the day after it.
    landing.add_events([Event("e3", "visit", "x", "view", us(AFTER) + 1)])
    assert profiles(window_of(tmp_path, places, landing), places).keys() == {"u0", "u1", "u2", "u3"}
    ingest(tmp_path / SHOP, march(LAST + 1), places, late_days=0)
    assert profiles(window_as_of(places, LAST + 2), places).keys() == {"u0", "u1", "u2", "u3"}


def test_who_was_erased_is_nobodys_alias(tmp_path: Path, places: Settings, landing: LandingFolder) -> None:
    landing.add_merge(Merge("m", "visit", "u1", us(FOUND)))
    lake = window_of(tmp_path, places, landing)
    open_store(places.of_shop(SHOP)).erasures.erase(
        ["u1", "visit"], at=datetime(2026, 3, LAST, 12, 30, tzinfo=UTC), actor="tester", reason="request")
    # The window that was ingested before, and one that is ingested anew: what came later is of somebody else.
    for window in (lake, window_as_of(places, LAST + 1)):
        found = profiles(window, places)
        assert found.keys() == {"u0", "u2", "u3", "visit"}
        assert found["visit"] == [("x", us(AFTER))]


def test_merges_of_merges_and_what_contradicts() -> None:
    # card -> u at 5 through session; the newer of two merges of an alias counts; the last would close a circle.
    found = Identities.of([("session", "u", 3), ("card", "session", 5), ("tab", "v", 1), ("tab", "u", 2),
                           ("u", "card", 9)])
    assert found.customer == {"session": "u", "card": "u", "tab": "u"}
    assert found.since_us == {"session": 3, "card": 5, "tab": 2}


def test_what_could_be_known_by_hand() -> None:
    identities = Identities.of([("s", "u", 40), ("t", "u", 70)])
    assert Identities.of([]).known(pd.Series(["a", "b"]), np.array([1, 2])).all()
    events = [  # user, time, known
        ("s", 10, True),  # alone so far: the session is asked with what it did
        ("s", 20, True),
        ("u", 30, False),  # u was not known to have done what s did
        ("u", 40, True),  # since this very moment it is
        ("other", 50, True),
        ("t", 60, False),  # t is nobody yet
        ("u", 65, False),
        ("t", 70, True),
        ("s", 80, True),
    ]
    users, times, known = zip(*events, strict=True)
    assert identities.known(pd.Series(users), np.array(times)).tolist() == list(known)
