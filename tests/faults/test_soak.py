"""The online process for minutes: releases come and fail, Redis dies and comes back, and some clients dawdle.

All is real: `vitrine serve` in a process of its own, asked over HTTP, with its sessions in Redis.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq

from tests.faults.conftest import Sweep
from tests.faults.soak import BOUGHT, BRINGERS, Client, Log, bring, dawdle, item, shop
from tests.live_world import LiveShop
from tests.redis_server import RedisServer
from tests.release_world import GROUPS
from tests.served import free_port, is_ready, wait_for

SHOPPERS, DAWDLERS, BUNDLES = 4, 3, 4
START_S, GROWTH_MB = 120.0, 64
SHOP = "store"  # as LiveShop calls the folder


@contextmanager
def served(home: Path, sessions: str) -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of `vitrine serve`, ready."""
    port = free_port()
    with (home / "serve.log").open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "--shop", SHOP, "--port", str(port)],
            stdout=said, stderr=subprocess.STDOUT,
            env=os.environ | {"VITRINE_HOME": str(home), "VITRINE_STORE": str(home), "VITRINE_SESSIONS": sessions})
        try:
            wait_for(lambda: is_ready(port) or child.poll() is not None, START_S)
            assert child.poll() is None, (home / "serve.log").read_text()
            yield port, psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(60)


def refused_by(port: int) -> int:
    """Releases that the server has looked at and refused, by its own word."""
    return len(httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["refused"])


def past_of(user: int) -> list[dict[str, str]]:
    """What a shopper has bought before, a thing a day."""
    return [{"event_id": f"u{user}-{row}", "user_id": f"u{user:02d}", "item_id": item(user % GROUPS + row),
             "event_type": "purchase", "time": (datetime.now(UTC) - timedelta(days=9 - row)).isoformat()}
            for row in BOUGHT]


def promote(world: LiveShop, bundles: dict[int, int], done: threading.Event, every_s: float, counts: dict[str, int]
            ) -> None:
    """Release one bundle after another, each fourth time one that must not get in."""
    digests = {number: world.add(number) for number in range(1, BUNDLES + 1)}
    while not done.wait(every_s):
        number = len(world.store.history()) + 1
        if number % 4 == 0:
            record = world.next_record(world.store.add_bundle(world.folder(100 + number)))
            spoilt = world.inside(record.bundle)
            (spoilt / "popularity.npy").write_bytes(b"")
            world.store.commit(record)
            done.wait(every_s)
            shutil.rmtree(spoilt)
            counts["refused"] += 1
        else:
            bundles[number] = 1 + number % BUNDLES
            world.release(digests[bundles[number]])
            counts["released"] += 1


def lose_redis(server: RedisServer, done: threading.Event, every_s: float, counts: dict[str, int]) -> None:
    """Kill Redis, start it again some time later, and so on; it is up at the end."""
    while not done.wait(every_s):
        server.kill()
        done.wait(every_s / 4)
        server.start()
        counts["redis_kills"] += 1


def test_serving_withstands_it_all_at_once(sweep: Sweep, tmp_path: Path) -> None:
    seconds, every_s = sweep.size(16.0, 600.0), sweep.size(3.0, 8.0)
    world, server = LiveShop(tmp_path), RedisServer(tmp_path)
    bundles, counts = {1: 1}, {"released": 1, "refused": 0, "redis_kills": 0}
    world.release(1)
    server.start()
    asked, brought, dawdled = [Log() for _ in range(SHOPPERS)], Log(), [Log() for _ in range(DAWDLERS)]
    memory_mb: list[float] = []
    try:
        with served(tmp_path, server.url) as (port, process):
            with Client(port) as client:
                for user in range(SHOPPERS):
                    assert client.post("/v1/events", {"events": past_of(user)}) == (
                        200, {"accepted": 3, "repeated": 0, "notices": []})
            done, shut = threading.Event(), threading.Event()
            using = [threading.Thread(target=shop, args=(port, user, bundles, log, done))
                     for user, log in enumerate(asked)]
            using += [threading.Thread(target=bring, args=(port, brought, done))]
            using += [threading.Thread(target=dawdle, args=(port, log, done)) for log in dawdled]
            upsetting = [threading.Thread(target=promote, args=(world, bundles, shut, every_s, counts)),
                         threading.Thread(target=lose_redis, args=(server, shut, every_s, counts))]
            for thread in (*using, *upsetting):
                thread.start()
            try:
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    memory_mb.append(process.memory_info().rss / 2**20)
                    time.sleep(0.25)
                # However busy the machine is: each thing has come once, and the server has refused what was spoilt.
                wait_for(lambda: min(counts.values()) > 0 and refused_by(port) == counts["refused"], 120)
            finally:
                shut.set()
                for thread in upsetting:
                    thread.join()
                done.set()
                for thread in using:
                    thread.join()
            # Each acknowledged event is known once, whatever was away when it was brought.
            with Client(port) as client:
                wait_for(lambda: not client.post("/v1/recommendations", {"k": 1, "user_id": "v0"})[1]["notices"])
                known = [client.post("/v1/recommendations", {"k": 1, "user_id": f"v{user}"})[1]["known_events"]
                         for user in range(BRINGERS)]
    finally:
        server.kill()
    landed = {event for path in (tmp_path / "landing" / SHOP / "events").rglob("*.parquet")
              for event in pq.read_table(path, columns=["event_id"]).column(0).to_pylist()}
    wrong = [line for log in (*asked, brought) for line in log.wrong]
    late = np.quantile([one for log in asked for one in log.seconds], [0.5, 0.99]) * 1000
    half = len(memory_mb) // 2
    grown = max(memory_mb[half:]) - max(memory_mb[:half])
    sweep.count(seconds=round(seconds), answers=sum(log.right for log in asked), wrong=len(wrong),
                shed=sum(log.shed for log in asked), without_history=sum(log.without_history for log in asked),
                events=brought.right, releases=counts["released"], refused=counts["refused"],
                redis_kills=counts["redis_kills"], dawdling_clients=sum(log.right for log in dawdled),
                p50_ms=round(late[0], 1), p99_ms=round(late[1], 1), grown_mb=round(grown))
    assert wrong == []
    assert min(counts.values()) > 0
    assert all(log.right > 10 for log in asked)
    assert sum(log.without_history for log in asked) > 0
    assert known == [len(range(user, brought.right, BRINGERS)) for user in range(BRINGERS)]
    assert {f"e{number}" for number in range(brought.right)} <= landed
    assert grown <= GROWTH_MB
