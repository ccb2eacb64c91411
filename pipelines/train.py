"""Stage: a snapshot becomes towers and item vectors."""

from pathlib import Path
from typing import Any

from pipelines.artifacts import TIMINGS, seal, stage_key, write_json
from pipelines.contracts import Snapshot, Trained
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings

STAGE = "train"


def train(snapshot: Snapshot, settings: TrainSettings, root: Path) -> Trained:
    """Train on a snapshot until its validation window says stop."""
    # The window too: a later one without an event in between has a snapshot of equal content.
    key = stage_key(STAGE, snapshot.digest, snapshot.window, settings)
    return seal(Trained, root, STAGE, key, lambda out: {
        "snapshot": snapshot, **fit(SnapshotData.load(snapshot.path), settings, out)})


def fit(data: SnapshotData, settings: TrainSettings, out: Path) -> dict[str, Any]:
    """Train on opened data and write the towers into `out`; returns what the contract says of them."""
    from models import export, training  # TensorFlow takes many seconds to import: only where it works

    fitted = training.fit(data, settings)
    export.export(fitted, data, out)
    write_json(out / "curves.json", fitted.curves)
    write_json(out / "settings.json", settings)
    write_json(out / TIMINGS, {"epoch_seconds": fitted.seconds})
    return {"dimension": settings.dimension, "epochs": len(fitted.curves), "best_epoch": fitted.best_epoch,
            "valid_recall_at_10": fitted.best_recall}
