"""The release log: one winner for each parent, nothing half, nothing lost, no older data by mistake."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.errors import BundleRefused, CorruptArtifact, ReleaseConflict
from serving.bundle import Bundle
from serving.store import Release, ReleaseStore
from tests.serving.conftest import make_bundle

DAY = datetime(2026, 11, 1, tzinfo=UTC)
REPOSITORY = Path(__file__).resolve().parents[2]


def digest(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


def release(parent: int | None, bundle: str = "a", training: str = "t", as_of: datetime = DAY, **more) -> Release:
    fields = {"actor": "tester", "reason": "test", "created_at": DAY, "metrics": {"recall@10": 0.2}, "run_id": "r",
              "model_name": "vitrine", "model_version": "1", "verdict": digest("v"), **more}
    return Release(number=(parent or 0) + 1, parent=parent, bundle=digest(bundle), training=digest(training),
                   as_of=as_of, **fields)


def make_store(root: Path, *bundles: str) -> ReleaseStore:
    """A store that has bundles of these names (a release asks for their manifest only)."""
    for name in bundles:
        folder = root / "bundles" / digest(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text("{}")
    return ReleaseStore(root)


def test_releases_follow_one_another(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b")
    assert store.live() is None
    assert store.history() == []
    first = store.commit(release(None))
    second = store.commit(release(1, "b", "u", DAY + timedelta(days=7)))
    assert [first.number, second.number] == [1, 2]
    assert store.live() == second
    assert store.history() == [first, second]


def test_reading_creates_nothing(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "none")
    assert store.live() is None
    assert store.parent_for(digest("t")) is None
    assert not (tmp_path / "none").exists()


def test_the_same_promotion_again_gives_the_same_record(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a")
    first = store.commit(release(None))
    again = store.commit(release(None, created_at=DAY + timedelta(hours=1), actor="a retry"))
    assert again == first
    assert len(store.history()) == 1


def test_a_stale_parent_is_a_conflict_that_names_both(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b", "c")
    store.commit(release(None))
    store.commit(release(1, "b"))
    with pytest.raises(ReleaseConflict, match=r"release 2 is already bundle 62.*bundle 63.*parent 1"):
        store.commit(release(1, "c"))
    with pytest.raises(ReleaseConflict, match="against release 7, release 2 is live"):
        store.commit(release(7, "c"))
    assert len(store.history()) == 2


def test_older_data_replaces_newer_only_by_force(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b")
    store.commit(release(None))
    older = release(1, "b", as_of=DAY - timedelta(days=1))
    with pytest.raises(ReleaseConflict, match=r"2026-10-31.*2026-11-01"):
        store.commit(older)
    forced = store.commit(older.model_copy(update={"is_forced": True, "reason": "the last week was wrong"}))
    assert store.live() == forced
    assert forced.is_forced


def test_a_record_needs_a_reason_and_the_number_after_its_parent() -> None:
    with pytest.raises(ValidationError, match="reason"):
        release(None, reason="")
    with pytest.raises(ValidationError, match="release 5 cannot follow parent 1"):
        Release.model_validate({**release(1).model_dump(), "number": 5})


def test_a_release_never_names_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="does not hold bundle"):
        ReleaseStore(tmp_path).commit(release(None))
    assert ReleaseStore(tmp_path).live() is None


def test_a_repeated_training_is_judged_against_the_parent_it_had(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b")
    assert store.parent_for(digest("t")) is None
    first = store.commit(release(None, "a", "t"))
    assert store.parent_for(digest("t")) is None  # live is of this training and had no parent
    assert store.parent_for(digest("u")) == first
    store.commit(release(1, "b", "u"))
    assert store.parent_for(digest("u")) == first
    # The same training for the next day, on which nothing was sold, is no repetition.
    assert store.parent_for(digest("u"), DAY) == first
    assert store.parent_for(digest("u"), DAY + timedelta(days=1)) == store.live()


def test_a_replay_is_judged_against_what_was_live_as_of_then(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b", "c")
    assert store.parent_then(digest("t"), DAY) is None
    day = [DAY + timedelta(days=number) for number in range(40)]
    first = store.commit(release(None, "a", "t", day[0]))
    second = store.commit(release(1, "b", "u", day[7]))
    back = store.commit(release(2, "a", "t", day[0], restores=1))
    fourth = store.commit(release(3, "c", "v", day[21]))
    # What was released is judged as it was: by the parent that its record names.
    assert store.parent_then(digest("t"), day[0]) is None
    assert store.parent_then(digest("u"), day[7]) == first
    assert store.parent_then(digest("v"), day[21]) == back
    # Another training of those days: by the last release before anybody knew as much.
    assert store.parent_then(digest("w"), day[7]) == first
    assert store.parent_then(digest("w"), day[14]) == back
    assert store.parent_then(digest("w"), day[30]) == fourth
    assert store.parent_then(digest("w"), day[0]) is None
    assert second.number == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", None])
def test_a_torn_or_changed_record_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    store = make_store(tmp_path, "a")
    store.commit(release(None))
    path = tmp_path / "releases/00000001.json"
    path.write_bytes(path.read_bytes().replace(b"tester", b"intruder") if content is None else content)
    for read in (store.live, store.history):
        with pytest.raises(CorruptArtifact, match=r"releases/00000001\.json"):
            read()


def test_a_missing_record_and_foreign_files(tmp_path: Path) -> None:
    store = make_store(tmp_path, "a", "b")
    store.commit(release(None))
    live = store.commit(release(1, "b"))
    (tmp_path / "releases/notes.txt").write_text("x")
    (tmp_path / "releases/00000003.json~").write_text("x")
    assert store.live() == live
    (tmp_path / "releases/00000001.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"00000001\.json is missing"):
        store.history()


RACER = """
import sys, time
from pathlib import Path
from pipelines.errors import ReleaseConflict
from tests.serving.test_store import ReleaseStore, release
store, name, start = ReleaseStore(Path(sys.argv[1])), sys.argv[2], float(sys.argv[3])
for parent in (None, 1, 2, 3, 4):
    while time.time() < start + (parent or 0) * 0.2:
        pass
    while parent is not None and (store.live() is None or store.live().number < parent):
        pass
    try:
        print(parent, store.commit(release(parent, name)).bundle == release(parent, name).bundle)
    except ReleaseConflict:
        print(parent, False)
"""


def test_of_eight_promoters_one_wins_each_parent(tmp_path: Path) -> None:
    names = list("abcdefgh")
    store = make_store(tmp_path, *names)
    start = str(time.time() + 4)
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path), name, start], cwd=REPOSITORY,
                               stdout=subprocess.PIPE, text=True) for name in names]
    lines = [line for racer in racers for line in racer.communicate(timeout=120)[0].splitlines()]
    assert all(racer.returncode == 0 for racer in racers)
    wins = sorted(line.split()[0] for line in lines if line.endswith("True"))
    assert wins == ["1", "2", "3", "4", "None"]
    assert [r.number for r in store.history()] == [1, 2, 3, 4, 5]


def test_a_bundle_is_added_once_under_its_digest(tmp_path: Path) -> None:
    folder, store = make_bundle(tmp_path), ReleaseStore(tmp_path / "store")
    (folder / "contract.json").write_text("{}")  # of the stage: outside the digest, and not copied
    digest_added = store.add_bundle(folder)
    assert store.add_bundle(folder) == digest_added
    assert [path.name for path in (tmp_path / "store/bundles").iterdir()] == [digest_added]
    assert not (store.bundle_path(digest_added) / "contract.json").exists()
    assert Bundle.load(store.bundle_path(digest_added), digest_added).num_items == 40


def test_a_damaged_bundle_is_neither_added_nor_taken_for_whole(tmp_path: Path) -> None:
    folder, store = make_bundle(tmp_path), ReleaseStore(tmp_path / "store")
    added = store.bundle_path(store.add_bundle(folder))
    (added / "spec.json").write_text("{}")
    with pytest.raises(BundleRefused, match=r"spec\.json"):
        store.add_bundle(folder)
    (folder / "popularity.npy").write_bytes(b"")
    with pytest.raises(BundleRefused, match="popularity"):
        ReleaseStore(tmp_path / "other").add_bundle(folder)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["../x", "", "A" * 64, "0" * 63])
def test_digests_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleRefused, match="no bundle digest"):
        ReleaseStore(tmp_path).bundle_path(name)


ADDER = """
import shutil, sys
from pathlib import Path
import serving.store
copy, stop = shutil.copyfile, int(sys.argv[3])
def counted(source, target):
    global stop
    copy(source, target)
    stop -= 1
    if stop == 0:
        print("there", flush=True)
        sys.stdin.read()
shutil.copyfile = counted
serving.store.ReleaseStore(Path(sys.argv[1])).add_bundle(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("copied", [1, 5, 11])
def test_killed_while_it_adds_a_bundle_leaves_readers_whole(tmp_path: Path, copied: int) -> None:
    old, new = make_bundle(tmp_path, "old", "old"), make_bundle(tmp_path, "new", "new")
    store = ReleaseStore(tmp_path / "store")
    live = store.commit(release(None).model_copy(update={"bundle": store.add_bundle(old)}))
    with subprocess.Popen([sys.executable, "-c", ADDER, str(store.root), str(new), str(copied)], cwd=REPOSITORY,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as adder:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "there\n"
        os.kill(adder.pid, signal.SIGKILL)
    assert store.live() == live
    assert Bundle.load(store.bundle_path(live.bundle), live.bundle).provenance == {"note": "old"}
    whole = [path.name for path in (tmp_path / "store/bundles").iterdir() if not path.name.startswith(".")]
    assert whole == [live.bundle]
    # And the next attempt is not hindered by what the killed one left.
    assert Bundle.load(store.bundle_path(store.add_bundle(new))).provenance == {"note": "new"}


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 3)), max_size=12))
def test_whatever_is_tried_the_log_is_a_chain_whose_data_never_ages(tmp_path_factory, steps) -> None:
    store = make_store(tmp_path_factory.mktemp("store"), "a", "b", "c")
    acknowledged = {}
    for bundle, parent, day in steps:
        try:
            done = store.commit(release(parent or None, bundle, as_of=DAY + timedelta(days=day)))
        except ReleaseConflict:
            continue
        assert acknowledged.setdefault(done.number, done) == done
    history = store.history()
    assert {r.number: r for r in history} == acknowledged
    assert [r.parent for r in history] == [None, *range(1, len(history))][: len(history)]
    assert [r.as_of for r in history] == sorted(r.as_of for r in history)
