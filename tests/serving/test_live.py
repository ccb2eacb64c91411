"""A serving process follows the log: whole releases only, the old one until the new one answers."""

import gc
import os
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import NothingLive
from serving import live as live_module
from serving.live import Live
from serving.live_status import LiveSettings
from tests.live_world import LiveShop, ask, bundle_of
from tests.serving.conftest import seal_bundle

ALONE = LiveSettings(is_rehearsed=False)  # what other processes add is tested in test_rehearsal.py


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[LiveShop]:
    yield LiveShop(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


def answered_by(live: Live) -> tuple[int, int]:
    """(release, bundle) of an answer."""
    served = live.served()
    return served.release.number, bundle_of(ask(served, 1), 1)


def until(condition, seconds: float = 20.0) -> float:
    """Seconds until a condition holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came to that"
        time.sleep(0.005)
    return time.monotonic() - began


def rehearsals() -> list[psutil.Process]:
    """The processes that try bundles, among the servers of other tests."""
    return [child for child in psutil.Process().children() if "serving.rehearsal" in child.cmdline()]


def stands_ready(processes: int) -> None:
    """Wait until there are so many, and these have nothing to do but wait: their imports are done."""
    until(lambda: len(rehearsals()) == processes, 60)
    before = None
    while (now := [sum(child.cpu_times()[:2]) for child in rehearsals()]) != before:
        before = now
        time.sleep(1)


def test_without_a_release_it_says_so_and_waits(shop: LiveShop) -> None:
    live = Live(shop.store, ALONE)
    live.look()
    with pytest.raises(NothingLive, match="none was made yet"):
        live.served()
    assert live.status().model_dump(exclude={"looked_at"}) == {
        "number": None, "bundle": None, "loaded_at": None, "load_s": None, "newest": None, "swaps": 0, "kept": (),
        "refused": (), "trouble": None}
    shop.release(5)
    live.look()
    assert answered_by(live) == (1, 5)


@pytest.mark.parametrize("is_rehearsed", [False, True])
def test_a_commit_is_served_within_two_seconds(shop: LiveShop, is_rehearsed: bool) -> None:
    shop.release(1)
    took = []
    with Live(shop.store, LiveSettings(is_rehearsed=is_rehearsed)) as live:
        assert answered_by(live) == (1, 1)
        for number in (2, 3, 4):
            record = shop.next_record(shop.add(number))
            stands_ready(processes=int(is_rehearsed))
            shop.store.commit(record)
            took.append(until(lambda number=number: live.status().number == number))
            assert answered_by(live) == (number, number)
    print(f"effective {', '.join(f'{s:.2f}' for s in took)} s after the commit, rehearsed: {is_rehearsed}")
    # Two seconds where a core is to be had; the other two commits may have met a busy moment.
    assert min(took) < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_a_rollback_to_what_is_still_open_takes_no_loading(shop: LiveShop) -> None:
    first = shop.release(1)
    with Live(shop.store, ALONE) as live:
        shop.release(2)
        until(lambda: live.status().number == 2)
        assert live.status().kept == (first.bundle,)
        before = live.served()
        shutil.rmtree(shop.inside(first.bundle) / "index")  # loading it again is impossible
        shop.release(first.bundle)
        seconds = until(lambda: live.status().number == 3)
        assert answered_by(live) == (3, 1)
        assert live.status().kept == (before.release.bundle,)
    print(f"rolled back {seconds:.2f} s after the commit")
    assert seconds < 1


def test_a_release_of_the_bundle_that_serves_changes_the_number_alone(shop: LiveShop) -> None:
    first = shop.release(1)
    live = Live(shop.store, ALONE)
    live.look()
    recommender = live.served().recommender
    shop.release(first.bundle)
    live.look()
    assert answered_by(live) == (2, 1)
    assert live.served().recommender is recommender
    assert live.status().kept == ()


def test_what_is_held_goes_on_answering_after_a_swap(shop: LiveShop) -> None:
    shop.release(1)
    live = Live(shop.store, LiveSettings(is_rehearsed=False, keep=0))
    live.look()
    held = live.served()
    shop.release(2)
    live.look()
    shutil.rmtree(shop.inside(held.release.bundle))
    assert bundle_of(ask(held, 3), 3) == 1
    assert answered_by(live) == (2, 2)


def damage(shop: LiveShop, digest: str) -> None:
    path = shop.inside(digest) / "item_vectors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_what_fails_is_refused_by_name_once_and_the_old_one_answers(shop: LiveShop) -> None:
    shop.release(1)
    live = Live(shop.store, ALONE)
    live.look()
    bad = shop.next_record(shop.add(2))
    damage(shop, bad.bundle)
    shop.store.commit(bad)
    for _ in range(3):
        live.look()
        assert answered_by(live) == (1, 1)
    status = live.status()
    assert (status.number, status.newest, status.swaps) == (1, 2, 1)
    (refused,) = status.refused
    assert (refused.number, refused.bundle) == (2, bad.bundle)
    assert "item_vectors.npy has SHA-256" in refused.reason
    assert status.trouble is not None
    assert "release 2 was refused" in status.trouble
    # Whole again or not, it is not looked at again: a new record is what tries it anew.
    shutil.copyfile(shop.folder(2) / "item_vectors.npy", shop.inside(bad.bundle) / "item_vectors.npy")
    live.look()
    assert answered_by(live) == (1, 1)
    shop.release(bad.bundle)
    live.look()
    assert answered_by(live) == (3, 2)
    assert live.status().trouble is None


def test_a_fresh_process_serves_what_one_that_never_ended_serves(shop: LiveShop) -> None:
    shop.release(1)
    shop.release(2)
    bad = shop.next_record(shop.add(3))
    damage(shop, bad.bundle)
    shop.store.commit(bad)
    live = Live(shop.store, ALONE)
    live.look()
    assert answered_by(live) == (2, 2)
    assert [refused.number for refused in live.status().refused] == [3]
    assert live.status().trouble is not None


def test_where_nothing_passes_nothing_is_served(shop: LiveShop) -> None:
    for number in (1, 2):
        damage(shop, shop.release(number).bundle)
    live = Live(shop.store, ALONE)
    live.look()
    with pytest.raises(NothingLive, match="release 1 was refused"):
        live.served()
    assert sorted(refused.number for refused in live.status().refused) == [1, 2]


def test_a_torn_record_changes_nothing(shop: LiveShop) -> None:
    shop.release(1)
    live = Live(shop.store, ALONE)
    live.look()
    (shop.root / "store/releases/00000002.json").write_text('{"release"')
    live.look()
    assert answered_by(live) == (1, 1)
    assert "torn or was changed" in (live.status().trouble or "")


def test_a_fault_of_the_disk_is_tried_again_and_not_blamed_on_the_bundle(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release(1)
    live = Live(shop.store, ALONE)
    live.look()
    shop.release(2)
    broken = pytest.MonkeyPatch()
    broken.setattr("serving.bundle_files.os.open", lambda *_: (_ for _ in ()).throw(OSError(5, os.strerror(5))))
    live.look()
    broken.undo()
    assert live.status().refused == ()
    assert "Input/output error" in (live.status().trouble or "")
    live.look()  # too early
    assert answered_by(live) == (1, 1)
    until(lambda: live.look() or live.status().number == 2)
    assert answered_by(live) == (2, 2)


def test_a_bundle_that_has_not_arrived_is_waited_for(shop: LiveShop) -> None:
    shop.release(1)
    live = Live(shop.store, ALONE)
    live.look()
    late = shop.release(2)
    shop.inside(late.bundle).rename(shop.root / "elsewhere")
    live.look()
    assert "does not hold bundle" in (live.status().trouble or "")
    (shop.root / "elsewhere").rename(shop.inside(late.bundle))
    until(lambda: live.look() or live.status().number == 2)


def test_a_store_that_went_back_takes_nothing_away(shop: LiveShop) -> None:
    shop.release(1)
    shop.release(2)
    live = Live(shop.store, ALONE)
    live.look()
    (shop.root / "store/releases/00000002.json").unlink()
    live.look()
    assert answered_by(live) == (2, 2)
    assert "newest release is 1, 2 was there before" in (live.status().trouble or "")


@pytest.mark.parametrize(("keep", "size", "expected"), [(0, 1 << 30, []), (2, 1 << 30, [2, 3]), (5, 0, [])])
def test_as_many_stay_open_as_is_allowed(shop: LiveShop, keep: int, size: int, expected: list[int]) -> None:
    live = Live(shop.store, LiveSettings(is_rehearsed=False, keep=keep, keep_bytes=size))
    digests = {}
    for number in range(1, 5):
        digests[number] = shop.release(number).bundle
        live.look()
    assert list(live.status().kept) == [digests[number] for number in expected]


def test_the_size_of_what_stays_open_is_bounded(shop: LiveShop) -> None:
    size = sum(path.stat().st_size for path in shop.folder(1).rglob("*") if path.name != "manifest.json"
               and path.is_file())
    for room, kept in ((2 * size + 100, 2), (2 * size - 100, 1)):
        live = Live(shop.store, LiveSettings(is_rehearsed=False, keep=5, keep_bytes=room))
        for number in range(1, 5):
            shop.release(number)
            live.look()
        assert len(live.status().kept) == kept


def test_what_is_retired_leaves_memory(shop: LiveShop) -> None:
    live = Live(shop.store, LiveSettings(is_rehearsed=False, keep=1))
    retired = []
    for number in range(1, 6):
        shop.release(number)
        live.look()
        retired.append(weakref.ref(live.served().recommender))
    gc.collect()
    assert [reference() is None for reference in retired] == [True, True, True, False, False]


def test_swaps_of_large_bundles_do_not_add_up(shop: LiveShop) -> None:
    """Nine swaps of bundles of 200,000 items, of which two may be open at once."""
    def large(number: int) -> str:
        folder = shop.folder(number)
        items = 200_000
        for name in ("item_vectors.npy", "item_inputs.npy"):
            array = np.load(folder / name)
            np.save(folder / name, np.resize(array, (items, array.shape[1])))
        np.save(folder / "popularity.npy", np.arange(items))
        ids = [f"i{row:06d}" for row in range(items)]
        pq.write_table(pa.table({"item_id": ids, "name": ids}), folder / "items.parquet")
        return shop.store.add_bundle(seal_bundle(folder))

    digests = [large(number) for number in (1, 2, 3)]
    live = Live(shop.store, LiveSettings(is_rehearsed=False, keep=1))
    process, resident = psutil.Process(), []
    for swap in range(9):
        shop.release(digests[swap % 3])
        live.look()
        assert live.status().swaps == swap + 1
        gc.collect()
        resident.append(process.memory_info().rss)
    one = live.served().recommender.bundle.size_bytes
    print(f"resident after 3 swaps {resident[2] / 1e6:.0f} MB, after 9 {resident[-1] / 1e6:.0f} MB")
    # Six more bundles went through: were any of them left behind, it would be several times this.
    assert resident[-1] - resident[2] < 3 * one


def test_leases_name_what_is_held_and_what_is_about_to_be(shop: LiveShop) -> None:
    told: list[frozenset[str]] = []
    live = Live(shop.store, ALONE, told.append)
    first = shop.release(1).bundle
    live.look()
    assert told == [frozenset(), {first}]  # before it is opened
    second = shop.release(2).bundle
    live.look()
    assert told[2:] == [{first}, {first, second}]
    live.look()
    assert told[4:] == [{first, second}]


def test_a_lease_that_cannot_be_renewed_does_not_keep_a_release_out(shop: LiveShop) -> None:
    def fail(_: frozenset[str]) -> None:
        raise OSError(30, "read-only")

    shop.release(1)
    live = Live(shop.store, ALONE, fail)
    live.look()
    assert answered_by(live) == (1, 1)


def test_the_thread_ends_with_the_block(shop: LiveShop) -> None:
    shop.release(1)
    with Live(shop.store, ALONE) as live:
        assert "vitrine-live" in {thread.name for thread in threading.enumerate()}
    assert "vitrine-live" not in {thread.name for thread in threading.enumerate()}
    assert answered_by(live) == (1, 1)


@pytest.mark.parametrize(("least", "calls"), [(0, 2), (1 << 40, 0)])
def test_what_a_large_release_takes_is_moved_to_huge_pages_once_it_answers(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch, least: int, calls: int
) -> None:
    monkeypatch.setattr(live_module, "_LARGE", least)
    shop.release(5)
    moved: list[int] = []
    live = Live(shop.store, LiveSettings(is_rehearsed=False, poll_s=0.01))
    monkeypatch.setattr(live_module.huge_pages, "gather", lambda: moved.append(live.served().release.number) or 0)
    with live:
        shop.release(6)
        until(lambda: live.served().release.number == 2)
        until(lambda: len(moved) == calls)
        time.sleep(0.05)  # several looks
    assert moved == [1, 2][:calls]
