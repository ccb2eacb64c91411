"""A drill measures a rollback and leaves the store as it was."""

from pathlib import Path

import pytest

from pipelines.contracts import Origin
from pipelines.errors import BundleRefused, SettingsError
from pipelines.releases.drill import DrillParams, rehearse
from pipelines.settings import Settings
from serving.store import ReleaseStore

ORIGIN = Origin(actor="tester")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_rolled_back_and_the_store_is_only_read(store: ReleaseStore, places: Settings) -> None:
    before = contents(Path(places.store))
    found = rehearse(DrillParams(), ORIGIN, places)
    assert (found.release, found.to, found.bundle) == (3, 2, store.get(2).bundle)
    assert found.lists == 1 + 12 and 0 < found.rolled_back_s < 60 and found.copied_mb > 0
    assert contents(Path(places.store)) == before
    assert not list(places.home.glob("drill-*"))
    assert rehearse(DrillParams(to=1), ORIGIN, places).to == 1


def test_a_bundle_that_is_damaged_fails_the_drill(store: ReleaseStore, places: Settings) -> None:
    path = store.bundle_path(store.get(2).bundle) / "popularity.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleRefused, match=r"popularity\.npy"):
        rehearse(DrillParams(), ORIGIN, places)
    with pytest.raises(SettingsError, match="no release 7"):
        rehearse(DrillParams(to=7), ORIGIN, places)
