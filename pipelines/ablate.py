"""Ablation of the training: each choice left out or changed by itself, as nested MLflow runs; may be killed and run
again.

A variant is a sealed folder named by snapshot and settings: what was measured once, in whichever ablation, is not
trained again, and a killed training goes on from its last checkpoint. Files of a variant:

    settings.json, curves.json  as of the train stage
    rank.npy                    int32 [answers] rank of each validation answer from 1, 0 where it is not among ten
    timings.json                "epoch_seconds", outside the digest
"""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models import metrics as m
from models.ranking import rank, sample
from pipelines import tracking
from pipelines.ablate_page import COLUMNS, Line, ablate_page, in_order
from pipelines.ablate_variants import Variant, built_in, chosen
from pipelines.artifacts import TIMINGS, digest_of, find, read_json, seal, stage_key, write_json
from pipelines.comparable import comparable_snapshot
from pipelines.contracts import Artifact, Origin, Snapshot
from pipelines.errors import DataError, SettingsError, VitrineError
from pipelines.progress import duration, log
from pipelines.record import StageRecord, shown_tables
from pipelines.retrain import RetrainParams
from pipelines.settings import Settings
from pipelines.snapshot import VALID, Queries, SnapshotData
from pipelines.study import RECALL
from pipelines.train_settings import TrainSettings

PLACE, K = "ablate", 10
SAMPLES = 1000  # resamplings behind each interval


class Measured(Artifact):
    """A variant, trained on train and measured on the validation questions."""

    metrics: dict[str, float]  # recall@10, ndcg@10, coverage@10, and new_item where a question has a new item
    epochs: int


class Train(Protocol):
    """A training: `models.training.fit`, but for what distributes it."""

    def __call__(self, data: SnapshotData, settings: TrainSettings, *, checkpoints: Path) -> Any:
        """Train; returns `models.training.Fitted`."""


@dataclass(frozen=True)
class Ablation:
    """An ablation whose variants are all measured."""

    name: str
    lines: list[Line]  # the highest recall first
    run_id: str


def ablate(
    params: RetrainParams, origin: Origin, places: Settings, own: Sequence[str] = (), train: Train | None = None
) -> Ablation:
    """Train the default and its variants, and write the table of what each choice is worth.

    Args:
        params: of the retrain whose training is taken apart; settings of `train` in it hold for the default and all
            variants.
        origin: who asked; goes into tags.
        places: of the shop.
        own: variants instead of the built-in ones, as `pipelines.ablate_variants.chosen` reads them.
        train: the training, unless it is the two towers'.

    Raises:
        DataError: the snapshot has no validation questions.
        SettingsError: a setting or a variant is wrong.
        TrackingError: MLflow cannot be reached or refuses; what was measured stays.
        VitrineError: the default's training failed. A variant that fails is left out of the table, with a warning.
    """
    base = params.of_stage("train", TrainSettings, refit=False)  # compared on valid: none of them is released
    variants = chosen(base, own) if own else []  # a wrong one is refused before anything is read
    snapshot = comparable_snapshot(params, origin, places)
    variants = variants or built_in(base, snapshot.items)
    identity = {"snapshot": snapshot.digest, "train": variants[0].fields,
                "variants": [variant.name for variant in variants]}
    record = _Record(f"{params.shop[:60]}-{digest_of(identity)[:12]}", identity, origin, places)
    laboratory = _Laboratory.of(snapshot, base, places.artifacts, train or _two_towers)
    tried: list[tuple[Variant, Measured]] = []
    failed: dict[str, str] = {}
    began, trained = time.monotonic(), 0
    for number, variant in enumerate(variants):
        is_known = laboratory.known(variant) is not None
        left = (time.monotonic() - began) / trained * (len(variants) - number) if trained else None
        log.info("ablate: variant %d of %d, %s%s", number + 1, len(variants), variant.name,
                 ": measured before" if is_known else "" if left is None else f", about {duration(left)} left")
        trained += not is_known
        try:
            tried.append((variant, laboratory.measured(variant)))
        except (DataError, SettingsError):
            raise  # true of every variant
        except VitrineError as error:
            if not variant.changes:
                raise
            log.warning("ablate: %s failed and is left out: %s", variant.name, error)
            failed[variant.name] = str(error)
        else:
            log.info("ablate: %s has valid recall@10 %.4f", variant.name, tried[-1][1].metrics[f"recall@{K}"])
        lines = _lines(tried, laboratory)
        run_id = record.write(tried, lines, laboratory.answers, len(variants) - number - 1, failed)
    return Ablation(record.name, in_order(lines), run_id)


def _two_towers(data: SnapshotData, settings: TrainSettings, *, checkpoints: Path) -> Any:
    from models import training
    from models.legacy_keras import tf

    tf.keras.backend.clear_session()  # or the graphs of all variants stay in memory
    return training.fit(data, settings, checkpoints=checkpoints)


@dataclass(frozen=True)
class _Laboratory:
    """Where variants are trained and measured: all on the same events and questions."""

    snapshot: Snapshot
    data: SnapshotData
    queries: Queries
    root: Path
    train: Train
    seed: int

    @property
    def answers(self) -> int:
        """(question, item) pairs behind each figure."""
        return len(self.queries.target_query)

    @classmethod
    def of(cls, snapshot: Snapshot, base: TrainSettings, root: Path, train: Train) -> "_Laboratory":
        data = SnapshotData.load(snapshot.path)
        queries = sample(data.queries(VALID), base.valid_targets, base.seed)
        return cls(snapshot, data, queries, root, train, base.seed)

    def _key(self, variant: Variant) -> str:
        asked = [len(self.queries), self.seed]  # the questions, which are the default's
        return stage_key(PLACE, self.snapshot.digest, self.snapshot.window, variant.fields, asked)

    def known(self, variant: Variant) -> Measured | None:
        """What was measured before; None where nothing was."""
        return find(Measured, self.root, PLACE, self._key(variant))

    def measured(self, variant: Variant) -> Measured:
        """Train and measure, unless that was done before."""
        key = self._key(variant)
        checkpoints = self.root / PLACE / ".checkpoints" / key[:20]

        def build(out: Path) -> dict[str, Any]:
            fitted = self.train(self.data, variant.settings, checkpoints=checkpoints)
            ranking = rank(fitted.members.current(), self.data, self.queries, k=K)
            figures = m.metrics(ranking.top, ranking.rank, self.data.num_items, [K])
            new = m.slices(ranking.rank, m.slice_masks(self.data, self.queries), K)["new_item"]
            np.save(out / "rank.npy", ranking.rank, allow_pickle=False)
            write_json(out / "settings.json", variant.settings)
            write_json(out / "curves.json", fitted.curves)
            write_json(out / TIMINGS, {"epoch_seconds": fitted.seconds})
            of_new = {"new_item": new[f"recall@{K}"]} if new["events"] else {}
            return {"metrics": figures | of_new, "epochs": len(fitted.curves)}

        found = seal(Measured, self.root, PLACE, key, build)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return found

    def difference(self, ours: Measured, theirs: Measured) -> tuple[float, float, float]:
        """Recall@10 of ours minus theirs, paired by answer: mean and 95 % interval over users."""
        ranks = [np.load(Path(each.path) / "rank.npy", allow_pickle=False) for each in (ours, theirs)]
        user = self.queries.user[self.queries.target_query]
        found = m.differences(ranks[0], ranks[1], user, [K], samples=SAMPLES, seed=self.seed)[f"recall@{K}"]
        return found["mean"], found["low"], found["high"]


def _lines(tried: Sequence[tuple[Variant, Measured]], laboratory: _Laboratory) -> list[Line]:
    """In the order of `tried`, whose first is the default."""
    default = tried[0][1]
    return [
        Line(variant.name, variant.about, found.metrics[f"recall@{K}"], found.metrics[f"ndcg@{K}"],
             found.metrics[f"coverage@{K}"], found.metrics.get("new_item"),
             laboratory.difference(found, default) if variant.changes else None, found.epochs,
             sum(read_json(Path(found.path) / TIMINGS)["epoch_seconds"]))
        for variant, found in tried
    ]


@dataclass(frozen=True)
class _Record:
    """The ablation in MLflow: one run with the table, and a nested run a variant for its view that compares them."""

    name: str
    identity: dict[str, Any]
    origin: Origin
    places: Settings

    def write(
        self, tried: Sequence[tuple[Variant, Measured]], lines: Sequence[Line], answers: int, left: int,
        failed: Mapping[str, str],
    ) -> str:
        """Write the ablation so far, with the nested run of the newest variant, at the end of all; the parent's run id.

        What was written before is not written twice; at the end all are, for MLflow may have been away.
        """
        nested = [_nested(variant, found, line) for (variant, found), line in zip(tried, lines, strict=True)]
        nested = nested[-1:] if left else nested
        with tempfile.TemporaryDirectory(prefix="vitrine-ablate-") as name:
            table, drawn = Path(name) / "ablation.json", Path(name) / "ablation.html"
            write_json(table, {"columns": list(COLUMNS), "data": [line.cells() for line in in_order(lines)]})
            drawn.write_text(ablate_page(self.name, answers, lines, left, failed), encoding="utf-8")
            tags = {"vitrine.ablation": self.name, "vitrine.actor": self.origin.actor,
                    **shown_tables(["ablation.json"])}
            if self.origin.git_revision:
                tags["mlflow.source.git.commit"] = self.origin.git_revision
            counts = {"variants": float(len(tried)), "variants_failed": float(len(failed))}
            parent = StageRecord(f"ablate {self.name}", self.identity, {}, [(len(tried) + len(failed), counts)], tags,
                                 [table, drawn])
            return tracking.search_run(parent, nested, self.places)


def _nested(variant: Variant, found: Measured, line: Line) -> StageRecord:
    curve = [(int(entry["epoch"]), {name: entry[name] for name in ("loss", RECALL)})
             for entry in read_json(Path(found.path) / "curves.json")]
    figures = {f"best_valid_{name}": value for name, value in found.metrics.items()}
    if line.difference:
        figures |= dict(zip(("difference", "difference_low", "difference_high"), line.difference, strict=True))
    figures |= {"train_seconds": line.seconds, "epochs": float(line.epochs)}
    return StageRecord(variant.name, variant.fields, figures, curve,
                       {"vitrine.variant": variant.name, "mlflow.note.content": variant.about})
