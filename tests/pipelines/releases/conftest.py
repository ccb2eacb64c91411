"""A shop with releases: three promotions of the arithmetic world, each better at the lowest rows or the highest."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import cli_releases
from pipelines.artifacts import seal, stage_key
from pipelines.cli import app
from pipelines.contracts import Origin, Verdict
from pipelines.gate import at_least
from pipelines.index import IndexSettings, index
from pipelines.promote import promote
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.release_world import AS_OF, ITEMS, item_arrays, make_registered, model_figures

Call = Callable[..., Result]


def reversed_prior() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Item vectors of the world whose prior is (row + 1) / 1000: the last item sells best."""
    vectors, _ = item_arrays()
    vectors[:, -1] = (np.arange(ITEMS, dtype=np.float32) + 1) / 1000
    return vectors


def judged(root: Path, places: Settings, accepted: bool = True, **world: Any) -> Verdict:
    """A verdict as the gate seals it, without the gate's trial."""
    sealed = index(make_registered(root, **world), IndexSettings(), places, root)
    check = at_least("recall@10", 0.2 if accepted else 0.001, 0.01, "absolute floor")

    def build(out: Path) -> dict[str, Any]:
        (out / "verdict.html").write_text("<p>recall@10</p>")
        return {"sealed": sealed, "accepted": accepted, "checks": (check,)}

    return seal(Verdict, root, "gate", stage_key("gate", sealed.digest, accepted), build)


@pytest.fixture
def of_shop(places: Settings) -> Settings:
    return places.of_shop("toy")


@pytest.fixture
def store(tmp_path: Path, of_shop: Settings) -> ReleaseStore:
    """Release 1; release 2 a week later with the prior turned round; release 3 with better figures on new users."""
    better = model_figures()
    better["two_tower"]["slices"]["new_user"]["recall@10"] = 0.15
    worlds: list[dict[str, Any]] = [
        {},
        {"vectors": reversed_prior(), "as_of": AS_OF + timedelta(days=7), "parent": 1, "champion": "c" * 64},
        {"metrics": better, "as_of": AS_OF + timedelta(days=14), "parent": 2, "champion": "c" * 64, "epochs": 3},
    ]
    for number, world in enumerate(worlds, start=1):
        verdict = judged(tmp_path / "artifacts", of_shop, **world)
        promote(verdict, Origin(actor=f"actor {number}", reason=f"week {number}"), False, of_shop)
    return open_store(of_shop)


@pytest.fixture
def call(places: Settings, store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run `vitrine` in this process, in the installation of `store`."""
    monkeypatch.setenv("VITRINE_HOME", str(places.home))
    monkeypatch.setenv("VITRINE_STORE", places.store)
    monkeypatch.setattr(cli_releases.console, "_width", 240)

    def run(*arguments: object, status: int = 0) -> Result:
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == status, result.output
        return result

    return run
