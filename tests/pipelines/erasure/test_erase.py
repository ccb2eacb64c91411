"""Erasing a person from a whole installation: everywhere, once, also after a kill, and nobody else with them."""

import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pipelines.artifacts import verify
from pipelines.erasure import erase as act
from pipelines.erasure import folders
from pipelines.erasure.receipt import render
from pipelines.releases.rollback import plan, rollback
from pipelines.settings import Settings
from serving.panel import Panel
from serving.sessions.contract import Event, SessionsUnavailable
from serving.sessions.sqlite import SqliteSessions
from tests.erasure_world import (
    BROUGHT_US,
    NOW,
    SESSION,
    SHOP,
    USER,
    Installation,
    make_installation,
    next_week,
    place,
)
from tests.pipelines.releases.conftest import reversed_prior
from tests.pipelines.test_feeds import write_shop
from tests.release_world import ITEMS, USERS
from tests.s3_server import S3

LOG = "logs/task.log"


@pytest.fixture
def installed(places: Settings, tmp_path: Path) -> Installation:
    return make_installation(places, tmp_path)


def users_of(path: Path) -> set[str]:
    return set(pd.read_parquet(path)["user_id"])


def test_a_dry_run_says_where_the_person_is_and_changes_nothing(installed: Installation) -> None:
    before = installed.tree()
    receipt = installed.erase(yes=False)
    after = installed.tree()
    assert {name: content for name, content in after.items() if "sessions/" not in name} == {
        name: content for name, content in before.items() if "sessions/" not in name}
    assert (receipt.is_dry_run, receipt.erasure, receipt.ids) == (True, None, 2)
    found = {one.name: (one.found, one.unit) for one in receipt.places}
    assert found == {
        "session store": (2, "events"),  # of the customer and of the session
        "landing folder": (3, "rows"),  # their events, and the merge
        # The lake, its snapshot, that of the release, the feeds, the attempt, and the sealed bundle with its panel.
        "sealed folders and attempts": (6, "folders"),
        # u01, u05 and u09 have bought the same at the same seconds: nobody can say whose of the three it is.
        "bundles": (3, "histories"),
        "MLflow's artefacts": (1, "tables"),
        "every other file": (1, "files"),
    }
    assert all(one.files > 0 and one.size > 0 for one in receipt.places)


def test_after_it_no_byte_below_home_names_the_person(installed: Installation) -> None:
    assert len(installed.holding(USER, SESSION)) > 5
    receipt = installed.erase()
    assert receipt.erasure == 1
    assert installed.holding(USER, SESSION) == [LOG]  # other programs' logs are named, and left to them
    assert LOG in place(receipt, "every other file").remains
    for one in receipt.places:
        left = {"bundles": 3, "every other file": 1}.get(one.name, 0)
        assert (one.name, one.found - one.removed) == (one.name, left)
    assert str(installed.source) in " ".join(receipt.notes)
    assert USER in users_of(installed.source / "events.parquet")  # the owner's
    # Nobody else is touched.
    sessions = installed.sessions()
    assert [event.item_id for event in sessions.history("u06")] == ["i07"]
    sessions.close()
    console = Console(record=True, width=200)
    render(receipt, console)
    text = console.export_text()
    assert "erasure 1" in text and "BGREWRITEAOF" not in text and USER not in text.replace(LOG, "")


def test_what_is_made_afterwards_leaves_the_person_out(installed: Installation) -> None:
    installed.erase()
    lake = installed.ingest()
    assert (lake.users, lake.events, lake.events_erased) == (USERS - 1, 3 * (USERS - 1), 3)
    assert USER not in users_of(Path(lake.path) / "users.parquet")
    snapshot = installed.features(lake)
    assert USER not in users_of(Path(snapshot.path) / "users.parquet")
    assert (snapshot.users, snapshot.events) == (USERS, 33)  # u12 has no events
    feeds = installed.feeds(lake)
    assert feeds.users == USERS and USER not in users_of(Path(feeds.path) / "user_items.parquet")
    for artifact in (lake, snapshot, feeds):
        verify(Path(artifact.path))
    assert installed.ingest() == lake  # what was made without the person is found again
    assert installed.holding(USER, SESSION) == [LOG]


def test_a_rollback_does_not_bring_the_person_back(installed: Installation) -> None:
    store = installed.store
    first = store.live()
    mine = [one for one in Panel.load(store.bundle_path(first.bundle)).shoppers if one.items == ("i01", "i05", "i09")]
    assert len(mine) == 3
    installed.erase()
    installed.release(vectors=reversed_prior(), as_of=next_week(), parent=1, champion="c" * 64)
    assert store.live().number == 2
    rollback(store, plan(store, 1, "tester", "worse"))
    assert store.live().bundle == first.bundle
    erased = store.erasures.read()
    shown = Panel.load(store.bundle_path(store.live().bundle)).without(erased.hides).shoppers
    assert len(shown) == USERS - 3 and not set(mine) & set(shown)
    assert erased.covers(USER, BROUGHT_US) and erased.covers(SESSION, BROUGHT_US)


def test_erased_twice_is_erased_once_and_who_comes_back_is_somebody_new(installed: Installation) -> None:
    first = installed.erase()
    again = installed.erase(at=NOW + timedelta(hours=1))
    assert again.erasure == first.erasure == 1
    assert {one.name: one.found for one in again.places if one.found} == {"every other file": 1}
    came_back_us = int(NOW.timestamp() * 1e6) + 1_800_000_000  # half an hour later
    sessions = installed.sessions()
    sessions.add([Event("new", USER, "i03", "view", came_back_us)], came_back_us)
    sessions.close()
    assert not installed.store.erasures.read().covers(USER, came_back_us)
    assert installed.store.erasures.read().number == 2  # the person, and then the histories that bundles show
    assert installed.erase(at=NOW + timedelta(hours=2)).erasure == 3
    assert installed.store.erasures.read().covers(USER, came_back_us)


def test_an_unknown_id_is_recorded_so_that_late_data_find_it(installed: Installation) -> None:
    before = installed.tree()
    receipt = installed.erase("nobody-1")
    assert receipt.erasure == 1 and all(one.found == 0 for one in receipt.places)
    changed = {name for name, content in installed.tree().items() if before.get(name) != content}
    assert {name for name in changed if "sessions/" not in name} == {
        "store/shop/erased/00000001.json", "store/shop/erased/key.json", "landing/shop/.swept"}


def test_what_the_api_erased_before_is_found_under_ids_that_nobody_recalls(installed: Installation) -> None:
    # The serving process erased the profile and forgot the merge; the lake still has events of the session.
    installed.store.erasures.erase([USER, SESSION], at=NOW, actor="api", reason="asked for")
    sessions = installed.sessions()
    sessions.forget(USER)
    sessions.close()
    receipt = installed.erase()
    assert (receipt.ids, receipt.erasure) == (1, 1)
    assert installed.holding(USER, SESSION) == [LOG]
    added = installed.store.erasures.read().records[1]
    assert added.users == () and len(added.histories) == 1  # what the bundle shows, of three people alike


def test_another_shop_of_the_same_home_is_left_alone(installed: Installation, tmp_path: Path) -> None:
    other = Installation(installed.places, write_shop(tmp_path / "boutique", price=np.arange(ITEMS) + 11.0))
    renamed = Installation(installed.places, write_shop(tmp_path / "nowhere", price=np.arange(ITEMS) + 12.0))
    (Path(installed.places.store) / "boutique/releases").mkdir(parents=True)
    lake, lost = other.ingest(), renamed.ingest()
    installed.erase()
    verify(Path(lake.path))
    assert USER in users_of(Path(lake.path) / "users.parquet")
    assert not Path(lost.path).exists()  # no shop has this name: it may be this one's, under another


STEPS = ("_search", "_sweep_landing", "folders.remove", "SqliteSessions.forget", "SqliteSessions.scrub",
         "_of_bundles")


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_and_done_again_it_ends_in_the_same_state(
    installed: Installation, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _, name = step.rpartition(".")
    target = {"": act, "folders": folders, "SqliteSessions": SqliteSessions}[owner]

    def dies(*_: object, **__: object) -> None:
        raise SessionsUnavailable("killed here")

    with monkeypatch.context() as killed:
        killed.setattr(target, name, dies)
        with pytest.raises(SessionsUnavailable, match="killed here"):
            installed.erase()
    assert installed.store.erasures.read().covers(USER, BROUGHT_US)  # whatever remains, nobody is told of it
    installed.erase(at=NOW + timedelta(minutes=5))
    assert installed.holding(USER, SESSION) == [LOG]
    assert installed.store.erasures.read().number == 2


def test_concurrent_erasures_of_many_people_are_all_done(installed: Installation) -> None:
    people, faults = [USER, "u06", "u07", USER], list[Exception]()

    def erase(user: str) -> None:
        try:
            installed.erase(user)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=erase, args=(user,)) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [name for name in installed.holding(USER, SESSION, "u06", "u07") if name != LOG] == []
    erased = installed.store.erasures.read()
    assert all(erased.covers(user, BROUGHT_US) for user in (*people, SESSION))
    assert installed.ingest().users == USERS - 3


def test_the_same_with_a_store_in_a_bucket(places: Settings, tmp_path: Path, s3: S3) -> None:
    in_bucket = Settings(**places.model_dump() | {"store": s3.new_store(), "store_options": s3.options})
    installed = make_installation(in_bucket, tmp_path)
    receipt = installed.erase()
    assert receipt.erasure == 1 and place(receipt, "bundles").found == 3
    assert installed.holding(USER, SESSION) == [LOG]
    assert installed.erase().erasure == 1
    assert installed.ingest().events_erased == 3
    assert installed.places.of_shop(SHOP).store == place(receipt, "bundles").where
