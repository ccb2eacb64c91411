"""A full disk is told before it is full: what is needed, what is free, where, and what to do."""

import shutil
from pathlib import Path

import pytest

from pipelines.errors import DiskFull
from pipelines.free_space import SPARE_BYTES, require_free
from pipelines.index import IndexSettings, index
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.release_world import make_registered
from tests.serving.conftest import make_bundle


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """Say how many bytes every disk has free."""
    usage = shutil.disk_usage("/")

    def say(count: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=count))

    return say


def test_room_is_counted_to_the_byte(tmp_path: Path, free) -> None:
    free(1000 + SPARE_BYTES)
    require_free(tmp_path / "not" / "there", 1000, "it")
    with pytest.raises(DiskFull, match=rf"it needs 1,001 bytes at {tmp_path}/x and 67,108,864 to .* 67,109,864 are"):
        require_free(tmp_path / "x", 1001, "it")
    assert DiskFull.is_retryable


def test_a_bundle_is_not_begun_on_a_full_disk(tmp_path: Path, places: Settings, free) -> None:
    registered = make_registered(tmp_path)
    free(1 << 20)
    with pytest.raises(DiskFull, match="the bundle with its indexes needs"):
        index(registered, IndexSettings(), places, tmp_path)
    assert list((tmp_path / "index").iterdir()) == []


def test_a_store_takes_no_bundle_that_would_fill_it(tmp_path: Path, free) -> None:
    bundle, store = make_bundle(tmp_path), ReleaseStore(tmp_path / "store")
    free(1 << 20)
    with pytest.raises(DiskFull, match=r"bundle [0-9a-f]{12} needs"):
        store.add_bundle(bundle)
    assert not (tmp_path / "store").exists()
