"""Cleaning: what is live, to roll back to, leased or young stays, whatever happens between the plan and the removal."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.experiment_start import start
from pipelines.releases.collect import Keeping, collect, plan
from pipelines.releases.rollback import plan as plan_rollback
from pipelines.releases.rollback import rollback
from serving import leases
from serving.experiments.spec import Spec, Variant
from serving.store import ReleaseStore

REPOSITORY = Path(__file__).resolve().parents[3]
AT_ONCE = Keeping(previous=0, grace=timedelta(0))
ONE_BEFORE = Keeping(previous=1, grace=timedelta(0))


def later(**after: float) -> datetime:
    return datetime.now(UTC) + timedelta(**(after or {"seconds": 1}))


def kept(store: ReleaseStore, keeping: Keeping, now: datetime) -> dict[int, str]:
    """Release -> why its bundle stays; "" where it goes."""
    fates = plan(store, keeping, now)
    return {number: fate.reason if fate.is_kept else "" for fate in fates for number in fate.releases}


def test_the_live_and_the_previous_ones_stay(store: ReleaseStore) -> None:
    assert kept(store, AT_ONCE, later()) == {1: "", 2: "", 3: "is live"}
    assert kept(store, ONE_BEFORE, later()) == {1: "", 2: "is number 1 of 1 to roll back to", 3: "is live"}
    assert len(store.shelf.stock()) == 3


def test_previous_are_bundles_in_the_order_in_which_they_were_last_live(store: ReleaseStore) -> None:
    rollback(store, plan_rollback(store, 1, "tester", "why"))
    assert kept(store, ONE_BEFORE, later()) == {
        1: "is live", 2: "", 3: "is number 1 of 1 to roll back to", 4: "is live"}


def test_what_is_young_or_was_live_a_moment_ago_stays(store: ReleaseStore) -> None:
    grace = Keeping(previous=0, grace=timedelta(minutes=30))
    assert all(kept(store, grace, later(minutes=29)).values())
    assert kept(store, grace, later(minutes=31)) == {1: "", 2: "", 3: "is live"}
    rollback(store, plan_rollback(store, 1, "tester", "why"))
    was_live = kept(store, grace, later(minutes=29))[3]
    assert was_live.startswith("was live until")


def test_what_is_leased_stays_until_the_lease_and_the_grace_are_over(store: ReleaseStore) -> None:
    lease = store.leases.take(store.get(1).bundle, "api of host 7", seconds=600)
    assert kept(store, AT_ONCE, later(seconds=590))[1].startswith("is leased by api of host 7 until")
    assert kept(store, AT_ONCE, later(seconds=610))[1] == ""
    grace = Keeping(previous=0, grace=timedelta(hours=2))
    assert kept(store, grace, later(hours=2, seconds=300))[1].startswith("is leased")
    assert kept(store, grace, later(hours=2, seconds=610))[1] == ""
    lease.end()
    assert kept(store, AT_ONCE, later())[1] == ""


def test_variants_of_the_running_experiment_stay(store: ReleaseStore) -> None:
    spec = Spec(name="old", variants=(Variant(name="now"), Variant(name="first", release=1)))
    start(store, spec, "tester", "why")
    assert kept(store, AT_ONCE, later()) == {1: "is a variant of the experiment old", 2: "", 3: "is live"}
    store.experiments.stop("tester", "done")
    assert kept(store, AT_ONCE, later()) == {1: "", 2: "", 3: "is live"}
    collect(store, plan(store, AT_ONCE, later()), AT_ONCE, later())
    with pytest.raises(SettingsError, match="release 1 was cleaned away"):
        start(store, spec, "tester", "once more")
    store.leases.condemn(store.get(3).bundle)  # a cleaning is at it
    with pytest.raises(SettingsError, match="release 3 was cleaned away"):
        start(store, Spec(name="live", variants=(Variant(name="a", release=3), Variant(name="b"))), "tester", "why")
    assert store.experiments.running() is None


def test_cleaning_removes_what_was_planned_and_nothing_else(store: ReleaseStore) -> None:
    expired = store.leases.take(store.get(3).bundle, "killed", seconds=-5)
    history = store.history()
    planned = plan(store, AT_ONCE, later())
    assert {fate.bundle for fate in collect(store, planned, AT_ONCE, later())} == {
        store.get(1).bundle, store.get(2).bundle}
    assert set(store.shelf.stock()) == {store.get(3).bundle}
    assert store.history() == history
    assert expired.key not in [key for key, _ in store.leases.all()]
    assert not any(store.leases.is_condemned(release.bundle) for release in history)
    assert collect(store, plan(store, AT_ONCE, later()), AT_ONCE, later()) == []


Meanwhile = Callable[[ReleaseStore], object]


@pytest.mark.parametrize("meanwhile", [
    lambda store: store.leases.take(store.get(1).bundle, "a reader"),
    lambda store: rollback(store, plan_rollback(store, 1, "tester", "why")),
], ids=["leased", "rolled back to"])
def test_what_is_needed_after_the_plan_is_not_removed(store: ReleaseStore, meanwhile: Meanwhile) -> None:
    planned = plan(store, AT_ONCE, later())
    meanwhile(store)
    removed = collect(store, planned, AT_ONCE, later())
    assert store.get(1).bundle not in [fate.bundle for fate in removed]
    store.bundle_path(store.get(1).bundle)
    assert not store.leases.is_condemned(store.get(1).bundle)


def test_a_half_bundle_goes_when_it_is_old(store: ReleaseStore, tmp_path: Path) -> None:
    half = "f" * 64
    store._storage.create(f"bundles/{half}/spec.json", b"{}")
    [fate] = [fate for fate in plan(store, AT_ONCE, later()) if fate.bundle == half]
    assert not fate.is_kept
    assert fate.reason == "is half: an upload or a removal was broken off"
    assert fate in collect(store, plan(store, AT_ONCE, later()), AT_ONCE, later())
    assert half not in store.shelf.stock()


CLEANER = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pipelines.errors import SettingsError
from pipelines.experiment_start import start
from pipelines.releases.collect import Keeping, collect, plan
from serving.local_storage import LocalStorage
from serving.experiments.spec import Spec, Variant
from serving.store import ReleaseStore
calls, real = int(sys.argv[2]), LocalStorage.delete
def delete(self, keys):
    global calls
    for key in keys:
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        calls -= 1
        real(self, [key])
LocalStorage.delete = delete
store, now = ReleaseStore(Path(sys.argv[1])), datetime.now(UTC) + timedelta(seconds=1)
keeping = Keeping(previous=0, grace=timedelta(0))
collect(store, plan(store, keeping, now), keeping, now)
"""


@pytest.mark.parametrize("deletions", [0, 1, 5])
def test_a_cleaning_that_was_killed_is_finished_by_the_next(store: ReleaseStore, deletions: int) -> None:
    killed = subprocess.run([sys.executable, "-c", CLEANER, store.root, str(deletions)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(Path(store.root) / leases.CONDEMNED) if name.endswith(".json")]
    store.bundle_path(store.get(3).bundle)
    collect(store, plan(store, AT_ONCE, later()), AT_ONCE, later())
    assert set(store.shelf.stock()) == {store.get(3).bundle}
    assert os.listdir(Path(store.root) / leases.CONDEMNED) == []
