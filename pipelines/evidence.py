"""What the evaluate stage measured, opened for a judgement: figures, and pairs of models on the same events."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from models.metrics import gains
from models.resampling import Paired
from pipelines import columns as c
from pipelines.artifacts import read_json, verify
from pipelines.errors import CorruptArtifact

CHALLENGER, CHAMPION = "two_tower", "champion"
K = 10
METRIC, COVERAGE, CHURN = f"recall@{K}", f"coverage@{K}", f"churn@{K}"

Models = Mapping[str, Mapping[str, Any]]  # metrics.json of the evaluate stage: model -> metrics, slices, intervals


@dataclass(frozen=True)
class Evidence:
    """An evaluation.

    Attributes:
        models: figures by model, as in metrics.json.
        pairs: model -> the challenger (ours) beside it (theirs) in METRIC, over all and by slice.
        shared: items that the first K of champion and challenger share [panel]; None without a champion.
    """

    models: Models
    pairs: Mapping[str, Paired]
    shared: npt.NDArray[np.int64] | None


def open_evidence(folder: Path, samples: int, seed: int) -> Evidence:
    """Open the folder of an evaluation, checked against its manifest.

    Args:
        folder: of the evaluate stage.
        samples, seed: of the resampling; one seed draws the same users for every pair.

    Raises:
        CorruptArtifact: a file is not what was sealed, or the files do not belong together.
    """
    verify(folder)
    models: Models = read_json(folder / "metrics.json")
    user = np.unique(pq.read_table(folder / "targets.parquet", columns=[c.USER]).column(0).to_numpy(),
                     return_inverse=True)[1]
    slices = np.load(folder / "slices.npy", allow_pickle=False)
    masks = dict(zip(read_json(folder / "slices.json"), slices, strict=True))
    gain = {}
    for name in models:
        rank = np.load(folder / f"rank_{name}.npy", allow_pickle=False)
        if rank.shape != user.shape:
            raise CorruptArtifact(f"{folder}: rank_{name}.npy has {len(rank):,} answers to {len(user):,} targets; "
                                  "remove the folder and run the evaluate stage again")
        gain[name] = gains(rank, [K])[METRIC]
    pairs = {name: Paired.of(gain[CHALLENGER], gain[name], user, masks, samples=samples, seed=seed)
             for name in models if name != CHALLENGER}
    path = folder / "shared.npy"
    return Evidence(models, pairs, np.load(path, allow_pickle=False) if path.exists() else None)
