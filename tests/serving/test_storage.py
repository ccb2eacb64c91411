"""One set of promises for every place a store can lie in: a local folder, and a bucket of an S3."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import SettingsError, StoreUnreachable
from serving.local_storage import LocalStorage
from serving.storage import Storage, open_storage
from tests.s3_server import S3, SECRET


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "store")
    s3: S3 = request.getfixturevalue("s3")
    return open_storage(s3.new_store(), s3.options)


def nothing(_: Path) -> None:
    """A check that is content."""


def test_an_object_is_put_once_and_read_whole(storage: Storage) -> None:
    assert storage.create("releases/1.json", b"first")
    assert not storage.create("releases/1.json", b"second")
    assert storage.read("releases/1.json") == b"first"
    storage.replace("releases/1.json", b"third")
    assert storage.read("releases/1.json") == b"third"
    storage.settle("releases/1.json")


def test_of_many_who_put_at_once_one_is_told_that_it_did(storage: Storage) -> None:
    for number in range(5):
        start = threading.Barrier(8)

        def put(own: int, number: int = number, start: threading.Barrier = start) -> bool:
            start.wait()
            return storage.create(f"log/{number}", b"%d" % own * 1000)

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(put, range(8)))
        assert sum(told) == 1
        assert storage.read(f"log/{number}") == b"%d" % told.index(True) * 1000


def test_what_is_not_there_is_not_found_and_no_error_to_list_or_delete(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("releases/1.json")
    with pytest.raises(FileNotFoundError):
        storage.fetch("bundles/a/x", tmp_path / "never", 1)
    assert not (tmp_path / "never").exists()
    assert storage.entries("releases") == []
    assert storage.folders("") == []
    storage.delete(["releases/1.json", "releases/2.json"])


def test_a_listing_has_keys_sizes_and_times_below_one_folder_only(storage: Storage) -> None:
    for key in ("a/2", "a/1", "a/deep/er/3", "ab/4"):
        storage.create(key, b"x" * len(key))
    entries = storage.entries("a")
    assert [(entry.key, entry.size) for entry in entries] == [("a/1", 3), ("a/2", 3), ("a/deep/er/3", 11)]
    assert all(abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=2) for entry in entries)
    assert storage.folders("") == ["a", "ab"]
    assert storage.folders("a") == ["deep"]
    storage.delete(["a/2", "a/deep/er/3", "a/none"])
    assert [entry.key for entry in storage.entries("a")] == ["a/1"]


def test_files_are_published_whole_with_the_last_one_last(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "index").mkdir(parents=True)
    big = os.urandom(7 << 20)  # more than one part of a multipart upload
    (source / "big.npy").write_bytes(big)
    (source / "index/part.npy").write_bytes(b"part")
    (source / "manifest.json").write_bytes(b"{}")
    seen: list[list[str]] = []

    def check(copied: Path) -> None:
        seen.append([entry.key for entry in storage.entries("bundles/a")])
        assert (copied / "index/part.npy").read_bytes() == b"part"

    storage.publish(source, ["big.npy", "index/part.npy", "manifest.json"], "bundles/a", check)
    assert all("bundles/a/manifest.json" not in keys for keys in seen) and len(seen) == 1
    assert [entry.size for entry in storage.entries("bundles/a")] == [len(big), 4, 2]
    storage.fetch("bundles/a/big.npy", tmp_path / "back", len(big))
    assert (tmp_path / "back").read_bytes() == big
    with pytest.raises(ValueError, match="4 bytes where 5 are due"):
        storage.fetch("bundles/a/index/part.npy", tmp_path / "other", 5)


def test_a_check_that_fails_calls_the_publication_off(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.npy", "manifest.json"):
        (source / name).write_bytes(b"x")

    def fail(_: Path) -> None:
        raise RuntimeError("changed meanwhile")

    with pytest.raises(RuntimeError):
        storage.publish(source, ["a.npy", "manifest.json"], "bundles/a", fail)
    with pytest.raises(FileNotFoundError):
        storage.read("bundles/a/manifest.json")
    storage.publish(source, ["a.npy", "manifest.json"], "bundles/a", nothing)
    assert len(storage.entries("bundles/a")) == 2


def test_schemes_and_options_are_checked_by_name(tmp_path: Path, s3: S3) -> None:
    with pytest.raises(SettingsError, match=r"ftp://shop/x is of scheme 'ftp': .* s3://, gs://, az://"):
        open_storage("ftp://shop/x")
    with pytest.raises(SettingsError, match=r"s3://shop/x cannot be opened: .*colour.*its options are colour"):
        open_storage("s3://shop/x", {"colour": "red"})
    storage = open_storage(f"file://{tmp_path}/a%20b")
    assert storage.create("k", b"v")
    assert (tmp_path / "a b/k").read_bytes() == b"v"


def test_a_bucket_that_fails_is_named_without_its_secret(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        for url, options in (("s3://no-such-bucket/x", s3.options),
                             ("s3://shop/x", s3.options | {"endpoint": "http://127.0.0.1:9"})):
            storage = open_storage(url, options)
            for call in (lambda s=storage: s.create("k", b"v"), lambda s=storage: s.replace("k", b"v"),
                         lambda s=storage: s.entries("k"), lambda s=storage: s.folders()):
                with pytest.raises(StoreUnreachable, match=f"{url}/.*See that the address is right") as error:
                    call()
                assert SECRET not in str(error.value) + repr(error.value)
                assert error.value.is_retryable
    assert SECRET not in caplog.text


def test_local_content_is_durable_before_it_is_seen_and_its_name_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append(f"sync {'file' if path.is_file() else path.relative_to(tmp_path).as_posix()}")
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        steps.append("seen")
        real_link(source, target)

    storage = LocalStorage(tmp_path / "store")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    assert storage.create("releases/1.json", b"x")
    seen = steps.index("seen")
    assert "sync file" in steps[:seen]
    assert steps[seen + 1 :] == ["sync store/releases"]
    # The folders are new: their names were made durable before anything could stand in them.
    assert {"sync .", "sync store", "sync store/releases"} <= set(steps[:seen])
    steps.clear()
    storage.settle("releases/1.json")
    assert steps == ["sync store/releases", "sync store", "sync ."]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("releases/1.json", b"x")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnreachable, match=r"releases/2\.json: No space left on device; nothing half"):
            storage.create("releases/2.json", b"y")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["1.json"]
    assert storage.create("releases/2.json", b"y")


def test_what_killed_writers_left_is_not_seen_and_is_swept_when_it_is_old(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("releases/1.json", b"x")
    (tmp_path / "releases/.2.json.abc").write_bytes(b"half")
    (tmp_path / "bundles/.incoming-a-b").mkdir(parents=True)
    (tmp_path / "bundles/.incoming-a-b/x.npy").write_bytes(b"half")
    assert [entry.key for entry in storage.entries("releases")] == ["releases/1.json"]
    assert storage.folders("bundles") == []
    storage.sweep(datetime.now(UTC) - timedelta(hours=1))
    assert (tmp_path / "releases/.2.json.abc").exists()
    storage.sweep(datetime.now(UTC) + timedelta(hours=1))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.json", "bundles", "releases"]
