"""What a retrain's record holds, as plain data: built by the register stage, written by `pipelines.tracking`."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.contracts import Verdict


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
    """A nested run: one stage, or one trial of a search, with its settings and numbers."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    curve: Sequence[tuple[int, Mapping[str, float]]] = ()  # (epoch, values)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Sequence[Path] = ()  # files or folders


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
    is_challenger: bool = True  # whether its model version gets the alias


def judgement(judged: Verdict) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters (what was judged, and each check's threshold) and metrics (each check's value) of the gate's run."""
    thresholds = {check.name: check.threshold for check in judged.checks if check.threshold is not None}
    values = {check.name: check.value for check in judged.checks if check.value is not None}
    return {"verdict": judged.digest, "bundle": judged.sealed.digest, "threshold": thresholds}, values


def shown_tables(paths: Sequence[str]) -> dict[str, str]:
    """The tag by which MLflow shows the run's JSON tables ({"columns": [...], "data": [[...]]}) side by side."""
    return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"} for path in paths])}


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


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as MLflow's parameters: one level, names that it accepts, values as text."""
    return {metric_name(name): str(value) for name, value in flat(values).items()}
