"""Stage: a snapshot becomes towers and item vectors."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import TIMINGS, find, place, read_json, seal, stage_key, write_json
from pipelines.contracts import Snapshot, Trained
from pipelines.errors import VitrineError
from pipelines.pictures import read_pictures
from pipelines.settings import Cluster
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings
from serving.doors import DOORS, Door, Doors

STAGE = "train"
EXPORT_SECONDS = 900  # the chief exports and seals in well under a minute; a large catalogue takes longer


def train(snapshot: Snapshot, settings: TrainSettings, root: Path, cluster: Cluster | None = None) -> Trained:
    """Train on a snapshot until its validation window says stop, then what searches by words and by picture.

    A killed training goes on from its last checkpoint, below `root`, when the stage is run again.

    Args:
        snapshot: what to train on.
        settings: of the training.
        root: artefact root.
        cluster: the workers that train together, each of which runs this stage on the same `snapshot` and `root`;
            None for this process alone. All return the chief's result.
    """
    # The window too: a later one without an event in between has a snapshot of equal content.
    key = stage_key(STAGE, snapshot.digest, snapshot.window, settings)
    if cluster is not None and cluster.index > 0:
        return _help(snapshot, settings, root, key, cluster)
    checkpoints = root / STAGE / ".checkpoints" / key[:20]

    def build(out: Path) -> dict[str, Any]:
        data = SnapshotData.load(snapshot.path)
        fields = fit(data, settings, out, checkpoints, cluster)
        _open_doors(data, settings, out)
        return {"snapshot": snapshot, **fields}

    trained = seal(Trained, root, STAGE, key, build)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return trained


def _help(snapshot: Snapshot, settings: TrainSettings, root: Path, key: str, cluster: Cluster) -> Trained:
    """Train as a worker who is not the chief, and wait for the chief's result."""
    if (before := find(Trained, root, STAGE, key)) is not None:
        return before
    from models import training

    training.fit(SnapshotData.load(snapshot.path), settings, cluster=cluster)
    until = time.monotonic() + EXPORT_SECONDS
    while (trained := find(Trained, root, STAGE, key)) is None:
        if time.monotonic() > until:
            raise VitrineError(f"worker {cluster.index} has waited {EXPORT_SECONDS} s for the chief's result in "
                               f"{place(root, STAGE, key)}: all workers need the same artefact root")
        time.sleep(0.5)
    return trained


def fit(
    data: SnapshotData, settings: TrainSettings, out: Path, checkpoints: Path | None = None,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Train on opened data and write the towers into `out`; returns what the contract says of them."""
    from models import export, training  # TensorFlow takes many seconds to import: only where it works

    fitted = training.fit(data, settings, checkpoints=checkpoints, cluster=cluster)
    export.export(fitted, data, out)
    write_json(out / "curves.json", fitted.curves)
    write_json(out / "settings.json", settings)
    write_json(out / TIMINGS, {"epoch_seconds": fitted.seconds})
    return {"dimension": settings.members * settings.dimension, "epochs": len(fitted.curves),
            "best_epoch": fitted.best_epoch, "is_refit": settings.refit,
            "valid_recall_at_10": fitted.best_recall}


def _open_doors(data: SnapshotData, settings: TrainSettings, out: Path) -> None:
    """Train what answers words and pictures in the space of the item vectors in `out`, and say how well it does."""
    from models.text_door import train_search

    started = time.monotonic()
    vectors = np.load(out / "item_vectors.npy", allow_pickle=False)
    search = train_search(data.path, vectors, settings.search, out)
    searched = time.monotonic()
    if (pictures := read_pictures(data.path)) is None:
        shown = Door(closed="no product of the shop has a picture (bytes of a PNG or JPEG file)")
    else:
        from models.picture_door import train_pictures  # imports TensorFlow

        shown = train_pictures(data, pictures, settings.pictures, out)
    write_json(out / DOORS, Doors(search=search, pictures=shown))
    write_json(out / TIMINGS, read_json(out / TIMINGS) | {
        "search_seconds": searched - started, "pictures_seconds": time.monotonic() - searched})
