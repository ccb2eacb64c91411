"""Claim: a log larger than memory is trained on in memory that a setting bounds, in time that grows with the log.

    python -m benchmarks.training_scale [--events 1000000 4000000 16000000] [--memory-mb 64] [--steps 20]

For each size a snapshot is generated, and a process of its own assembles every batch of one epoch; its processor time
and its peak resident memory (getrusage) are printed, with the ratios to the smallest size. With --steps, further
processes take so many real training steps (sampled softmax, 100,000 items).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from models.stream import Stream, VisitLog
from pipelines.artifacts import write_json
from pipelines.snapshot import TRAIN, VALID, SnapshotData

ITEMS, VISITS, MEAN_LENGTH = 100_000, 50, 20
BATCH_SLOTS = 4096
USERS_AT_ONCE = 50_000
SECOND = 1_000_000


def generate(folder: Path, events: int, seed: int = 0) -> None:
    """Write a snapshot of `events` events: log-normal histories, Zipf-like items, each user's last event in valid."""
    rng = np.random.default_rng(seed)
    users = events // MEAN_LENGTH
    length = np.cumsum(rng.lognormal(0, 1, users) + 0.2)
    indptr = np.concatenate([[0], np.round(length * (events / length[-1]))]).astype(np.int64)
    kinds: dict[str, Any] = {"item": np.int32, "time": np.int64, "type": np.int16, "split": np.uint8,
                             "weight": np.float32, "target": np.bool_, "row": np.int64}
    counts = np.zeros(ITEMS, np.int64)
    for first in range(0, users, USERS_AT_ONCE):
        last = min(first + USERS_AT_ONCE, users)
        low, high = int(indptr[first]), int(indptr[last])
        item = (ITEMS * rng.random(high - low) ** 3).astype(np.int32)
        begins = np.zeros(high - low, bool)
        begins[indptr[first:last][indptr[first:last] < high] - low] = True
        gap = np.where(begins, 0, rng.integers(0, 86_400, high - low)) * SECOND
        total = np.cumsum(gap)
        start = np.maximum.accumulate(np.where(begins, np.arange(high - low), 0))
        is_last = np.append(begins[1:], True)
        counts += np.bincount(item[~is_last], minlength=ITEMS)
        values = {"item": item, "time": total - total[start], "type": 0, "split": np.where(is_last, VALID, TRAIN),
                  "weight": 1, "target": is_last, "row": np.arange(low, high)}
        for name, kind in kinds.items():
            column = open_memmap(folder / f"{name}.npy", "r+" if first else "w+", kind, (events,))
            column[low:high] = values[name]
    arrays: dict[str, npt.NDArray[Any]] = {
        "indptr": indptr, "item_counts": counts, "item_tokens_indptr": np.arange(ITEMS + 1),
        "item_tokens": rng.integers(0, 1000, ITEMS).astype(np.int32),
        "item_token_weights": np.ones(ITEMS, np.float32), "item_dense": np.zeros((ITEMS, 0), np.float32),
        "user_tokens": rng.integers(0, 100, (users, 2)).astype(np.int32)}
    for name, whole in arrays.items():
        np.save(folder / f"{name}.npy", whole, allow_pickle=False)
    write_json(folder / "spec.json", {"visits": VISITS, "event_types": ["view"], "user_slots": 2,
                                      "user_token_count": 100, "item_token_count": 1000})


def assemble(folder: Path, memory_mb: int) -> dict[str, Any]:
    """Count the log and assemble every batch of one epoch."""
    base, began = _peak_mb(), time.process_time()
    data = SnapshotData.load(folder)
    log = VisitLog.of(data, VISITS, memory_mb)
    counted = time.process_time()
    batches = targets = 0
    for batch in Stream(log, VISITS, 1, BATCH_SLOTS, 1, with_later=True).epoch(1):
        batches, targets = batches + 1, targets + len(batch["target_item"])
    if targets != log.total("targets"):
        raise AssertionError(f"{targets:,} targets in the batches, {log.total('targets'):,} in the log")
    windows = -(-sum(block.nbytes for block in log.blocks) // log.memory)
    return {"count_s": counted - began, "epoch_s": time.process_time() - counted, "batches": batches,
            "windows": windows, "base_mb": base, "peak_mb": _peak_mb()}


def steps(folder: Path, memory_mb: int, number: int) -> dict[str, Any]:
    """Take some training steps, on the first batches of an epoch."""
    from models.demand import Demand
    from models.legacy_keras import tf
    from models.member_training import build
    from pipelines.train_settings import TrainSettings

    data = SnapshotData.load(folder)
    model = build(data, Demand.of(data), TrainSettings())
    step = tf.function(model.train_step, reduce_retracing=True)
    stream = Stream(VisitLog.of(data, VISITS, memory_mb), VISITS, 1, BATCH_SLOTS, 1, with_later=True)
    questions, seconds = 0, 0.0
    for place, batch in zip(range(number), stream.epoch(1), strict=False):
        began = time.perf_counter()
        float(step({name: tf.constant(array) for name, array in batch.items()})["loss"])
        if place >= 3:  # the first ones trace
            questions, seconds = questions + len(batch["query_slot"]), seconds + time.perf_counter() - began
    return {"questions_a_s": questions / seconds, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _apart(*arguments: object) -> dict[str, Any]:
    """Run one measurement in a process of its own, whose peak memory is its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training_scale", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000, 16_000_000])
    parser.add_argument("--memory-mb", type=int, default=64)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--only", choices=["generate", "assemble", "steps"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        found: dict[str, Any] = {}
        if chosen.only == "generate":
            generate(chosen.folder, chosen.events[0])
        elif chosen.only == "assemble":
            found = assemble(chosen.folder, chosen.memory_mb)
        else:
            found = steps(chosen.folder, chosen.memory_mb, chosen.steps)
        print(json.dumps(found))
        return
    smallest: dict[str, Any] = {}
    for events in chosen.events:
        with tempfile.TemporaryDirectory(prefix="vitrine-scale-") as name:
            _apart("--only", "generate", "--folder", name, "--events", events)
            found = _apart("--only", "assemble", "--folder", name, "--memory-mb", chosen.memory_mb)
            seconds = found["count_s"] + found["epoch_s"]
            smallest = smallest or {"events": events, "seconds": seconds, "peak_mb": found["peak_mb"]}
            growth = (f"x{events / smallest['events']:.0f} events: x{seconds / smallest['seconds']:.1f} time, "
                      f"x{found['peak_mb'] / smallest['peak_mb']:.2f} memory")
            print(f"{events:>12,} events: counted in {found['count_s']:.1f} CPU s, {found['batches']:,} batches in "
                  f"{found['epoch_s']:.1f} CPU s ({events / found['epoch_s']:,.0f} events/s), {found['windows']} "
                  f"windows, peak {found['peak_mb']:.0f} MB ({found['base_mb']:.0f} MB before); {growth}", flush=True)
            if chosen.steps:
                taken = _apart("--only", "steps", "--folder", name, "--memory-mb", chosen.memory_mb,
                               "--steps", chosen.steps)
                print(f"{'':>12}  {chosen.steps} steps: {taken['questions_a_s']:,.0f} questions/s, "
                      f"peak {taken['peak_mb']:.0f} MB with TensorFlow", flush=True)


if __name__ == "__main__":
    main()
