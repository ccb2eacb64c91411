"""docs/notebooks/compare_retrains.ipynb, cell by cell, on runs that `register` wrote."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts import write_json
from pipelines.contracts import Window
from pipelines.register import RegisterSettings, register
from pipelines.settings import Settings
from tests.register_world import METRICS, ORIGIN, numbers_of, write_evaluated, write_tower

TOLD = """
print(json.dumps({"recall": table["recall@10"].tolist(), "days": [f"{day:%m-%d}" for day in table["as of"]],
                  "differing": {name: values.tolist() for name, values in differing.items()},
                  "new items": by_slice.loc["new_items", "recall_at_10"].tolist(), "baselines": BASELINES,
                  "curves": [curve.tolist() for curve in curves.values()]}))
"""


@pytest.fixture
def places(tmp_path: Path) -> Settings:
    """MLflow with two retrains of the shop and a replay: of 10 December, of the 17th with other settings."""
    places = Settings(home=tmp_path, artifacts=tmp_path / "a", store=tmp_path / "s", experiment="three-items",
                      mlflow_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", model_name="three-items")
    first = write_evaluated(tmp_path, write_tower(tmp_path / "tower"))
    register(first, ORIGIN, RegisterSettings(), places, places.artifacts)

    later = first.trained.snapshot.model_copy(update={"window": Window(as_of=datetime(2011, 12, 17, tzinfo=UTC))})
    for name in ("trained", "evaluated"):
        shutil.copytree(tmp_path / name, tmp_path / f"{name}-later")
    write_json(tmp_path / "trained-later" / "settings.json", {"dimension": 4, "optimizer": {"rate": 0.1}})
    write_json(tmp_path / "evaluated-later" / "metrics.json", METRICS | {"two_tower": numbers_of(0.6, 0.25)})
    trained = first.trained.model_copy(update={
        "snapshot": later, "path": str(tmp_path / "trained-later"), "digest": "later"})
    second = first.model_copy(update={"trained": trained, "path": str(tmp_path / "evaluated-later")})
    register(second, ORIGIN, RegisterSettings(), places, places.artifacts)
    replayed = second.model_copy(update={"parent": 1, "key": "replay", "digest": "replay"})
    register(replayed, ORIGIN.model_copy(update={"cause": "backfill"}), RegisterSettings(), places, places.artifacts,
             is_replay=True)
    return places


def test_the_notebook_lays_retrains_side_by_side(repository: Path, places: Settings, tmp_path: Path) -> None:
    book = json.loads((repository / "docs" / "notebooks" / "compare_retrains.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell.get("outputs", []) == [] for cell in book["cells"])  # nobody's figures are committed
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join(["import json", *code, TOLD]), encoding="utf-8")
    environment = os.environ | {"MLFLOW_TRACKING_URI": places.mlflow_uri, "VITRINE_EXPERIMENT": places.experiment,
                                "MPLBACKEND": "Agg", "HOME": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-W", "ignore", str(script)], env=environment, capture_output=True,
                            text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    assert told == {
        "recall": [0.5, 0.6], "days": ["12-10", "12-17"], "differing": {"train.dimension": ["2", "4"]},
        "new items": [0.2, 0.25], "baselines": ["popularity", "als"], "curves": [[0.3, 0.4]] * 2}
