"""Search of the training's settings on one snapshot, as nested MLflow runs; may be killed and run again."""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from rich.box import SIMPLE
from rich.table import Table

from pipelines import study as studies
from pipelines import tracking
from pipelines.artifacts import digest_of, write_json
from pipelines.comparable import comparable_snapshot
from pipelines.contracts import Origin, Snapshot
from pipelines.errors import DataError, SettingsError, VitrineError
from pipelines.progress import duration, log
from pipelines.record import StageRecord, shown_tables
from pipelines.retrain import RetrainParams
from pipelines.settings import Settings
from pipelines.snapshot import SnapshotData
from pipelines.study import RECALL, Outcome
from pipelines.train_settings import TrainSettings
from pipelines.tune_page import tune_page
from pipelines.tune_space import Space, as_document, as_options, of_default, of_trial, searched

Watch = Callable[[int, Mapping[str, float]], None]
# Settings, folder of checkpoints and what is told each epoch -> one entry of the curves an epoch.
Fit = Callable[[TrainSettings, Path, Watch], Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class Budget:
    """How long a search may take, and how it gives trials up.

    Attributes:
        minutes: for this call, reading and encoding the data included; held to within an epoch.
        trials: the study ends with so many, those of earlier calls included; None for as many as there is time for.
        startup: none is pruned before so many trials are complete.
        warmup: none is pruned in its first epochs, so many.
    """

    minutes: float
    trials: int | None = None
    startup: int = 4
    warmup: int = 4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise SettingsError(f"--minutes {self.minutes}: give a number above 0; a trial takes as long as a training")
        if self.trials is not None and self.trials < 1:
            raise SettingsError(f"--trials {self.trials}: give at least 1; the first trial is the default")


@dataclass(frozen=True)
class Found:
    """What a search has found so far."""

    study: str
    trials: list[Outcome]
    best: Outcome
    options: str  # of `vitrine retrain`
    run_id: str


class _OutOfTime(Exception):
    """The call's minutes are over; the trial goes on in the next call."""


def tune(
    params: RetrainParams, origin: Origin, places: Settings, budget: Budget, name: str | None = None,
    fit: Fit | None = None,
) -> Found:
    """Search the settings that `params` leaves open, for the best validation recall@10 of one member.

    Args:
        params: of the retrain whose snapshot is searched on; settings of `train` in it are fixed.
        origin: who asked; goes into tags.
        places: of the shop.
        budget: of this call.
        name: of the study; None for one that follows from snapshot, fixed settings and ranges.
        fit: the training, unless it is the two towers'.

    Raises:
        DataError: the snapshot has no validation events.
        SettingsError: a setting or the name is wrong, or the study is of something else.
        TrackingError: MLflow cannot be reached or refuses.
        VitrineError: no trial came to its end.
    """
    deadline = time.monotonic() + 60 * budget.minutes
    given = dict(params.settings.get("train", {}))
    space = searched(given)
    base = params.of_stage("train", TrainSettings, members=1)
    snapshot = comparable_snapshot(params, origin, places)
    identity = {"snapshot": snapshot.digest, "train": base.model_dump(mode="json"), "space": as_document(space)}
    name = name or f"{params.shop[:60]}-{digest_of(identity)[:12]}"
    root = places.artifacts / "tune"
    fixed = {field: getattr(base, field) for field in given}
    default = of_default(space)
    with studies.opened(root, name, identity, default, base.seed, budget.startup, budget.warmup) as study:
        search = _Search(study, space, base, fit or _two_towers(snapshot), root / f".{name}", deadline)
        record = _Record(study, fixed, identity, origin, places)
        search.run(budget, record)
        if (best := best_of(studies.outcomes(study))) is None:
            raise VitrineError(_untold(study, budget))
        return Found(name, studies.outcomes(study), best, as_options({**fixed, **best.settings}), record.write())


def best_of(trials: Sequence[Outcome]) -> Outcome | None:
    """The complete trial of the highest recall; of equal ones the earliest."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return max(complete, key=lambda trial: trial.recall or 0.0, default=None)


def _untold(study: optuna.Study, budget: Budget) -> str:
    trials = studies.outcomes(study)
    if trials:
        errors = [str(trial.user_attrs[studies.ERROR]) for trial in study.trials if studies.ERROR in trial.user_attrs]
        return f"none of {len(trials)} trials came to its end; the last one said: {errors[-1] if errors else 'pruned'}"
    epochs = max((max(trial.intermediate_values, default=0) for trial in study.trials), default=0)
    return (f"{budget.minutes:g} minutes were too few for one whole trial: the first is after epoch {epochs}. Run the "
            "same command again, it goes on from there, or give more --minutes")


def _two_towers(snapshot: Snapshot) -> Fit:
    """The real training on a snapshot."""
    data = SnapshotData.load(snapshot.path)

    def fit(settings: TrainSettings, checkpoints: Path, watch: Watch) -> Sequence[Mapping[str, float]]:
        from models import training
        from models.legacy_keras import tf

        tf.keras.backend.clear_session()  # or the graphs of all trials stay in memory
        # Trials are compared on valid: none of them is released.
        own = settings.model_copy(update={"refit": False})
        return training.fit(data, own, watch=watch, checkpoints=checkpoints).curves

    return fit


@dataclass(frozen=True)
class _Search:
    """Trials one after the other."""

    study: optuna.Study
    space: Space
    base: TrainSettings
    fit: Fit
    scratch: Path
    deadline: float

    def run(self, budget: Budget, record: "_Record") -> None:
        """Trials until the minutes are over or there are enough."""
        while (done := len(studies.outcomes(self.study))) < (budget.trials or math.inf):
            left = self.deadline - time.monotonic()
            if left <= 0:
                break
            best = best_of(studies.outcomes(self.study))
            log.info("tune: %d trials done%s, %s left", done,
                     f", best valid recall@10 {best.recall:.4f} (trial {best.number})" if best else "", duration(left))
            if (number := self._trial()) is None:
                break
            record.write([trial for trial in studies.outcomes(self.study) if trial.number == number])

    def _trial(self) -> int | None:
        """One trial: its number, or None where the minutes were over before its end."""
        trial = self.study.ask(dict(self.space))
        number, reported = trial.user_attrs.get(studies.FIRST, trial.number), trial.user_attrs.get(studies.REPORTED, {})
        chosen = of_trial(trial.params)
        settings = TrainSettings(**{**self.base.model_dump(), **chosen})
        log.info("tune: trial %d%s: %s", number, " goes on" if reported else "", as_options(chosen))
        curve: dict[int, dict[str, float]] = {}
        for epoch, recall in reported.items():
            curve[int(epoch)] = {"epoch": int(epoch), RECALL: recall}
            trial.report(recall, int(epoch))

        def watch(epoch: int, entry: Mapping[str, float]) -> None:
            curve[epoch] = dict(entry)
            if str(epoch) not in reported:  # where the checkpoints are gone, epochs come a second time
                trial.report(entry[RECALL], epoch)
            if trial.should_prune() and not trial.user_attrs.get(studies.IS_DEFAULT):
                raise optuna.TrialPruned
            if time.monotonic() >= self.deadline:
                raise _OutOfTime

        checkpoints = self.scratch / digest_of(settings)[:20]
        try:
            curve = {int(entry["epoch"]): dict(entry) for entry in self.fit(settings, checkpoints, watch)}
            end: dict[str, Any] = {"values": max(entry[RECALL] for entry in curve.values())}
        except optuna.TrialPruned:
            end = {"state": TrialState.PRUNED}
        except _OutOfTime:
            log.info("tune: the minutes are over; trial %d goes on when the same command is run again", number)
            return None
        except (DataError, SettingsError):
            raise  # true of every trial
        except VitrineError as error:
            log.warning("tune: trial %d failed: %s", number, error)
            trial.set_user_attr(studies.ERROR, str(error))
            end = {"state": TrialState.FAIL}
        trial.set_user_attr(studies.CURVE, [curve[epoch] for epoch in sorted(curve)])
        told = self.study.tell(trial, **end)
        log.info("tune: trial %d %s after %d epochs%s", number, told.state.name.lower(), len(curve),
                 f", valid recall@10 {max(e[RECALL] for e in curve.values()):.4f}" if curve else "")
        shutil.rmtree(checkpoints, ignore_errors=True)
        return int(number)


@dataclass(frozen=True)
class _Record:
    """The search in MLflow: one run, with a nested run a trial for its view that compares them."""

    study: optuna.Study
    fixed: Mapping[str, Any]
    identity: Mapping[str, Any]
    origin: Origin
    places: Settings

    def write(self, newest: Sequence[Outcome] | None = None) -> str:
        """Write the search so far, with the nested runs of `newest` or of all trials; the parent's run id.

        What was written before is not written twice; at the end all are, for MLflow may have been away.
        """
        trials = studies.outcomes(self.study)
        best = best_of(trials)
        nested = [_nested(trial) for trial in (trials if newest is None else newest)]
        with tempfile.TemporaryDirectory(prefix="vitrine-tune-") as name:
            files = self._files(Path(name), trials, best) if best else []
            tags = {"vitrine.study": self.study.study_name, "vitrine.actor": self.origin.actor,
                    **shown_tables(["trials.json", "importance.json"])}
            if self.origin.git_revision:
                tags["mlflow.source.git.commit"] = self.origin.git_revision
            metrics = {"trials": float(len(trials))} | ({f"best_{RECALL}": best.recall or 0.0} if best else {})
            parent = StageRecord(f"tune {self.study.study_name}", self.identity, {}, [(len(trials), metrics)], tags,
                                 files)
            return tracking.search_run(parent, nested, self.places)

    def _files(self, folder: Path, trials: Sequence[Outcome], best: Outcome) -> list[Path]:
        rows = [{"number": t.number, "state": t.state, "settings": dict(t.settings), RECALL: t.recall} for t in trials]
        fields = list(best.settings)
        table = [[t.number, t.state, *(t.settings[f] for f in fields), t.recall, len(t.curve)] for t in trials]
        shares = studies.importance(self.study)
        logarithmic = [name for name, range_ in self.identity["space"].items() if range_["attributes"].get("log")]
        write_json(folder / "best_settings.json", {"train": {**self.fixed, **best.settings}})
        write_json(folder / "trials.json", {"columns": ["trial", "state", *fields, RECALL, "epochs"], "data": table})
        write_json(folder / "importance.json", {"columns": ["setting", "share"], "data": [*map(list, shares.items())]})
        (folder / "parallel_coordinates.html").write_text(
            tune_page(self.study.study_name, rows, best.number, logarithmic), encoding="utf-8")
        return sorted(folder.iterdir())


def _nested(trial: Outcome) -> StageRecord:
    curve = [(int(entry["epoch"]), {n: v for n, v in entry.items() if n in ("loss", RECALL)}) for entry in trial.curve]
    metrics = {} if trial.recall is None else {f"best_{RECALL}": trial.recall}
    return StageRecord(f"trial {trial.number:03d}", trial.settings, metrics, curve, {"vitrine.trial": trial.state})


def best_trials(found: Found, limit: int = 5) -> Table:
    """The best complete trials, legible on 80 columns: number, recall, epochs and settings."""
    complete = sorted((t for t in found.trials if t.state == "complete"), key=lambda t: -(t.recall or 0.0))
    table = Table(title=f"Best of {len(found.trials)} by recall@10 on valid", box=SIMPLE, padding=0, show_edge=False)
    for heading in ("trial", "recall", "epochs", *(name.replace("_", " ") for name in found.best.settings)):
        table.add_column(heading, justify="right", overflow="fold")
    for t in complete[:limit]:
        values = (json.dumps(value) for value in t.settings.values())
        table.add_row(str(t.number), f"{t.recall:.4f}", str(len(t.curve)), *values)
    return table
