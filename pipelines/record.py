"""What a retrain's record holds, as plain data: built by the register stage, written by `pipelines.tracking`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class DataInput:
    """One part of the data that a run used; `digest` has at most 36 characters."""

    context: str  # train, valid or test
    name: str
    digest: str
    uri: str
    rows: int


@dataclass(frozen=True)
class StageRecord:
    """A nested run: one stage with its settings and numbers."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ModelRecord:
    """A SavedModel with the signature `serving_default` and an example of its inputs.

    The first axis of every input and of the output is the batch; `width` is the output's last axis.
    """

    saved_model: Path
    example: Mapping[str, npt.NDArray[np.generic]]
    output: str
    width: int
    requirements: Sequence[str]


@dataclass(frozen=True)
class RetrainRecord:
    """Everything about one retrain. `key` names the work: a retry with the same key writes the same run."""

    key: str
    name: str
    description: str  # Markdown, shown with the run and the model version; MLflow holds 5,000 characters
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Sequence[tuple[int, Mapping[str, float]]]  # (epoch, values)
    tags: Mapping[str, str]
    inputs: Sequence[DataInput]
    stages: Sequence[StageRecord]
    files: Path  # folder whose content becomes the run's artefacts
    tables: Sequence[str]  # JSON tables among them ({"columns": [...], "data": [[...]]}), shown for comparison
    model: ModelRecord


def metric_name(name: str) -> str:
    """A name that MLflow accepts: recall@10 becomes recall_at_10, other odd characters become _."""
    return re.sub(r"[^\w\-./ ]", "_", name.replace("@", "_at_"))


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `values` under names that MLflow accepts; it cannot draw anything else."""
    return {
        metric_name(name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level: {"a": {"b": 1}} becomes {"a.b": 1}."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return result
