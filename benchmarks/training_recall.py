"""From the files of a log to a recall: what a training knows by the minute."""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.progress import duration
from pipelines.train_settings import TrainSettings


def to_recall(
    folder: Path, settings: TrainSettings, minutes: float, bound: float | None = None, test: Path | None = None
) -> dict[str, Any]:
    """Encode a data set and train until its validation recall@10 is at a bound or the minutes are over.

    The wall clock starts with the call: reading, encoding and importing TensorFlow count.

    Args:
        folder: data set of the measuring protocol.
        settings: of the training; several members share the minutes, one after the other.
        minutes: no epoch is begun that would probably end later; choosing the offset of new items comes on top.
        bound: end with the first epoch whose validation recall@10 is not below it.
        test: Parquet file for the predictions on the test events, which are looked at only where it is given.

    Returns:
        "epochs" (of each its "seconds" from the start, "member" and "valid_recall@10"), "reached_s" (seconds at which
        the bound was, None where it was not), "trained_s", and of the finished model "valid_recall@10" and "test".
    """
    began = time.monotonic()
    from models import metrics as m
    from models import training
    from models.member_training import Enough
    from models.ranking import rank
    from pipelines.benchmark import K, write_predictions
    from pipelines.protocol import encode_protocol
    from pipelines.snapshot import TEST, SnapshotData

    epochs: list[dict[str, float]] = []
    reached: list[float] = []

    def watch(_: int, entry: Mapping[str, float]) -> None:
        now, recall = time.monotonic() - began, entry["valid_recall@10"]
        before = epochs[-1]["seconds"] if epochs else 0.0
        epochs.append({"seconds": now, "member": entry["member"], "valid_recall@10": recall})
        is_there = bound is not None and recall >= bound
        print(f"  {duration(now):>7}  member {entry['member']:.0f}: valid recall@10 {recall:.4f}"
              f"{f', which is not below {bound:g}' if is_there else ''}", flush=True)
        if is_there:
            reached.append(now)
        if is_there or now + (now - before if len(epochs) > 1 else 0.0) > 60 * minutes:
            raise Enough

    with TemporaryDirectory(prefix="vitrine-recall-") as name:
        encode_protocol(folder, Path(name))
        data = SnapshotData.load(name)
        fitted = training.fit(data, settings.model_copy(update={"refit": False}), watch=watch)
        trained = time.monotonic() - began
        print(f"  {duration(trained):>7}  the model, new items included: valid recall@10 {fitted.best_recall:.4f}")
        found: dict[str, Any] = {"epochs": epochs, "reached_s": reached[0] if reached else None, "trained_s": trained,
                                 "valid_recall@10": fitted.best_recall}
        if test is not None:
            queries = data.queries(TEST)
            ranking = rank(fitted.members.current(), data, queries, k=K)
            write_predictions(data, queries, ranking, test)
            found["test"] = m.metrics(ranking.top, ranking.rank, data.num_items, [K])
            print(f"  test recall@10 {found['test']['recall@10']:.4f}, ndcg@10 {found['test']['ndcg@10']:.4f}; "
                  f"predictions in {test}")
    return found
