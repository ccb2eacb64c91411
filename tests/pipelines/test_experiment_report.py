"""What an experiment has shown, from a landing folder that is written by hand; day 0 is a Monday at noon.

Of each variant some users are shown items, and some of them click or buy; the horizon is a day.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.anytime import compared, proportion
from pipelines.cli import app
from pipelines.errors import DataError
from pipelines.experiment_report import CLICK, PURCHASE, Report, report
from serving.experiments.exposure import Exposure
from serving.experiments.log import ExperimentLog
from serving.experiments.spec import Record, Spec, Variant
from serving.landing import LandingFolder
from serving.sessions.contract import Event, Merge
from serving.storage import open_storage
from tests.live_world import LiveShop

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=3)
SPEC = Spec(name="spring", salt="spring-1", variants=(Variant(name="a"), Variant(name="b")))
RECORD = Record(number=1, version=1, spec=SPEC, started_at=NOON, started_by="anna", reason="why not")


class World:
    """A landing folder and a clock in hours since noon."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.landing = folder, LandingFolder(folder)
        self.events: list[Event] = []

    def show(
        self, user: str, variant: str, hour: float = 0, items: Sequence[str] = ("i1", "i2"), version: int = 1
    ) -> None:
        self.landing.add_exposure(Exposure("spring", version, variant, user, us(hour), 7, tuple(items)))

    def do(self, user: str, event_type: str, item: str = "i1", hour: float = 1) -> None:
        self.events.append(Event(f"e{len(self.events)}", user, item, event_type, us(hour)))

    def report(self, as_of: datetime = LATER, record: Record = RECORD) -> Report:
        if self.events:
            self.landing.add_events(self.events)
        self.events = []
        self.landing.seal()
        return report(self.folder, record, as_of)


def us(hour: float) -> int:
    return int((NOON + timedelta(hours=hour)).timestamp()) * 1_000_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "landing")


def clicks(found: Report) -> list[int]:
    return [arm.outcomes[CLICK].users for arm in found.arms]


def purchases(found: Report) -> list[int]:
    return [arm.outcomes[PURCHASE].users for arm in found.arms]


def test_rates_by_variant_with_their_intervals(world: World) -> None:
    for number in range(40):
        world.show(f"u{number}", "ab"[number % 2])
    for number in range(0, 20, 2):
        world.do(f"u{number}", "view")
    for number in (1, 3):
        world.do(f"u{number}", "purchase", "elsewhere")
    found = world.report()
    assert [(arm.name, arm.share, arm.exposed, arm.counted) for arm in found.arms] == [
        ("a", 0.5, 20, 20), ("b", 0.5, 20, 20)]
    assert (clicks(found), purchases(found)) == ([10, 0], [0, 2])
    first = found.arms[0].outcomes[CLICK]
    assert first.rate == 0.5 and (first.low, first.high) == proportion(10, 10, 0.05)
    assert first.p_value is None and first.ratio is None
    other = found.arms[1].outcomes[CLICK]
    assert other.ratio == 0 and other.p_value == compared(0, 10, 0.5, 0.05).p_value > 0.05
    assert not other.is_different and not found.arms[1].outcomes[PURCHASE].is_different
    assert found.arms[1].outcomes[PURCHASE].ratio is None  # twice nothing
    assert found.mixed == 0 and found.warnings == () and found.shares_p_value == 1


def test_only_what_came_after_the_first_exposure_and_within_the_horizon_counts(world: World) -> None:
    for user in ("early", "other", "late", "returned", "good", "twice"):
        world.show(user, "a", hour=2)
    world.do("early", "view", hour=1)
    world.do("early", "purchase", hour=1)
    world.do("other", "view", "i9", hour=3)  # it was not shown
    world.do("late", "view", hour=2 + 24.5)
    world.do("late", "purchase", hour=2 + 24.5)
    world.do("returned", "return", hour=3)
    world.do("good", "add_to_cart", hour=3)
    world.show("twice", "a", hour=10, items=("i9",))
    world.do("twice", "view", "i9", hour=9)  # not yet shown
    world.do("nobody", "view", hour=3)
    assert clicks(world.report()) == [1, 0]
    world.do("twice", "view", "i9", hour=11)
    found = world.report()
    assert clicks(found) == [2, 0] and purchases(found) == [0, 0]


def test_a_user_counts_once_the_horizon_has_passed(world: World) -> None:
    world.show("old", "a", hour=0)
    world.show("new", "a", hour=20)
    world.do("new", "purchase", hour=21)
    at_noon = world.report(as_of=NOON + timedelta(hours=24))
    assert (at_noon.arms[0].exposed, at_noon.arms[0].counted, purchases(at_noon)) == (2, 1, [0, 0])
    assert purchases(world.report()) == [1, 0]
    # At a moment in the past only what was known then counts.
    assert world.report(as_of=NOON + timedelta(hours=1)).arms[0].exposed == 1


def test_merges_erasures_and_users_of_several_variants(world: World) -> None:
    world.show("session", "a")
    world.do("customer", "purchase", hour=2)
    world.landing.add_merge(Merge("m1", "session", "card", us(1)))
    world.landing.add_merge(Merge("m2", "card", "customer", us(1)))
    world.show("phone", "a")
    world.show("desk", "b", hour=1)
    world.landing.add_merge(Merge("m3", "phone", "desk", us(2)))
    world.show("gone", "b")
    world.landing.add_erasure(["gone"], us(5))
    found = world.report()
    assert [arm.exposed for arm in found.arms] == [1, 0]
    assert (purchases(found), found.mixed) == ([1, 0], 1)
    world.landing.add_merge(Merge("m3", "", "", us(6), us(6)))  # undone: they are two again
    apart = world.report()
    assert ([arm.exposed for arm in apart.arms], apart.mixed) == ([2, 1], 0)


def test_another_experiments_exposures_do_not_count(world: World) -> None:
    world.show("u1", "a")
    world.show("u2", "a", version=5)
    assert world.report().arms[0].exposed == 1
    with pytest.raises(DataError, match="names the variants a, which"):
        other = SPEC.model_copy(update={"variants": (Variant(name="x"), Variant(name="y"))})
        world.report(record=RECORD.model_copy(update={"spec": other}))
    with pytest.raises(DataError, match="no exposure of experiment 'spring'"):
        world.report(record=RECORD.model_copy(update={"number": 9, "version": 9}))


def test_users_that_do_not_fall_as_planned_are_warned_of(world: World) -> None:
    for number in range(600):
        world.show(f"u{number}", "a" if number % 3 else "b")
    found = world.report()
    assert found.shares_p_value < 0.001
    assert "a 400, b 200" in found.warnings[0]


def test_more_variants_need_more_evidence(world: World) -> None:
    three = Spec(name="spring", salt="s", variants=(Variant(name="a"), Variant(name="b"), Variant(name="c")))
    for number in range(150):
        world.show(f"u{number}", "abc"[number % 3])
        if number % 3 and number < {1: 90, 2: 120}[number % 3]:
            world.do(f"u{number}", "purchase")
    found = world.report(record=RECORD.model_copy(update={"spec": three}))
    assert purchases(found) == [0, 30, 40]
    # 30 to nothing has p .034: enough for two variants at .05, and too little for three, at .025 each.
    one, other = (arm.outcomes[PURCHASE] for arm in found.arms[1:])
    assert one.p_value == pytest.approx(0.034, abs=0.001) and not one.is_different
    assert other.is_different and other.p_value is not None and other.p_value < 0.025
    assert (other.ratio_low, other.ratio_high) == (compared(40, 0, 0.5, 0.025).interval.low, None)


def test_the_commands_start_report_and_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = LiveShop(tmp_path / "made")
    shop.release(1)
    (tmp_path / "home" / "store").mkdir(parents=True)
    (shop.root / "store").rename(tmp_path / "home" / "store" / "boutique")
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    spec = tmp_path / "spec.json"

    def run(*words: str, status: int = 0) -> str:
        answer = CliRunner().invoke(app, ["experiment", *words], env={"COLUMNS": "200"})
        assert answer.exit_code == status, answer.output
        return answer.stdout if not status else str(answer.exception)

    assert "has had no experiment" in run("report", status=1)
    variants = [{"name": "a"}, {"name": "b", "weight": 3, "release": 1}]
    spec.write_text(json.dumps({"name": "spring", "variants": variants}))
    assert run("start", str(spec), "--reason", "why not") == "experiment 1, spring: a 25.0%, b 75.0%; salt spring-1\n"
    assert "stop it first" in run("start", str(spec), "--reason", "again", status=1)
    landing = LandingFolder(tmp_path / "home" / "landing" / "boutique")
    landing.add_exposure(Exposure("spring", 1, "b", "u1", us(0), 1, ("i1",)))
    landing.add_events([Event("e1", "u1", "i1", "view", us(1))])
    landing.seal()
    # The clock of today is long past the horizon.
    told = Report.model_validate(json.loads(run("report", "--json")))
    assert told.arms[1].outcomes[CLICK].users == 1 and told.record.ended_at is None
    assert "100.00%" in run("report")
    assert run("stop", "--reason", "enough").startswith("experiment 1, spring: ended ")
    assert "ended 20" in run("report", "1")
    log = ExperimentLog(open_storage(tmp_path / "home" / "store" / "boutique"))
    assert log.running() is None and log.numbers() == [1, 2]
    for text, problem in (("{", "cannot be read"), ('{"name": "x"}', "variants: Field required"), (json.dumps(
            {"name": "x", "variants": [{"name": "a"}, {"name": "b", "release": 8}]}), "the log has 1 to 1")):
        spec.write_text(text)
        assert problem in run("start", str(spec), "--reason", "no", status=1)
