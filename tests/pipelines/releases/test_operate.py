"""A rollback by a form: a dry run unless it is switched off, and the same record that the command writes."""

from pathlib import Path

import pytest

from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.releases.operate import RollbackParams, rollback
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.faults.small_release import release_of, write_bundle

ORIGIN = Origin(actor="night shift", cause="manual")


@pytest.fixture
def kiosk(tmp_path: Path, places: Settings) -> ReleaseStore:
    """Two releases of the only shop."""
    store = ReleaseStore(f"{places.store}/kiosk")
    for number, mark in enumerate("ab"):
        store.commit(release_of(store.add_bundle(write_bundle(tmp_path / mark, mark)), mark, number or None))
    return store


def test_without_being_told_it_only_says_what_it_would_do(kiosk: ReleaseStore, places: Settings) -> None:
    before = kiosk.history()
    found = rollback(RollbackParams(reason="empty slates"), ORIGIN, places)
    assert (found.number, found.parent, found.restores, found.bundle) == (3, 2, 1, before[0].bundle)
    assert kiosk.history() == before


def test_switched_off_the_older_bundle_is_live_and_the_record_says_who_and_why(
    kiosk: ReleaseStore, places: Settings, told: list
) -> None:
    rollback(RollbackParams(reason="empty slates", to=1, dry_run=False), ORIGIN, places)
    live = kiosk.live()
    assert live is not None
    assert (live.number, live.restores, live.actor, live.reason) == (3, 1, "night shift", "empty slates")
    assert [name for name, _ in told] == ["promoted"]  # MLflow's alias follows


def test_a_form_without_a_reason_or_with_a_strange_release_is_refused(kiosk: ReleaseStore, places: Settings) -> None:
    with pytest.raises(SettingsError, match="a rollback needs a reason"):
        rollback(RollbackParams(reason=" "), ORIGIN, places)
    with pytest.raises(SettingsError, match="no release 7 before the live release 2"):
        rollback(RollbackParams(reason="why", to=7), ORIGIN, places)
    with pytest.raises(SettingsError, match="there is no shop 'bakery'"):
        rollback(RollbackParams(reason="why", shop="bakery"), ORIGIN, places)
