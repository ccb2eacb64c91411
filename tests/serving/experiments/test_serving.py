"""An experiment as shoppers meet it: releases side by side (tests/live_world.py), rules side by side, and exposures."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from serving.experiments.following import Experiments, Running
from serving.experiments.log import ExperimentLog
from serving.experiments.spec import Spec, Variant
from serving.landing import LandingFolder, LandingUnavailable
from serving.live import Live
from serving.live_status import LiveSettings
from serving.questions import Recommend
from serving.rules import Pin, Rules
from serving.service import Service
from serving.sessions.sqlite import SqliteSessions
from serving.storage import open_storage
from tests.live_world import LiveShop
from tests.serving.shop import item, make_service

FAST = LiveSettings(is_rehearsed=False, poll_s=60)
USERS = [f"u{number}" for number in range(40)]


class World:
    """A store with two releases, of which the second is live, and its log of experiments."""

    def __init__(self, root: Path) -> None:
        self.shop = LiveShop(root)
        self.shop.release(1)
        self.shop.release(2)
        self.log = self.shop.store.experiments
        self.held: list[frozenset[str]] = []
        self.experiments = Experiments(self.shop.store, FAST, self.held.append)
        self.live = Live(self.shop.store, FAST)
        self.live.look()
        self.landing = LandingFolder(root / "landing")
        self.service = Service(self.live, SqliteSessions(root / "sessions.db"), landing=self.landing,
                               experiment=self.experiments.running)

    def bundle_of(self, user: str | None, **rest) -> tuple[str | None, int, int]:
        """Variant, release and number of the bundle that answers a user; the bundle's number stands in its scores."""
        slate = self.service.recommend(Recommend(user_id=user, k=1, **rest))
        return slate.variant, slate.release, round(slate.items[0].score / 10)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.landing.seal()


@pytest.fixture
def old_and_new(world: World) -> Iterator[Running]:
    spec = Spec(name="old-and-new", variants=(Variant(name="new"), Variant(name="old", release=1)))
    world.log.start(spec, "anna", "is it better?")
    world.experiments.look()
    running = world.experiments.running()
    assert running is not None
    yield running
    world.log.stop("anna", "done")
    world.experiments.look()


def test_two_releases_answer_side_by_side(world: World, old_and_new: Running) -> None:
    answers = {user: world.bundle_of(user) for user in USERS}
    assert set(answers.values()) == {("new", 2, 2), ("old", 1, 1)}
    assert {user: world.bundle_of(user) for user in USERS} == answers  # and stays so
    assert world.held[-1] == {world.shop.store.get(1).bundle}
    assert world.bundle_of(None) == (None, 2, 2)  # nobody is in it
    assert {world.bundle_of(user, rules=Rules())[:2] for user in USERS} == {(None, 2)}  # with rules of one's own


def test_an_end_gives_everybody_the_live_release(world: World) -> None:
    world.experiments.look()
    assert {world.bundle_of(user) for user in USERS} == {(None, 2, 2)}
    assert world.held[-1] == frozenset()


def test_what_was_shown_is_laid_down_with_release_and_variant(world: World, old_and_new: Running) -> None:
    shown = {user: world.bundle_of(user) for user in USERS}
    world.bundle_of(USERS[0], time=datetime(2026, 1, 1, tzinfo=UTC))  # as of another moment: shown to nobody
    world.landing.seal()
    files = [str(path) for path in (world.landing.folder / "exposures").glob("day=*/*.parquet")]
    rows = ds.dataset(files, format="parquet").to_table(
        filter=ds.field("version") == old_and_new.record.version).to_pylist()
    assert {row["user_id"]: (row["variant"], row["release"]) for row in rows} == {
        user: answer[:2] for user, answer in shown.items()}
    assert len(rows) == len(USERS)
    assert rows[0]["experiment"] == "old-and-new" and rows[0]["version"] == old_and_new.record.version
    assert rows[0]["item_ids"] == ["i00"]


def test_a_release_that_cannot_be_opened_lets_nobody_in(world: World) -> None:
    spec = Spec(name="broken", variants=(Variant(name="new"), Variant(name="old", release=9)))
    world.log.start(spec, "anna", "a mistake")
    try:
        world.experiments.look()
        assert world.experiments.running() is None
        assert "release record" in str(world.experiments.trouble)
        assert {world.bundle_of(user) for user in USERS} == {(None, 2, 2)}
    finally:
        world.log.stop("anna", "of no use")
        world.experiments.look()
    assert world.experiments.trouble is None


def test_a_log_that_cannot_be_read_changes_nothing(world: World, old_and_new: Running) -> None:
    path = world.shop.root / "store" / "experiments" / f"{old_and_new.record.number:08d}.json"
    text = path.read_text()
    path.write_text("{")
    world.experiments.look()
    assert world.experiments.running() is old_and_new and "torn" in str(world.experiments.trouble)
    path.write_text(text)
    world.experiments.look()
    assert world.experiments.trouble is None


def test_the_thread_follows_starts_and_ends(world: World) -> None:
    def waits_for(is_running: bool) -> bool:
        ends = time.monotonic() + 30
        while (experiments.running() is not None) != is_running and time.monotonic() < ends:
            time.sleep(0.01)
        return (experiments.running() is not None) == is_running

    with Experiments(world.shop.store, FAST, poll_s=0.02) as experiments:
        assert experiments.running() is None
        world.log.start(Spec(name="same", variants=(Variant(name="a"), Variant(name="b"))), "anna", "who knows")
        assert waits_for(True)
        world.log.stop("anna", "done")
        assert waits_for(False)


def test_two_sets_of_rules_answer_side_by_side(tmp_path: Path) -> None:
    log = ExperimentLog(open_storage(tmp_path))
    pinned = Rules(pins=(Pin(item_id=item(9), place=1),))
    record = log.start(Spec(name="pin", variants=(Variant(name="plain", rules=Rules()), Variant(
        name="pinned", rules=pinned))), "anna", "does it help?")
    house = Rules(pins=(Pin(item_id=item(5), place=1),))
    service = make_service(tmp_path, rules=house, experiment=lambda: Running(record))
    firsts = {(slate.variant, slate.items[0].item_id)
              for slate in (service.recommend(Recommend(user_id=user, k=1)) for user in USERS)}
    assert firsts == {("plain", item(0)), ("pinned", item(9))}
    assert service.recommend(Recommend(k=1)).items[0].item_id == item(5)


def test_a_landing_folder_that_is_full_costs_no_answer(tmp_path: Path) -> None:
    class Full(LandingFolder):
        def add_exposure(self, exposure) -> None:
            raise LandingUnavailable("no space left on device")

    record = ExperimentLog(open_storage(tmp_path)).start(
        Spec(name="same", variants=(Variant(name="a"), Variant(name="b"))), "anna", "a test of the test")
    service = make_service(tmp_path, landing=Full(tmp_path / "landing"), experiment=lambda: Running(record))
    slate = service.recommend(Recommend(user_id="u", k=2))
    assert len(slate.items) == 2 and "missing from the experiment" in slate.notices[0]
