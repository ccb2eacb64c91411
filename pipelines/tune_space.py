"""What a search of training settings may choose, and how a choice becomes settings.

Ranges are around the defaults, which are part of every one of them: the first trial is the default.
"""

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from pipelines.errors import SettingsError
from pipelines.train_settings import TrainSettings

Space = Mapping[str, BaseDistribution]  # field of TrainSettings -> its range

SPACE: Space = {
    "dimension": IntDistribution(32, 192, step=32),
    "blocks": IntDistribution(0, 3),
    "dropout": FloatDistribution(0.1, 0.7, step=0.05),
    "id_dropout": FloatDistribution(0.0, 0.3, step=0.05),
    "learning_rate": FloatDistribution(5e-4, 8e-3, log=True),
    "average_decay": CategoricalDistribution((0.95, 0.98, 0.99)),
}


def searched(given: Mapping[str, Any]) -> Space:
    """The ranges of the fields that a person did not fix.

    Raises:
        SettingsError: nothing is left to search, or the number of members was given.
    """
    if "members" in given:
        raise SettingsError(f"train.members = {given['members']!r}: a search trains one member a trial, so that the "
                            "minutes go to settings; give members to `vitrine retrain`")
    left = {name: range_ for name, range_ in SPACE.items() if name not in given}
    if not left:
        raise SettingsError(f"all of {', '.join(SPACE)} are fixed by --set: leave out at least one to search it")
    return left


def of_default(space: Space) -> dict[str, Any]:
    """The defaults of the searched fields."""
    return {name: TrainSettings.model_fields[name].default for name in space}


def of_trial(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Chosen values as settings: fractions with three significant digits, which people can read and type."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in chosen.items()}


def as_document(space: Space) -> dict[str, Any]:
    """The ranges as JSON: other ranges are another study."""
    return {name: json.loads(distribution_to_json(range_)) for name, range_ in space.items()}


def as_options(values: Mapping[str, Any]) -> str:
    """Settings of the training as options of `vitrine retrain`."""
    return " ".join(f"--set train.{name}={json.dumps(value)}" for name, value in values.items())
