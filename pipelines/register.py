"""Stage `register`: the retrain's record in MLflow, and its model as a version with the alias challenger."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines import figures, tracking
from pipelines.artifacts import read_json, seal, stage_key, write_json
from pipelines.contracts import Artifact, Document, Evaluated, Origin, Registered
from pipelines.errors import CorruptArtifact
from pipelines.free_space import require_free
from pipelines.model_card import Metrics, comparison, model_card, slice_table, table
from pipelines.record import DataInput, ModelRecord, RetrainRecord, StageRecord, flat, metric_name, numbers
from pipelines.settings import Settings
from pipelines.snapshot import TEST, SnapshotData
from serving.doors import Doors
from serving.encoding import History, Limits, encode


class RegisterSettings(Document):
    """What the record says beside the numbers.

    Attributes:
        intended_use: the model card's paragraph of that name.
        example_rows: requests in the model's input example; the last one is a shopper nobody knows.
    """

    intended_use: str = (
        "Ranks the shop's products for one shopper at one moment: recommendations in the shop, similar products, "
        "e-mail and ads. Not for decisions about people, such as credit, prices or access."
    )
    example_rows: int = 2


def register(
    evaluated: Evaluated, origin: Origin, settings: RegisterSettings, places: Settings, root: Path, *,
    is_replay: bool = False,
) -> Registered:
    """Record the retrain in MLflow and register its model; the same retrain is recorded once.

    The newest one gets the alias challenger, unless it `is_replay`: the record of a past day is none of today.

    Raises:
        TrackingError: MLflow cannot be reached; running the stage again resumes the same run.
        CorruptArtifact: a file that an earlier stage owes is missing.
    """
    trained = evaluated.trained
    # Content digests alone are not enough: two windows without an event between them have the same content.
    key = stage_key(
        "register", evaluated.digest, trained.digest, trained.snapshot.digest, trained.snapshot.window, settings,
        [places.experiment, places.model_name, tracking.identity(places)],
    )

    def build(folder: Path) -> dict[str, Any]:
        model = [path.stat().st_size for path in (Path(trained.path) / "saved_model").rglob("*") if path.is_file()]
        # It is packed in a temporary folder, and MLflow's store may lie on the same disk.
        require_free(Path(tempfile.gettempdir()), 2 * sum(model), "the model on its way to MLflow")
        record = replace(retrain_record(evaluated, origin, settings, key, folder), is_challenger=not is_replay)
        return {"evaluated": evaluated, **tracking.record_retrain(record, places)}

    registered = seal(Registered, root, "register", key, build)
    tracking.require_run(registered, places)
    return registered


def retrain_record(
    evaluated: Evaluated, origin: Origin, settings: RegisterSettings, key: str, folder: Path
) -> RetrainRecord:
    """Everything MLflow is told; figures, tables and model card are written into `folder`."""
    trained, snapshot = evaluated.trained, evaluated.trained.snapshot
    found = read_json(Path(evaluated.path) / "metrics.json")
    # In the order of models.json, two-tower first: JSON objects are kept sorted by name.
    metrics: Metrics = {model: found[model] for model in read_json(Path(evaluated.path) / "models.json")}
    curves = read_json(Path(trained.path) / "curves.json")
    train = flat(read_json(Path(trained.path) / "settings.json"))
    data = SnapshotData.load(snapshot.path)
    doors = Doors.load(Path(trained.path))
    card = model_card(
        evaluated, flat(read_json(Path(snapshot.path) / "settings.json")), train, data.spec, metrics, doors,
        intended_use=settings.intended_use, revision=origin.git_revision)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    write_files(evaluated, metrics, curves, data, folder)
    window = {"start": _iso(snapshot.window.start), "as_of": _iso(snapshot.window.as_of)}
    counts = {n: getattr(snapshot, n)
              for n in ("users", "items", "events", "train_events", "valid_targets", "test_targets")}
    tags = {
        "vitrine.actor": origin.actor, "vitrine.reason": origin.reason, "vitrine.cause": origin.cause,
        "vitrine.dag_id": origin.dag_id,
        "vitrine.dag_run_id": origin.dag_run_id, "vitrine.git_revision": origin.git_revision,
        "mlflow.source.git.commit": origin.git_revision, "mlflow.source.name": "vitrine",
        "vitrine.window_start": window["start"], "vitrine.as_of": window["as_of"],
        "vitrine.data_digest": snapshot.digest, "vitrine.training_digest": trained.digest,
        "vitrine.evaluation_digest": evaluated.digest, "vitrine.champion_bundle": evaluated.champion,
        "vitrine.parent_release": None if evaluated.parent is None else str(evaluated.parent),
    }
    return RetrainRecord(
        key=key,
        name=f"retrain {snapshot.window.as_of:%Y-%m-%d %H:%M} {trained.digest[:8]}",
        description=summary(evaluated, metrics),
        params={"train": train, "window": window, "data": counts},
        metrics=named_metrics(metrics) | door_metrics(doors),
        curves=[(int(point["epoch"]), numbers({n: v for n, v in point.items() if n != "epoch"})) for point in curves],
        tags={name: value for name, value in tags.items() if value is not None},
        inputs=data_inputs(evaluated),
        stages=stage_records(evaluated),
        files=folder,
        tables=["baselines.json", "slices.json"],
        model=ModelRecord(
            saved_model=Path(trained.path) / "saved_model",
            example=input_example(data, np.load(Path(trained.path) / "item_inputs.npy", mmap_mode="r"),
                                  settings.example_rows),
            output="vector",
            width=np.load(Path(trained.path) / "item_vectors.npy", mmap_mode="r").shape[1],
            requirements=[f"{name}=={installed(name)}" for name in ("tensorflow", "numpy")],
        ),
    )


def summary(evaluated: Evaluated, metrics: Metrics) -> str:
    """What stands beside a run and a model version; the whole card is too long for MLflow's columns."""
    snapshot = evaluated.trained.snapshot
    return (
        f"Two-tower on {snapshot.train_events:,} training events of {snapshot.users:,} users and {snapshot.items:,} "
        f"items before {snapshot.window.as_of:%Y-%m-%d %H:%M} UTC, on {snapshot.test_targets:,} test events:\n\n"
        f"{table(*comparison(metrics))}\n\nData, slices, intended use and limits: `model_card.md` in the run."
    )


def _iso(time: Any) -> str | None:
    return None if time is None else time.isoformat()


def named_metrics(metrics: Metrics) -> dict[str, float]:
    """All numbers of all models under one-line names, so that runs can be compared column by column.

    The two-tower's have no prefix (recall_at_10, recall_at_10_low), the others' their model's
    (als_recall_at_10); `gain_over_als` is the ratio of the recalls@10 minus 1; slices stand under
    `slice/NAME/`.
    """
    result: dict[str, float] = {}
    own = metrics["two_tower"]["metrics"]["recall@10"]
    for model, found in metrics.items():
        prefix = "" if model == "two_tower" else f"{model}_"
        for name, value in numbers(found["metrics"] | flat(found["exposure"], "exposure_")).items():
            result[f"{prefix}{name}"] = value
        for name, (low, high) in found["intervals"].items():
            result |= {f"{prefix}{metric_name(name)}_low": low, f"{prefix}{metric_name(name)}_high": high}
        for part, values in found["slices"].items():
            for name, value in numbers({n: v for n, v in values.items() if not prefix or n != "events"}).items():
                result[f"slice/{metric_name(part)}/{prefix}{name}"] = value
        # Nothing is a multiple of nothing: a model that finds no item at all has no ratio.
        if prefix and found["metrics"]["recall@10"] > 0:
            result[f"gain_over_{model}"] = own / found["metrics"]["recall@10"] - 1
    return numbers(result)


def door_metrics(doors: Doors) -> dict[str, float]:
    """What search by words and by picture reached on what was held out, such as search/exact_recall_at_10."""
    return numbers({f"{name}/{figure}": value for name, door in (("search", doors.search), ("pictures", doors.pictures))
                    for figure, value in door.figures.items()})


def data_inputs(evaluated: Evaluated) -> list[DataInput]:
    """The three parts of the snapshot that the retrain used, named after the source."""
    snapshot = evaluated.trained.snapshot
    source = snapshot.ingested.source if snapshot.ingested else snapshot.path
    shop = source.rstrip("/").rsplit("/", 1)[-1]
    rows = {"train": snapshot.train_events, "valid": snapshot.valid_targets, "test": snapshot.test_targets}
    return [DataInput(part, f"{shop} {part}", snapshot.digest[:32], source, count) for part, count in rows.items()]


def stage_records(evaluated: Evaluated) -> list[StageRecord]:
    """The stages before this one, each with its settings, counts and timings where it wrote such files."""
    trained, snapshot = evaluated.trained, evaluated.trained.snapshot
    stages: dict[str, Artifact | None] = {
        "ingest": snapshot.ingested, "features": snapshot, "train": trained, "evaluate": evaluated,
    }
    records = []
    for name, artifact in stages.items():
        if artifact is None:  # the benchmark encodes a folder without a lake
            continue
        folder = Path(artifact.path)
        files = {part: flat(read_json(folder / f"{part}.json")) if (folder / f"{part}.json").exists() else {}
                 for part in ("settings", "timings")}
        own = numbers(artifact.model_dump(exclude={"metrics", "baselines"}))
        metrics = own
        if name == "evaluate":
            metrics |= numbers(evaluated.metrics)
        elif name == "train":
            metrics |= door_metrics(Doors.load(folder))
        # A list is one time a step, an epoch for example: together they are the stage's.
        spent = {n: sum(v) if isinstance(v, list) else v for n, v in files["timings"].items()}
        timings = {f"timing/{n}": v for n, v in numbers(spent).items()}
        records.append(StageRecord(name, files["settings"] | {"digest": artifact.digest}, metrics | timings))
    return records


def input_example(
    data: SnapshotData, item_inputs: npt.NDArray[np.float32], rows: int
) -> dict[str, npt.NDArray[np.generic]]:
    """The user tower's inputs for the first `rows` - 1 test queries and one shopper without any history."""
    queries = data.queries(TEST).part(0, rows - 1)
    log, spec = data.histories, data.spec
    histories = [History(log.item[a:b], log.time[a:b], log.type[a:b], log.weight[a:b])
                 for a, b in zip(queries.start, queries.end, strict=True)]
    histories.append(History(log.item[:0], log.time[:0], log.type[:0], log.weight[:0]))
    tokens = np.concatenate([data.user_tokens[queries.user], np.zeros((1, spec["user_slots"]), np.int32)])
    return encode(histories, np.append(queries.time, 0), tokens, item_inputs, Limits.of(spec))


def write_files(
    evaluated: Evaluated, metrics: Metrics, curves: list[Mapping[str, float]], data: SnapshotData, folder: Path
) -> None:
    """Figures and tables: what people read beside the numbers."""
    shutil.copy(Path(evaluated.path) / "metrics.json", folder / "metrics.json")
    for name, (header, rows) in {"baselines": comparison(metrics), "slices": slice_table(metrics)}.items():
        write_json(folder / f"{name}.json", {"columns": header, "data": rows})
        (folder / f"{name}.md").write_text(table(header, rows) + "\n", encoding="utf-8")
    shown = np.load(Path(evaluated.path) / "exposure.npy", allow_pickle=False)
    if shown.shape != (len(metrics), data.num_items):
        raise CorruptArtifact(
            f"{evaluated.path}/exposure.npy has shape {shown.shape} where {len(metrics)} models and {data.num_items} "
            "items make up the evaluation; run the evaluate stage again"
        )
    pictures = {
        "learning_curve": figures.learning_curve(curves, evaluated.trained.best_epoch),
        "recall_by_slice": figures.slice_recall({model: found["slices"] for model, found in metrics.items()}),
        "exposure": figures.exposure(data.item_counts, dict(zip(metrics, shown, strict=True))),
    }
    for name, figure in pictures.items():
        figures.save(figure, folder / "figures" / f"{name}.png")
