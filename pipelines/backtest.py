"""What the retrain would have reached on each of many past days, beside the baselines: rolling origins.

Each cutoff is a retrain as of that day as far as its evaluation; nothing is registered, sealed or released. What was
done before on the same inputs is found, so that a backtest that was killed goes on, and a longer one adds its days.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.addresses import redacted
from pipelines.artifacts import write_json
from pipelines.contracts import Document, Evaluated, Origin, UtcTime
from pipelines.errors import SettingsError
from pipelines.progress import log
from pipelines.record import StageRecord, shown_tables
from pipelines.retrain import RetrainParams, run_stage
from pipelines.settings import Settings

MEASURED = ("ingest", "features", "train", "evaluate")
OWN, SHOWN = "two_tower", "recall@10"
CHART, TABLE = "recall_over_time.png", "backtest.json"
_COLUMNS = ("as_of", "model", "recall@10", "ndcg@10", "test_events")


class BacktestParams(Document):
    """What a person decides about a backtest.

    Attributes:
        source: folder or URL of the shop's tables.
        first, last: the first moment to retrain as of, and the last one allowed.
        every_days: from one to the next.
        window_days, epochs, spec, settings: of each retrain.
        reason: goes into the record.
    """

    source: str
    first: UtcTime
    last: UtcTime
    every_days: int = Field(7, ge=1)
    window_days: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    spec: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = {}
    reason: str = Field("backtest", min_length=1)

    def retrains(self) -> list[RetrainParams]:
        """The retrain of each cutoff, in order of time.

        Raises:
            SettingsError: the last moment is before the first.
        """
        if self.last < self.first:
            raise SettingsError(f"first {self.first} is after last {self.last}: exchange them")
        count = (self.last - self.first) // timedelta(days=self.every_days) + 1
        return [RetrainParams(
            source=self.source, as_of=self.first + number * timedelta(days=self.every_days), replay=True,
            spec=self.spec, window_days=self.window_days, epochs=self.epochs, settings=self.settings,
            reason=self.reason,
        ) for number in range(count)]


class Cutoff(Document):
    """What was reached as of a moment: model -> metric -> value, the two towers first."""

    as_of: UtcTime
    training: str  # digest
    evaluation: str  # digest
    test_events: int
    metrics: Mapping[str, Mapping[str, float]]


class Backtest(Document):
    """A backtest that was recorded; `run_id` is of its MLflow run, which holds chart and table."""

    run_id: str
    cutoffs: tuple[Cutoff, ...]


def measure(params: RetrainParams, origin: Origin, places: Settings) -> Cutoff:
    """Retrain as of one moment, as far as the evaluation.

    Raises:
        DataError: the source breaks the data contract, or has too few events before that moment.
    """
    contract: dict[str, Any] | None = None
    for stage in MEASURED:
        contract = run_stage(stage, contract, params, origin, places)
    found = Evaluated.model_validate(contract)
    log.info("backtest: as of %s recall@10 is %.4f", found.trained.snapshot.window.as_of, found.metrics[SHOWN])
    return Cutoff(as_of=params.as_of, training=found.trained.digest, evaluation=found.digest,
                  test_events=found.trained.snapshot.test_targets, metrics={OWN: found.metrics, **found.baselines})


def report(params: BacktestParams, cutoffs: Sequence[Cutoff], origin: Origin, places: Settings) -> Backtest:
    """Write the MLflow run of a backtest, with a nested run a cutoff; the same backtest again resumes the same run.

    Raises:
        TrackingError: MLflow cannot be reached or refuses.
        SettingsError: there is no cutoff to report.
    """
    from pipelines import tracking
    from pipelines.figures import recall_over_time, save

    if not cutoffs:
        raise SettingsError("there is no cutoff to report: choose a later last day")
    ordered = sorted(cutoffs, key=lambda one: one.as_of)
    identity = {"source": redacted(params.source), "first": params.first, "last": params.last,
                **params.model_dump(mode="json", include={"every_days", "window_days", "epochs", "spec", "settings"})}
    with tempfile.TemporaryDirectory(prefix="vitrine-backtest-") as name:
        chart, table = Path(name) / CHART, Path(name) / TABLE
        save(recall_over_time([(one.as_of, {model: found[SHOWN] for model, found in one.metrics.items()})
                               for one in ordered]), chart)
        write_json(table, {"columns": list(_COLUMNS), "data": [
            [f"{one.as_of:%Y-%m-%d}", model, found[SHOWN], found["ndcg@10"], one.test_events]
            for one in ordered for model, found in one.metrics.items()]})
        tags = {"vitrine.backtest": origin.reason, "vitrine.actor": origin.actor, "vitrine.cause": origin.cause,
                **shown_tables([TABLE])}
        if origin.git_revision:
            tags["mlflow.source.git.commit"] = origin.git_revision
        parent = StageRecord(
            f"backtest {params.first:%Y-%m-%d} to {params.last:%Y-%m-%d}", identity,
            {f"mean_{name}": value for name, value in _means(ordered).items()},
            # A step a day, so that MLflow's own charts have time on their axis.
            [((one.as_of - ordered[0].as_of).days, _named(one)) for one in ordered], tags, [chart, table])
        nested = [StageRecord(
            f"as of {one.as_of:%Y-%m-%d}", {"as_of": one.as_of, "training": one.training}, _named(one),
            tags={"vitrine.as_of": one.as_of.isoformat(), "vitrine.training_digest": one.training,
                  "vitrine.evaluation_digest": one.evaluation}) for one in ordered]
        run_id = tracking.search_run(parent, nested, places)
    return Backtest(run_id=run_id, cutoffs=tuple(ordered))


def _named(one: Cutoff) -> dict[str, float]:
    """All figures under one-line names, as the record of a retrain has them: the two towers' without a prefix."""
    return {(name if model == OWN else f"{model}_{name}"): value
            for model, found in one.metrics.items() for name, value in found.items()}


def _means(cutoffs: Sequence[Cutoff]) -> dict[str, float]:
    """Means over the cutoffs of every figure that all of them have."""
    named = [_named(one) for one in cutoffs]
    shared = set.intersection(*(set(one) for one in named))
    return {name: sum(one[name] for one in named) / len(named) for name in sorted(shared)}
