"""A refresh of a large catalogue: seconds from the trigger to a release that answers with the new product.

    python -m benchmarks.refresh --bundle .vitrine/store/SHOP/bundles/DIGEST --items 100000

Towers, query encoder and features are those of a real bundle. Its catalogue is blown up to `--items` by mixing the
values of its columns, embedded by its own item tower, each item with an own part as after training; the indexes are
built as the index stage builds them. Pictures are left out: each new one costs its decoding, and old ones are copied.
Then `--added` products are added, as many changed and as many removed, and the command is run as a process of its own;
a process that follows the releases takes the new one over and is asked for the newest product.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from models.item_embedding import Embedded, ItemEmbedding, ItemFeatures
from models.token_bags import TokenBags
from pipelines.artifacts import FORMAT, MANIFEST, folder_files, read_json, write_json
from pipelines.dense import dense_as_noted
from pipelines.encode import write_table
from pipelines.index import IndexSettings, build_scann
from pipelines.item_texts import item_texts
from pipelines.vocabulary import token_bags
from serving.bundle import Bundle
from serving.bundle_files import INDEX, TEXT_INDEX
from serving.doors import DOORS, ITEM_TEXT, Door, Doors
from serving.item_tower_files import LENGTHS, PICTURE_DIGESTS, TOWER_FILES
from serving.live import Live
from serving.live_status import LiveSettings
from serving.panel import Panel
from serving.query_encoder import FILES as QUERY_FILES
from serving.query_encoder import QueryEncoder
from serving.release import Release
from serving.store import ReleaseStore
from serving.tokens import read_fields

REPOSITORY = Path(__file__).resolve().parents[1]
SHOP = "large"
AS_OF = datetime(2026, 6, 28, tzinfo=UTC)


def mixed(origin: Bundle, first: int, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """`count` items whose columns are each drawn from the origin's, without pictures."""
    table = origin.items.to_pandas()
    drawn = {name: table[name].to_numpy()[rng.integers(len(table), size=count)] for name in table
             if name not in ("item_id", "available", "available_from")}
    return pd.DataFrame({"item_id": [f"P-{number:07d}" for number in range(first, first + count)], **drawn})


def write_bundle(origin: Bundle, items: pd.DataFrame, folder: Path, rng: np.random.Generator) -> None:
    """A bundle folder of `items` that answers with the towers of `origin`; takes minutes, for two indexes are built."""
    folder.mkdir(parents=True)
    spec, vocabulary = read_json(origin.path / "spec.json"), read_json(origin.path / "vocabulary.json")
    spec["item_fields"] = [one for one in spec["item_fields"] if one["kind"] != "image"]
    kept, first = [], 0
    for note in vocabulary["dense"]:
        kept += list(range(first, first + note["width"])) if note["kind"] != "image" else []
        first += note["width"]
    notes = [note for note in vocabulary["dense"] if note["kind"] != "image"]
    write_json(folder / "spec.json", spec | {"dense": len(kept)})
    write_json(folder / "vocabulary.json", vocabulary | {"dense": notes})
    full = ItemEmbedding.load(origin.path)
    embedding = ItemEmbedding(full.gains, full.newcomer_prior, full.tokens, full.projection[kept], full.prior)
    embedding.save(folder)
    for name in ("user_tower.tflite", "tombstones.json", "panel.json", *QUERY_FILES, *TOWER_FILES[1:2]):
        shutil.copyfile(origin.path / name, folder / name)
    # The panel's items are of the origin: it is asked with, in the large shop, by items of the same rows.
    ids = {item: items["item_id"][row] for row, item in enumerate(origin.item_ids)}
    panel = Panel.load(origin.path)
    write_json(folder / "panel.json", Panel(shoppers=tuple(
        one.model_copy(update={"items": tuple(ids[item] for item in one.items)}) for one in panel.shoppers)))
    count = len(items)
    features = ItemFeatures(TokenBags(*token_bags(items, read_fields(vocabulary["items"]))), dense_as_noted(
        items, notes, np.zeros((count, len(kept)), np.float32), np.zeros(count, bool)))
    features.save(folder)
    own = embedding.new(features)
    noise = rng.normal(0, 0.5 * float(own.inputs.std()), own.inputs.shape).astype(np.float32)
    found = _lengthened(embedding, own, noise)
    np.save(folder / "item_vectors.npy", found.vectors, allow_pickle=False)
    np.save(folder / "item_inputs.npy", found.inputs, allow_pickle=False)
    np.save(folder / LENGTHS, found.lengths, allow_pickle=False)
    np.save(folder / PICTURE_DIGESTS, np.zeros(count, np.uint64), allow_pickle=False)
    np.save(folder / "popularity.npy", rng.permutation(count), allow_pickle=False)
    write_table(items, folder / "items.parquet")
    encoder = QueryEncoder.load(origin.path)
    kinds = [(one["name"], one["kind"]) for one in spec["item_fields"]]
    words = [one.words for one in item_texts(items, kinds, spec["display"]["title"])]
    text = encoder.text_block(words)
    np.save(folder / ITEM_TEXT, text, allow_pickle=False)
    write_json(folder / DOORS, Doors(search=Door(), pictures=Door(closed="left out")))
    write_json(folder / "provenance.json", {"as_of": AS_OF.isoformat()})
    asked = rng.integers(count, size=300)
    build_scann(found.vectors, found.vectors[asked], IndexSettings(), folder / INDEX)
    typed = np.stack([encoder.of_words(words[row][:3]) for row in asked])
    build_scann(np.concatenate([found.vectors, text], axis=1), typed, IndexSettings(), folder / TEXT_INDEX)
    write_json(folder / MANIFEST, {"format": FORMAT, "files": folder_files(folder)})


def _lengthened(embedding: ItemEmbedding, own: Embedded, noise: Any) -> Embedded:
    """Items with a part of their own beside what their features say."""
    members = len(embedding.gains)
    parts = (own.inputs.reshape(len(noise), members, -1) * (own.lengths / embedding.gains)[:, :, None]
             + noise.reshape(len(noise), members, -1))
    lengths = np.linalg.norm(parts, axis=2)
    inputs = (parts / lengths[:, :, None] * embedding.gains[:, None]).reshape(noise.shape).astype(np.float32)
    vectors = np.concatenate([inputs / members, own.vectors[:, -1:]], axis=1).astype(np.float32)
    return Embedded(vectors, inputs, lengths.astype(np.float32))


def main(
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    items: Annotated[int, typer.Option(min=20_000)] = 100_000,
    added: Annotated[int, typer.Option(min=1)] = 100,
    keep: Annotated[Path | None, typer.Option(help="Folder for the large bundle; what is there is used again.")] = None,
) -> None:
    """Blow a bundle up, refresh its catalogue, and print what it took."""
    with tempfile.TemporaryDirectory(prefix="vitrine-refresh-") as name:
        home, rng = Path(name), np.random.default_rng(0)
        large = keep or home / "large"
        origin = Bundle.load(bundle)
        table = mixed(origin, 0, items, rng)
        if not large.exists():
            write_bundle(origin, table, large, rng)
        store = ReleaseStore(home / "store" / SHOP)
        store.commit(Release(number=1, parent=None, bundle=store.add_bundle(large), training="0" * 64, verdict="0" * 64,
                             as_of=AS_OF, actor="benchmark", reason="generated", created_at=AS_OF, metrics={},
                             run_id="none", model_name="none", model_version="none"))
        table.loc[: added - 1, "price"] *= 2
        today = pd.concat([table.iloc[:-added], mixed(origin, items, added, rng)], ignore_index=True)
        (home / SHOP).mkdir()
        today.to_parquet(home / SHOP / "items.parquet", index=False)
        with Live(store, LiveSettings(poll_s=1.0)) as live:
            began = time.monotonic()
            answer = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "refresh-catalogue", "--data", str(home / SHOP),
                 "--json"], cwd=REPOSITORY, env={"VITRINE_HOME": str(home)}, check=True, text=True,
                stdout=subprocess.PIPE)
            released, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            while live.served().release.number < 2:
                time.sleep(0.05)
            served = time.monotonic() - began
            fresh = live.served().recommender
            newest = f"P-{items + added - 1:07d}"
            assert newest in fresh.bundle.rows and fresh.similar(fresh.bundle.rows[newest], 5)
        typer.echo(answer.stdout)
        typer.echo(json.dumps({
            "items": items, "added": added, "command_s": round(released, 1), "served_s": round(served, 1),
            "command_cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "bundle_mb": round(fresh.bundle.size_bytes / 1e6)}))


if __name__ == "__main__":
    typer.run(main)
