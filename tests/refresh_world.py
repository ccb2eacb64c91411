"""The arithmetic shop of tests/release_world.py with an item tower, so that every refreshed vector is known by hand.

40 items; item i is called n07 (for i = 7), is of the colour COLOURS[i % 4], and items 0 to 19 have a picture of it. One
member, of gain 1: what a colour says is the one-hot vector of its group. Items below 8 were as long as 2 before they
were brought to the gain, so that half of each is its own; the others live on their colour alone. So

    input(i)       one-hot of i % 4
    prior(i)       (40 - i) / 1000; what green says adds GREENER, what is new has NEWCOMER
    score(user, i) = events of the user in i's group + prior(i)
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.item_embedding import ItemEmbedding
from pipelines.artifacts import read_json, seal, stage_key, write_json
from pipelines.contracts import Evaluated, Origin, Registered, Snapshot, Trained, Verdict
from pipelines.dense import dense_block
from pipelines.encode import write_table
from pipelines.gate import at_least
from pipelines.index import IndexSettings, index
from pipelines.pictures import picture_digests
from pipelines.promote import promote
from pipelines.settings import Settings
from pipelines.vocabulary import fit_fields, token_bags
from serving.item_tower_files import LENGTHS, PICTURE_DIGESTS
from tests.door_world import COLOURS, PICTURED, photograph, write_doors
from tests.release_world import (
    BASELINES,
    GROUPS,
    ITEMS,
    METRICS,
    item_arrays,
    model_figures,
    user_tower,
    write_evaluation,
    write_snapshot,
)

NAMES = list(COLOURS)
NEWCOMER, GREENER = -0.5, 0.25
OWN = 8  # items with a part of their own
KINDS = [("name", "text"), ("colour", "categorical"), ("image", "image")]


def items(extra: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The item table; `extra` ids -> colours are further products, without a picture, called as the item 39 before."""
    rows = [{"item_id": f"i{row:02d}", "name": f"n{row:02d}", "colour": NAMES[row % 4],
             "image": photograph(NAMES[row % 4]) if row < PICTURED else None, "available": True}
            for row in range(ITEMS)]
    rows += [{"item_id": item, "name": f"n{int(item[1:]) - 39:02d}", "colour": colour, "image": None, "available": True}
             for item, colour in (extra or {}).items()]
    return pd.DataFrame(rows)


def write_shop(folder: Path, table: pd.DataFrame | None = None) -> Path:
    """Write the item table as the shop's source has it."""
    folder.mkdir(parents=True, exist_ok=True)
    (items() if table is None else table).to_parquet(folder / ".items.parquet.new")
    (folder / ".items.parquet.new").rename(folder / "items.parquet")
    return folder


def _snapshot(out: Path) -> dict[str, Any]:
    fields = write_snapshot(out)
    table, everything = items(), np.ones(ITEMS, bool)
    own = fit_fields(table, KINDS[:2], everything, 0)
    bags = token_bags(table, own)
    for name, array in zip(("item_tokens_indptr", "item_tokens", "item_token_weights"), bags, strict=True):
        np.save(out / f"{name}.npy", array)
    dense, notes = dense_block(table, KINDS[2:], everything)
    np.save(out / "item_dense.npy", dense)
    np.save(out / PICTURE_DIGESTS, picture_digests(table, ["image"]))
    write_table(table, out / "items.parquet")
    write_json(out / "vocabulary.json", {"items": [vars(one) for one in own], "dense": notes, "users": []})
    write_json(out / "spec.json", read_json(out / "spec.json") | {
        "item_fields": [{"name": name, "kind": kind} for name, kind in KINDS], "item_token_count": own[-1].end,
        "display": {"title": "name", "category": "colour", "price": None, "image": "image"}})
    return fields


def tower(snapshot: Path) -> ItemEmbedding:
    """A colour is the one-hot vector of its group; names and pictures say nothing."""
    fields = {one["name"]: one for one in read_json(snapshot / "vocabulary.json")["items"]}
    tokens = np.zeros((read_json(snapshot / "spec.json")["item_token_count"], GROUPS), np.float32)
    for group, name in enumerate(NAMES):
        tokens[fields["colour"]["values"][name], group] = 1
    prior = np.zeros(GROUPS + 1, np.float32)
    prior[NAMES.index("green")] = GREENER
    dense = np.load(snapshot / "item_dense.npy").shape[1]
    return ItemEmbedding(np.ones(1, np.float32), NEWCOMER, tokens, np.zeros((dense, GROUPS), np.float32), prior)


def make_registered(root: Path, parent: int | None = None, has_tower: bool = True, **training: Any) -> Registered:
    """Sealed folders of all stages up to registration; `training` tells two trainings apart."""
    key = stage_key("refresh world", parent, has_tower, training)
    snapshot = seal(Snapshot, root, "features", key, _snapshot)

    def trained(out: Path) -> dict[str, Any]:
        vectors, inputs = item_arrays()
        np.save(out / "item_vectors.npy", np.concatenate([inputs, vectors[:, -1:]], axis=1))
        np.save(out / "item_inputs.npy", inputs)
        (out / "user_tower.tflite").write_bytes(user_tower())
        write_json(out / "settings.json", training)
        write_doors(out)
        if has_tower:
            tower(Path(snapshot.path)).save(out)
            np.save(out / LENGTHS, np.where(np.arange(ITEMS) < OWN, 2, 1).astype(np.float32)[:, None])
        return {"snapshot": snapshot, "dimension": GROUPS, "epochs": 1, "best_epoch": 1, "valid_recall_at_10": 0.2}

    def evaluated(out: Path) -> dict[str, Any]:
        models = model_figures()
        write_evaluation(out, models)
        return {"trained": seal(Trained, root, "train", key, trained), "parent": parent,
                "champion": None if parent is None else "c" * 64, "metrics": METRICS,
                "baselines": {name: models[name]["metrics"] for name in BASELINES}}

    judged = seal(Evaluated, root, "evaluate", key, evaluated)

    def registered(out: Path) -> dict[str, Any]:
        write_json(out / "registered.json", {"run_id": "r1"})
        return {"evaluated": judged, "experiment_id": "1", "run_id": "r1", "model_name": "vitrine",
                "model_version": "1"}

    return seal(Registered, root, "register", key, registered)


def verdict_of(places: Settings, parent: int | None = None, **training: Any) -> Verdict:
    """A verdict as the gate seals it, without the gate's trial."""
    root = places.artifacts
    sealed = index(make_registered(root, parent, **training), IndexSettings(), places, root)
    check = at_least("recall@10", 0.2, 0.01, "absolute floor")

    def build(out: Path) -> dict[str, Any]:
        (out / "verdict.html").write_text("<p>recall@10</p>")
        return {"sealed": sealed, "accepted": True, "checks": (check,)}

    return seal(Verdict, root, "gate", stage_key("gate", sealed.digest), build)


def release(places: Settings, parent: int | None = None, **training: Any) -> None:
    """Train and promote, against release `parent`."""
    promote(verdict_of(places, parent, **training), Origin(actor="tester", reason="weekly"), False, places)


def forget(places: Settings) -> None:
    """Remove what refreshes left in the artefacts, as on another machine."""
    for stage in ("catalogue", "refresh", "refresh-gate"):
        shutil.rmtree(places.artifacts / stage, ignore_errors=True)
