"""Releases come, go back and fail while shoppers ask: no request fails, and no answer is of two releases."""

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from serving.live import Live
from serving.live_status import LiveSettings
from tests.faults.conftest import Sweep
from tests.live_world import LiveShop, ask, bundle_of

ASKING = 4  # threads


@dataclass
class Log:
    """What the threads that ask have seen. Each has its own."""

    answers: int = 0
    failed: list[str] = field(default_factory=list)
    backwards: int = 0  # a later answer of an older release
    slowest_s: float = 0.0


def keep_asking(live: Live, bundle_by_release: dict[int, int], log: Log, done: threading.Event) -> None:
    last = 0
    while not done.is_set():
        began = time.perf_counter()
        try:
            served = live.served()
            number, user = served.release.number, log.answers % 12
            slates = [ask(served, user) for _ in range(2)]  # an answer of several parts
            found = {bundle_of(slate, user) for slate in slates}
            if found != {bundle_by_release[number]}:
                log.failed.append(f"release {number} answered from bundles {found}")
            log.backwards += number < last
            last = number
        except Exception as error:
            log.failed.append(f"{type(error).__name__}: {error}")
        log.answers += 1
        log.slowest_s = max(log.slowest_s, time.perf_counter() - began)


def test_swaps_under_load(sweep: Sweep, tmp_path: Path) -> None:
    swaps, requests = sweep.size(12, 60), sweep.size(3_000, 100_000)
    shop = LiveShop(tmp_path)
    bundle_by_release = {1: 1}
    shop.release(1)
    digests = {number: shop.add(number) for number in range(1, 6)}
    logs, done, refused = [Log() for _ in range(ASKING)], threading.Event(), 0
    with Live(shop.store, LiveSettings(is_rehearsed=False, poll_s=0.02)) as live:
        threads = [threading.Thread(target=keep_asking, args=(live, bundle_by_release, log, done)) for log in logs]
        for thread in threads:
            thread.start()
        try:
            while live.status().swaps < swaps or sum(log.answers for log in logs) < requests:
                number = len(shop.store.history()) + 1
                if number % 5 == 0:  # one that must not get in
                    spoilt = shop.folder(100 + number)
                    record = shop.next_record(shop.store.add_bundle(spoilt))
                    (shop.inside(record.bundle) / "popularity.npy").write_bytes(b"")
                    shop.store.commit(record)
                    refused += 1
                    wait_for(lambda refused=refused: len(live.status().refused) == refused)
                    shutil.rmtree(shop.inside(record.bundle))
                    continue
                # New ones, the one before (still open), and ones that were closed long ago.
                bundle = (1, 2, 1, 3, 4, 5)[number % 6]
                bundle_by_release[number] = bundle
                shop.release(digests[bundle])
                wait_for(lambda number=number: live.status().number == number)
                time.sleep(0.5 if sweep.is_full else 0.02)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        status = live.status()
    failed = [line for log in logs for line in log.failed]
    sweep.count(requests=sum(log.answers for log in logs), threads=ASKING, swaps=status.swaps, refused_releases=refused,
                failed=len(failed), went_back=sum(log.backwards for log in logs),
                slowest_ms=round(1000 * max(log.slowest_s for log in logs)))
    assert failed == []
    assert [log.backwards for log in logs] == [0] * ASKING
    assert sum(log.answers for log in logs) >= requests
    assert status.swaps >= swaps


def wait_for(condition) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 60, "the release was never looked at"
        time.sleep(0.002)
