"""Feeds at size: time a customer and peak memory, on generated customers and a generated catalogue.

    python -m benchmarks.feeds --bundle .vitrine/store/SHOP/bundles/DIGEST --users 100000 --users 1000000

The user tower, its feature specification and the width of the vectors are those of a real bundle. Its catalogue is
blown up to `--items` by vectors around 1,000 centres, with a ScaNN index of its own; customers have 1 to 39 events
(20 on average). Each size is exported in a process of its own, so that the peak of memory is its own too. Time is that
of the processor, so that other work on the machine does not count.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from pipelines.artifacts import FORMAT, MANIFEST, folder_files, seal, write_json
from pipelines.contracts import Ingested, Window
from pipelines.feeds import FeedSettings, export_feeds
from pipelines.index import IndexSettings, build_scann
from pipelines.ingest import EVENTS_FOLDER, write_days
from pipelines.progress import Progress
from pipelines.schema import SHOP_FILE, ShopSchema
from pipelines.shop_spec import ShopSpec
from serving.bundle import Bundle
from serving.bundle_files import INDEX
from serving.encoding import Floats
from serving.release import Release
from serving.store import ReleaseStore

AS_OF = datetime(2026, 6, 28, tzinfo=UTC)
CENTRES, DAYS, MEAN_EVENTS = 1000, 180, 20
COPIED = ("user_tower.tflite", "spec.json", "vocabulary.json")


def write_catalogue(origin: Bundle, items: int, folder: Path, rng: np.random.Generator) -> None:
    """A bundle folder of `items` generated items that answers with the tower of `origin`."""
    folder.mkdir(parents=True)
    for name in COPIED:
        if (origin.path / name).exists():
            (folder / name).write_bytes((origin.path / name).read_bytes())
    vectors, inputs = _clustered(origin.item_vectors, items, rng), _clustered(origin.item_inputs, items, rng)
    np.save(folder / "item_vectors.npy", vectors, allow_pickle=False)
    np.save(folder / "item_inputs.npy", inputs, allow_pickle=False)
    np.save(folder / "popularity.npy", rng.permutation(items), allow_pickle=False)
    columns = {name: pa.array([f"{name} {row}" for row in range(items)]) for name in origin.items.column_names}
    pq.write_table(pa.table(columns | {"item_id": _ids("P", np.arange(items))}), folder / "items.parquet")
    for name, value in (("tombstones", []), ("provenance", {})):
        write_json(folder / f"{name}.json", value)
    build_scann(vectors, vectors[rng.integers(items, size=200)], IndexSettings(recall_target=0.9), folder / INDEX)
    write_json(folder / MANIFEST, {"format": FORMAT, "files": folder_files(folder)})


def _clustered(like: Floats, rows: int, rng: np.random.Generator) -> Floats:
    centres = like[rng.integers(len(like), size=CENTRES)]
    noise = rng.normal(0, 0.3 * float(like.std()), (rows, like.shape[1]))
    return np.asarray(centres[rng.integers(CENTRES, size=rows)] + noise, np.float32)


def _ids(letter: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{letter}-{number:07d}" for number in numbers.tolist()])


def write_lake(root: Path, users: int, bundle: Bundle, rng: np.random.Generator) -> Ingested:
    """An ingested window of generated customers."""
    counts = rng.integers(1, 2 * MEAN_EVENTS, size=users)
    total, types = int(counts.sum()), bundle.spec["event_types"]
    end = int(AS_OF.timestamp() * 1e6)
    time_us = np.sort(end - rng.integers(1, DAYS * 86_400_000_000, size=total))
    user = rng.permutation(np.repeat(np.arange(users), counts))
    item = rng.integers(bundle.num_items, size=total)
    fields = [field["name"] for field in bundle.spec["user_fields"]]

    def build(out: Path) -> dict[str, object]:
        batches = (pa.record_batch({
            "user_id": _ids("C", user[part]), "item_id": _ids("P", item[part]),
            "timestamp": pa.array(time_us[part], pa.timestamp("us", tz="UTC")),
            "event_type": pa.array(rng.choice(types, size=len(user[part])))})
            for part in (slice(first, first + 500_000) for first in range(0, total, 500_000)))
        days = write_days(batches, out / EVENTS_FOLDER, Progress("customers", total, "events"))
        unknown = pa.array(["unknown"] * users)
        pq.write_table(pa.table({"user_id": _ids("C", np.arange(users))} | dict.fromkeys(fields, unknown)),
                       out / "users.parquet")
        pq.write_table(pa.table({"item_id": pa.array(bundle.item_ids)}), out / "items.parquet")
        write_json(out / SHOP_FILE, ShopSchema(spec=ShopSpec(), item_fields=(), user_fields=(), display={}, weights={}))
        return {"source": "generated", "window": Window(as_of=AS_OF), "events": total, "items": bundle.num_items,
                "users": users, "days": days, "first_event": AS_OF, "last_event": AS_OF}

    return seal(Ingested, root, "ingest", f"{users:020d}", build)


def one(lake: Path, store: Path, root: Path) -> dict[str, float]:
    """Export slates alone, in this process, and measure it."""
    from pipelines.artifacts import load_contract

    window, started, worked = load_contract(Ingested, lake), time.monotonic(), time.process_time()
    feeds = export_feeds(window, FeedSettings(k=20, similar=0), ReleaseStore(store), root)
    timings = {"users": feeds.users, "events": window.events, "seconds": time.monotonic() - started,
               "cpu_seconds": time.process_time() - worked,
               "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    sizes = {path.name: path.stat().st_size / 2**20 for path in Path(feeds.path).glob("user_items.*")}
    return timings | {f"{name}_mb": size for name, size in sizes.items()}


def main(
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    users: Annotated[list[int], typer.Option(min=1000)],
    items: Annotated[int, typer.Option(min=20_000)] = 100_000,
) -> None:
    """Export for each number of users and print what it took."""
    with tempfile.TemporaryDirectory(prefix="vitrine-feeds-") as name:
        root, rng = Path(name), np.random.default_rng(0)
        write_catalogue(Bundle.load(bundle), items, root / "bundle", rng)
        store = ReleaseStore(root / "store")
        digest = store.add_bundle(root / "bundle")
        store.commit(Release(number=1, parent=None, bundle=digest, training="0" * 64, verdict="0" * 64, as_of=AS_OF,
                             actor="benchmark", reason="generated", created_at=AS_OF, metrics={}, run_id="none",
                             model_name="none", model_version="none"))
        catalogue, rows = Bundle.load(root / "bundle"), []
        for count in sorted(users):
            lake = write_lake(root, count, catalogue, rng)
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.feeds", "one", lake.path, str(root / "store"),
                       str(root)]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
            typer.echo(json.dumps(rows[-1]))
        if len(rows) > 1:
            first, last = rows[0], rows[-1]
            slope = (last["cpu_seconds"] - first["cpu_seconds"]) / (last["users"] - first["users"])
            growth = (last["peak_mb"] - first["peak_mb"]) / (last["users"] - first["users"])
            typer.echo(f"{1e3 * slope:.2f} ms of one core and {1024 * growth:.2f} kB of peak memory for each further "
                       "customer")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(*map(Path, sys.argv[2:]))))
    else:
        typer.run(main)
