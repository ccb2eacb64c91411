"""The state of a search on disk: an Optuna study in SQLite, which one process at a time goes on with.

Sampling by a tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
NeurIPS 2011); a trial below the median of the finished ones at the same epoch is given up (Golovin et al., "Google
Vizier", KDD 2017). A killed trial is marked failed, and its settings wait to be trained on.
"""

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.artifacts import digest_of
from pipelines.errors import SettingsError, VitrineError
from pipelines.tune_space import of_trial

FIRST, REPORTED, CURVE, ERROR, IS_DEFAULT = "first", "reported", "curve", "error", "is_default"
RECALL = "valid_recall@10"
_IDENTITY = "identity"


@dataclass(frozen=True)
class Outcome:
    """A trial that ended."""

    number: int  # of its first attempt
    state: str  # complete, pruned or failed
    settings: Mapping[str, Any]  # the searched fields
    curve: Sequence[Mapping[str, float]]  # one entry an epoch

    @property
    def recall(self) -> float | None:
        """Validation recall@10 of its best epoch; None where no epoch ended."""
        return max((entry[RECALL] for entry in self.curve), default=None)


@contextmanager
def opened(
    folder: Path, name: str, identity: Any, default: Mapping[str, Any], seed: int, startup: int, warmup: int
) -> Iterator[optuna.Study]:
    """The study `name` below `folder`, made where missing; its first trial is `default`.

    Args:
        folder: of all studies.
        name: of this one.
        identity: JSON of all that the trials have in common; a study of something else is refused.
        default: searched fields of the first trial.
        seed: of the sampler.
        startup: none is pruned before so many trials are complete.
        warmup: none is pruned in its first epochs, so many.

    Raises:
        SettingsError: the name has odd characters, or the study is of other data, settings or ranges.
        VitrineError: another process works on it.
    """
    if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
        raise SettingsError(f"--study {name!r}: use up to 100 letters, digits, '.', '_' and '-'")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise VitrineError(f"another process works on the study {name} in {folder}: wait for it, or choose "
                               "another name with --study") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder / f'{name}.db'}")
        try:
            study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True,
                                        pruner=optuna.pruners.MedianPruner(startup, warmup))
            if study.user_attrs.setdefault(_IDENTITY, digest_of(identity)) != digest_of(identity):
                raise SettingsError(f"the study {name} in {folder} is of other data, fixed settings or ranges, and "
                                    "its trials cannot be compared with new ones: choose another name with --study")
            study.set_user_attr(_IDENTITY, digest_of(identity))
            # With the same seed again, a resumed study would draw its first random trials a second time.
            study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
            requeue(study, default)
            if not any(trial.user_attrs.get(IS_DEFAULT) for trial in study.trials):
                study.enqueue_trial(dict(default), {IS_DEFAULT: True, FIRST: 0})
            yield study
            requeue(study, default)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def requeue(study: optuna.Study, default: Mapping[str, Any]) -> None:
    """Mark trials that nobody works on any more as failed, and let their settings wait for another attempt."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        # Killed at its very start, a trial has not all its values yet: the default's are known.
        params = dict(default) if trial.user_attrs.get(IS_DEFAULT) else trial.params
        reported = {**trial.user_attrs.get(REPORTED, {}), **{str(n): v for n, v in trial.intermediate_values.items()}}
        study.enqueue_trial(params, {**trial.user_attrs, FIRST: trial.user_attrs.get(FIRST, trial.number),
                                     REPORTED: reported})


def outcomes(study: optuna.Study) -> list[Outcome]:
    """All trials that ended, in the order of their numbers; those that were cut short are not among them."""
    return sorted((_outcome(trial) for trial in study.trials if is_over(trial)), key=lambda found: found.number)


def is_over(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or ERROR in trial.user_attrs


def _outcome(trial: FrozenTrial) -> Outcome:
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    return Outcome(trial.user_attrs.get(FIRST, trial.number), state, of_trial(trial.params),
                   trial.user_attrs.get(CURVE, []))


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of each searched field in what separates good trials from the others; empty below four whole trials.

    PED-ANOVA (Watanabe et al., IJCAI 2023). A rough figure: with a dozen trials it orders fields, no more.
    """
    if len(study.get_trials(states=(TrialState.COMPLETE,))) < 4:
        return {}
    return dict(optuna.importance.get_param_importances(study))
