"""One set of promises of the release store for a local folder and for a bucket that other machines read."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest

from pipelines.artifacts import MANIFEST, digest_of
from pipelines.errors import (
    BundleAbsent,
    BundleRefused,
    CorruptArtifact,
    DiskFull,
    ReleaseConflict,
    SettingsError,
    StoreUnreachable,
)
from serving import shelf
from serving.bundle import Bundle
from serving.lease_keeper import LeaseKeeper
from serving.storage import open_storage
from serving.store import ReleaseStore
from tests.s3_server import S3
from tests.serving.conftest import make_bundle, seal_bundle
from tests.serving.test_store import DAY, release


class Place:
    """A store with a way round its back."""

    def __init__(self, root: str, options: dict[str, str], caches: Path) -> None:
        self.root, self.options, self.caches = root, options, caches
        self.raw = open_storage(root, options)
        self.is_bucket = root.startswith("s3://")

    def open(self, machine: str = "here") -> ReleaseStore:
        """As `machine` sees it: each has a cache of its own."""
        return ReleaseStore(self.root, self.options, self.caches / machine)

    def damage(self, digest: str, name: str, content: bytes) -> None:
        self.raw.replace(f"bundles/{digest}/{name}", content)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "store"), {}, tmp_path / "caches")
    s3: S3 = request.getfixturevalue("s3")
    return Place(s3.new_store(), s3.options, tmp_path / "caches")


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Path, Path]:
    return make_bundle(tmp_path, "first", "1"), make_bundle(tmp_path, "second", "2")


def of(digest: str, parent: int | None, **more: Any) -> Any:
    """A release of a bundle that is really there."""
    return release(parent, **more).model_copy(update={"bundle": digest})


def test_a_release_of_one_machine_is_read_whole_by_another(place: Place, bundles: tuple[Path, Path]) -> None:
    here, there = place.open(), place.open("there")
    assert there.live() is None
    first = here.commit(of(here.add_bundle(bundles[0]), None))
    assert there.live() == first
    folder = there.bundle_path(first.bundle)
    assert Bundle.load(folder, first.bundle).provenance == {"note": "1"}
    second = here.commit(of(here.add_bundle(bundles[1]), 1))
    assert there.history() == [first, second]
    assert there.history(last=1) == [second]
    assert here.commit(of(second.bundle, 1, actor="a retry")) == second
    assert there.bundle_path(first.bundle) == folder


def test_conflicts_are_refused_and_the_refusal_is_found(place: Place, bundles: tuple[Path, Path]) -> None:
    store = place.open()
    first, second = (store.add_bundle(folder) for folder in bundles)
    store.commit(of(first, None))
    faults = {
        "is already bundle": of(second, None, actor="overtaken"),
        "release 1 is live": of(second, 5, actor="from nowhere"),
        "would replace data": of(second, 1, actor="late", as_of=DAY - timedelta(days=1)),
        "does not hold bundle": release(1, "f", actor="without bundle"),
    }
    for message, refused in faults.items():
        with pytest.raises((ReleaseConflict, BundleRefused), match=message):
            store.commit(refused)
    found = place.open("there").refusals()
    assert [(one.release, message in one.message) for one, message in zip(found, faults, strict=True)] == [
        (refused, True) for refused in faults.values()]
    assert {one.error for one in found} == {"ReleaseConflict", "BundleRefused"}
    assert all(abs(one.refused_at - datetime.now(UTC)) < timedelta(minutes=2) and "process" in one.process
               for one in found)
    assert [one.number for one in store.history()] == [1]


def test_a_rollback_names_the_bundle_of_the_release_that_it_restores(
    place: Place, bundles: tuple[Path, Path]
) -> None:
    store = place.open()
    first, second = (store.add_bundle(folder) for folder in bundles)
    store.commit(of(first, None))
    store.commit(of(second, 1, as_of=DAY + timedelta(days=7)))
    with pytest.raises(ReleaseConflict, match="release 1 is bundle"):
        store.commit(of(second, 2).model_copy(update={"restores": 1}))
    with pytest.raises(ReleaseConflict, match="would replace data"):
        store.commit(of(first, 2))  # the same without saying that it is a rollback
    back = store.commit(of(first, 2).model_copy(update={"restores": 1}))
    assert place.open("there").live() == back
    assert back.as_of == DAY


@pytest.mark.parametrize("content", [b"", b"{", b"{}", None])
def test_a_torn_or_changed_record_is_refused_by_name(place: Place, content: bytes | None, tmp_path: Path) -> None:
    store = place.open()
    store.commit(of(store.add_bundle(make_bundle(tmp_path)), None))
    record = place.raw.read("releases/00000001.json")
    place.raw.replace("releases/00000001.json", record.replace(b"tester", b"other!") if content is None else content)
    with pytest.raises(CorruptArtifact, match=r"releases/00000001\.json is torn or was changed"):
        store.live()


def test_what_the_store_holds_damaged_is_refused(place: Place, bundles: tuple[Path, Path]) -> None:
    store = place.open()
    digest = store.add_bundle(bundles[0])
    place.damage(digest, "spec.json", b"{}")
    for call in (store.bundle_path, store.shelf.check):
        with pytest.raises(BundleRefused, match=r"spec\.json"):
            call(digest)
    with pytest.raises(BundleRefused, match=r"spec\.json"):
        store.add_bundle(bundles[0])
    spec = (bundles[0] / "spec.json").read_bytes()
    place.damage(digest, "spec.json", spec.replace(b"purchase", b"Purchase"))  # of the same size
    with pytest.raises(BundleRefused, match="SHA-256"):
        store.bundle_path(digest)
    place.damage(digest, "spec.json", spec)
    place.damage(digest, MANIFEST, place.raw.read(f"bundles/{digest}/{MANIFEST}").replace(b"spec", b"spek"))
    with pytest.raises(BundleRefused):
        store.bundle_path(digest)
    assert not (place.caches / "here" / digest).exists()


def test_a_bundle_that_was_broken_off_is_not_there_and_can_be_added(place: Place, bundles: tuple[Path, Path]) -> None:
    store = place.open()
    digest = digest_of(json.loads((bundles[0] / MANIFEST).read_text())["files"])
    if place.is_bucket:  # a folder is renamed as a whole; of a bucket the files come one by one
        place.damage(digest, "spec.json", b"half")
        assert not store.shelf.stock()[digest].is_whole
    assert not store.shelf.holds(digest)
    with pytest.raises(BundleRefused, match="does not hold bundle"):
        store.bundle_path(digest)
    assert store.add_bundle(bundles[0]) == digest
    assert store.shelf.stock()[digest].is_whole
    store.bundle_path(digest)


def test_a_removed_bundle_is_gone_and_can_be_added_again(place: Place, bundles: tuple[Path, Path]) -> None:
    store = place.open()
    digest, other = (store.add_bundle(folder) for folder in bundles)
    size = sum(path.stat().st_size for path in bundles[0].rglob("*") if path.is_file())
    assert store.shelf.stock()[digest].size == size
    store.shelf.remove(digest)
    assert set(store.shelf.stock()) == {other}
    with pytest.raises(BundleRefused, match="does not hold"):
        place.open("elsewhere").bundle_path(digest)
    store.add_bundle(bundles[0])
    assert Bundle.load(place.open("elsewhere").bundle_path(digest), digest).num_items == 40


def test_leases_are_renewed_ended_and_seen_by_others(place: Place) -> None:
    store, there = place.open(), place.open("there")
    lease = store.leases.take("a" * 64, "api 1", seconds=100)
    [(key, seen)] = there.leases.all()
    assert (seen.bundle, seen.holder) == ("a" * 64, "api 1")
    assert timedelta(seconds=90) < seen.expires_at - datetime.now(UTC) <= timedelta(seconds=100)
    lease.seconds = 1000
    lease.renew()
    assert there.leases.all()[0][1].expires_at - datetime.now(UTC) > timedelta(seconds=900)
    place.raw.replace(key, b"torn")
    assert there.leases.all()[0][1].holder.startswith("unreadable")
    assert there.leases.all()[0][1].expires_at > datetime.now(UTC)
    lease.end()
    assert there.leases.all() == []


def test_a_process_that_serves_holds_what_is_open_and_nothing_else(place: Place) -> None:
    store = place.open()
    now = 0.0
    hold = LeaseKeeper(store.leases, seconds=90, clock=lambda: now)

    def held() -> dict[str, datetime]:
        return {lease.bundle[0]: lease.expires_at for _, lease in store.leases.all()}

    hold(frozenset({"a" * 64, "b" * 64}))
    first = held()
    hold(frozenset({"b" * 64, "c" * 64}))
    assert set(held()) == {"b", "c"}
    assert held()["b"] == first["b"]  # not due
    now = 40.0
    hold(frozenset({"b" * 64}))
    assert held()["b"] > first["b"]
    hold.end()
    assert held() == {}


def test_a_bundle_that_is_being_removed_is_not_released(place: Place, bundles: tuple[Path, Path]) -> None:
    store = place.open()
    digest = store.add_bundle(bundles[0])
    store.leases.condemn(digest)
    with pytest.raises(BundleRefused, match="is removing bundle"):
        place.open("there").commit(of(digest, None))
    store.leases.pardon(digest)
    assert store.commit(of(digest, None)).number == 1
    assert store.leases.all() == []  # the promoter's own is ended


def test_a_promoter_that_slept_past_its_lease_says_so_and_mends_it_when_it_is_run_again(
    place: Place, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.open()
    digest = store.add_bundle(bundles[0])
    create = store._storage.create

    def sleep_and_create(key: str, content: bytes) -> bool:
        if key.startswith("releases/"):
            place.open("cleaner").shelf.remove(digest)
        return create(key, content)

    monkeypatch.setattr(store._storage, "create", sleep_and_create)
    with pytest.raises(BundleAbsent, match=r"release 1 stands.*was removed while this promoter slept"):
        store.commit(of(digest, None))
    assert store.refusals() == []

    again = place.open("again")
    again.add_bundle(bundles[0])
    assert again.commit(of(digest, None)).number == 1
    assert again.bundle_path(digest).is_dir()


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> Place:
    return Place(s3.new_store(), s3.options, tmp_path / "caches")


def test_several_readers_of_one_machine_fetch_at_once(bucket: Place, bundles: tuple[Path, Path]) -> None:
    digest = bucket.open().add_bundle(bundles[0])
    with ThreadPoolExecutor(6) as pool:
        folders = list(pool.map(lambda _: bucket.open("there").bundle_path(digest), range(6)))
    assert set(folders) == {bucket.caches / "there" / digest}
    Bundle.load(folders[0], digest)
    assert [path.name for path in (bucket.caches / "there").iterdir()] == [digest]  # and nothing half beside


def test_a_damaged_cache_is_fetched_anew(bucket: Place, bundles: tuple[Path, Path], caplog: Any) -> None:
    store = bucket.open()
    digest = store.add_bundle(bundles[0])
    folder = store.bundle_path(digest)
    (folder / "spec.json").write_bytes(b"{}")
    with caplog.at_level("WARNING", "vitrine"):
        assert store.bundle_path(digest) == folder
    assert "is fetched anew" in caplog.text
    Bundle.load(folder, digest)


def test_a_cached_bundle_needs_no_bucket(bucket: Place, bundles: tuple[Path, Path]) -> None:
    store = bucket.open()
    digest = store.add_bundle(bundles[0])
    folder = store.bundle_path(digest)
    away = ReleaseStore("s3://no-such-bucket/x", bucket.options, bucket.caches / "here")
    assert away.bundle_path(digest) == folder
    with pytest.raises(StoreUnreachable, match="no-such-bucket"):
        away.live()


def test_a_manifest_leads_nowhere_outside(bucket: Place, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
    """Sealed by somebody who means harm: its digest is right, and the names are not followed."""
    for number, name in enumerate(("../escaped", "/etc/escaped", "a/../../escaped", "index//x", ".hidden", "a\\b", "")):
        files = json.loads((bundles[0] / MANIFEST).read_text())["files"]
        files[name] = {"sha256": "0" * 64, "bytes": 1}
        digest = digest_of(files)
        bucket.damage(digest, MANIFEST, json.dumps({"files": files}).encode())
        with pytest.raises(BundleRefused, match="which no bundle holds"):
            bucket.open(f"reader {number}").bundle_path(digest)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_full_disk_is_known_before_anything_is_fetched(
    bucket: Place, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket.open()
    digest = store.add_bundle(bundles[0])
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(DiskFull, match=r"needs [\d,]+ bytes at .* and 67,108,864 to spare, 1,048,576 are free .*CACHE"):
        store.bundle_path(digest)
    assert list((bucket.caches / "here").iterdir()) == []


def test_the_cache_keeps_three_and_what_was_used_today(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket.open()
    digests = []
    for number in range(5):
        digests.append(store.add_bundle(make_bundle(tmp_path, f"b{number}", str(number))))
        store.bundle_path(digests[-1])
    cache = bucket.caches / "here"
    (cache / ".incoming-killed").mkdir()
    assert len([path for path in cache.iterdir() if not path.name.startswith(".")]) == 5  # all of today
    later = time.time() + 2 * 86_400
    monkeypatch.setattr(shelf.time, "time", lambda: later)
    newest = store.add_bundle(make_bundle(tmp_path, "b5", "5"))
    store.bundle_path(newest)
    assert {path.name for path in cache.iterdir()} == {*digests[-2:], newest}


def test_a_bucket_without_a_cache_says_so(bucket: Place, bundles: tuple[Path, Path]) -> None:
    digest = bucket.open().add_bundle(bundles[0])
    with pytest.raises(SettingsError, match="VITRINE_CACHE"):
        ReleaseStore(bucket.root, bucket.options).bundle_path(digest)


def test_uploads_carry_the_files_as_they_were_sealed(bucket: Place, bundles: tuple[Path, Path]) -> None:
    """The source changes between its check and its upload: no manifest, so no bundle."""
    real = obstore.put
    folder = bundles[0]

    def put(store: Any, key: str, file: Any, **more: Any) -> Any:
        done = real(store, key, file, **more)
        if key.endswith("popularity.npy"):
            (folder / "spec.json").write_bytes(b"{}")
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obstore, "put", put)
        with pytest.raises(BundleRefused, match=r"spec\.json"):
            bucket.open().add_bundle(folder)
    assert not any(held.is_whole for held in bucket.open().shelf.stock().values())
    seal_bundle(folder)
    assert bucket.open().shelf.holds(bucket.open().add_bundle(folder))
