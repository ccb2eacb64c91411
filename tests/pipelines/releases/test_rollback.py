"""Rolling back goes to what was live before, never returns to what was rolled back, and is a record like any other."""

import pytest

from pipelines.errors import BundleRefused, ReleaseConflict, SettingsError
from pipelines.releases.champion import follow
from pipelines.releases.rollback import plan, rollback
from pipelines.settings import Settings
from serving.store import ReleaseStore


def back(store: ReleaseStore, to: int | None = None) -> tuple[int, int | None]:
    """Roll back; the new number and the release that it restores."""
    release = rollback(store, plan(store, to, "tester", "empty slates"))
    assert store.live() == release
    return release.number, release.restores


def test_a_plan_writes_nothing_and_says_everything(store: ReleaseStore) -> None:
    planned = plan(store, None, "tester", "empty slates")
    second = store.get(2)
    assert (planned.number, planned.parent, planned.restores) == (4, 3, 2)
    assert (planned.actor, planned.reason) == ("tester", "empty slates")
    assert (planned.bundle, planned.as_of, planned.training, planned.metrics, planned.model_version) == (
        second.bundle, second.as_of, second.training, second.metrics, second.model_version)
    assert store.numbers() == [1, 2, 3]


def test_rolling_back_twice_goes_further_back_and_not_forth_again(store: ReleaseStore) -> None:
    assert back(store) == (4, 2)
    assert back(store) == (5, 1)
    with pytest.raises(SettingsError, match=r"nothing was released before bundle .* of release 1"):
        plan(store, None, "tester", "again")
    assert back(store, to=3) == (6, 3)
    assert back(store, to=4) == (7, 2)  # a rollback is named: what it restored is meant
    assert [release.bundle for release in store.history()] == [
        store.get(number).bundle for number in (1, 2, 3, 2, 1, 3, 2)]


def test_what_cannot_be_rolled_back_to_is_named(store: ReleaseStore) -> None:
    faults = {3: "no release 3 before the live release 3", 9: "no release 9 before", 0: "no release 0 before"}
    for to, message in faults.items():
        with pytest.raises(SettingsError, match=message):
            plan(store, to, "tester", "why")
    with pytest.raises(SettingsError, match="needs a reason"):
        plan(store, 1, "tester", " ")
    back(store, to=1)
    with pytest.raises(SettingsError, match=r"release 4 is bundle .* of release 1 already"):
        plan(store, 1, "tester", "why")


def test_a_rollback_needs_its_bundle_whole(store: ReleaseStore) -> None:
    folder = store.bundle_path(store.get(2).bundle)
    (folder / "spec.json").write_text("{}")
    with pytest.raises(BundleRefused, match=r"spec\.json"):
        plan(store, None, "tester", "why")
    store.shelf.remove(store.get(2).bundle)
    with pytest.raises(BundleRefused, match="does not hold bundle"):
        plan(store, None, "tester", "why")
    assert back(store, to=1) == (4, 1)


def test_a_rollback_that_was_overtaken_is_a_conflict_and_recorded(store: ReleaseStore) -> None:
    planned = plan(store, 1, "tester", "why")
    back(store)
    with pytest.raises(ReleaseConflict, match="release 4 is already bundle"):
        rollback(store, planned)
    assert store.refusals()[-1].release == planned


def test_a_rollback_again_is_the_same_record(store: ReleaseStore) -> None:
    planned = plan(store, 1, "tester", "why")
    assert rollback(store, planned) == rollback(store, planned)
    assert store.numbers() == [1, 2, 3, 4]


def test_mlflow_follows_and_its_absence_is_a_warning_with_a_remedy(
    store: ReleaseStore, of_shop: Settings, told: list, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from pipelines import tracking
    from pipelines.errors import TrackingError

    release = rollback(store, plan(store, None, "tester", "why"))
    assert follow(release, of_shop)
    assert told[-1] == ("promoted", (release, of_shop))

    def away(*_: object) -> None:
        raise TrackingError("MLflow at sqlite:///none failed")

    monkeypatch.setattr(tracking, "promoted", away)
    assert not follow(release, of_shop)
    assert "release 4 is live" in caplog.text
    assert "vitrine follow" in caplog.text
    assert store.live() == release
