"""Predictions of any model on a folder of the measuring protocol, as its scorer takes them."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models import metrics as m
from models.baselines.by_name import BASELINES
from models.ranking import Model, Ranking, rank
from models.two_tower_scorer import TwoTowerScorer
from pipelines import columns as c
from pipelines.artifacts import sync_parent
from pipelines.errors import DataError, SettingsError
from pipelines.progress import log
from pipelines.protocol import encode_protocol
from pipelines.snapshot import TEST, VALID, Queries, SnapshotData
from pipelines.train import fit
from pipelines.train_settings import TrainSettings

K = 10
TWO_TOWER = "two_tower"
SPLITS = {"valid": VALID, "test": TEST}


def benchmark(
    data: Path, out: Path, model: str = TWO_TOWER, split: str = "test", settings: TrainSettings | None = None
) -> dict[str, Any]:
    """Fit on train, tune on valid, rank for the evaluated events of `split` and write the lists.

    Args:
        data: data set folder with row_id, split and eval.
        out: Parquet file to write: row_id and item_ids, the ten best first.
        model: two_tower, ease, als, itemknn or popularity.
        split: valid or test.
        settings: of the two-tower's training; None for its defaults.

    Returns:
        The figures that the scorer finds in `out`, under the scorer's names.

    Raises:
        SettingsError: there is no such model or split, or settings for a model that takes none.
        DataError: `data` is no folder of the protocol, or has nothing to predict in `split`.
    """
    if model not in (TWO_TOWER, *BASELINES):
        raise SettingsError(f"model is {model!r}; it may be {', '.join((TWO_TOWER, *BASELINES))}")
    if split not in SPLITS:
        raise SettingsError(f"split is {split!r}; it may be {', '.join(SPLITS)}")
    if settings is not None and model != TWO_TOWER:
        raise SettingsError(f"training settings are for {TWO_TOWER} alone, {model} finds its own on the valid split")
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as name:
        work = Path(name)
        (work / "snapshot").mkdir()
        encode_protocol(data, work / "snapshot")
        snapshot = SnapshotData.load(work / "snapshot")
        queries = snapshot.queries(SPLITS[split])
        if not len(queries):
            raise DataError(f"{data}/events.parquet has no evaluated {split} events: there is nothing to predict")
        fitted = _fit(snapshot, model, settings or TrainSettings(), work / "trained")
        ranking = rank(fitted, snapshot, queries, k=K)
        write_predictions(snapshot, queries, ranking, out)
        figures = m.metrics(ranking.top, ranking.rank, snapshot.num_items, [K])
        slices = m.slices(ranking.rank, m.slice_masks(snapshot, queries), K)
    log.info("%s on %s %s: recall@10 %.5f, ndcg@10 %.5f; lists in %s", fitted, data.name, split,
             figures["recall@10"], figures["ndcg@10"], out)
    return {"dataset": data.resolve().name, "split": split, "model": model, "predictions": str(out),
            "events": len(ranking.rank), **figures, "slices": slices}


def _fit(data: SnapshotData, model: str, settings: TrainSettings, work: Path) -> Model:
    if model != TWO_TOWER:
        return BASELINES[model](data)
    work.mkdir()
    fit(data, settings.model_copy(update={"refit": False}), work)
    return TwoTowerScorer.load(work)


def write_predictions(data: SnapshotData, queries: Queries, ranking: Ranking, out: Path) -> None:
    """Write row_id int64 and item_ids list<string> for every target, whole or not at all."""
    ids = pq.read_table(data.path / "items.parquet", columns=[c.ITEM]).column(0).to_pylist()
    lists = [[ids[row] for row in top if row >= 0] for top in ranking.top[:, :K].tolist()]
    table = pa.table({
        c.ROW: pa.array(data.histories.row[queries.target_event], pa.int64()),
        "item_ids": pa.array([lists[query] for query in queries.target_query.tolist()], pa.list_(pa.string())),
    })
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(out)
        sync_parent(out)
    finally:
        partial.unlink(missing_ok=True)
