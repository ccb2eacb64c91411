"""The ablation: small real trainings on the toy shop, killed and failed ones among them, with a real MLflow."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from pipelines.ablate import Ablation, ablate
from pipelines.ablate_page import Line, ablate_page, row_texts
from pipelines.ablate_variants import built_in, chosen
from pipelines.cli import app
from pipelines.contracts import Origin
from pipelines.errors import SettingsError, VitrineError
from pipelines.retrain import RetrainParams
from pipelines.settings import Cluster, Settings
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings
from tests.world import BEGINS, DAYS, write_world

AS_OF = (BEGINS + pd.Timedelta(days=DAYS + 1)).to_pydatetime()
SMALL = {"dimension": 8, "blocks": 0, "members": 1, "max_epochs": 1, "steps": 2}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("shops") / "shop")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow database and one encoded shop for all; each test has settings, so trainings, of its own."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def places(home: Path, request: pytest.FixtureRequest) -> Settings:
    return Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                    mlflow_uri=f"sqlite:///{home / 'mlflow.db'}", experiment=request.node.name)


class Counted:
    """The real training, with what was asked of it; the n-th fault ends the n-th call, or that call's first epoch."""

    def __init__(self, *faults: BaseException | None, after_an_epoch: bool = False) -> None:
        self.faults, self.after_an_epoch, self.asked = list(faults), after_an_epoch, list[TrainSettings]()

    def __call__(self, data: SnapshotData, settings: TrainSettings, *, checkpoints: Path) -> Any:
        from models import training

        self.asked.append(settings)
        fault = self.faults[len(self.asked) - 1] if len(self.asked) <= len(self.faults) else None

        if fault is not None and not self.after_an_epoch:
            raise fault

        def watch(_: int, __: Mapping[str, float]) -> None:
            if fault is not None:
                raise fault

        return training.fit(data, settings, watch=watch, checkpoints=checkpoints)


def run(shop: Path, places: Settings, train: Counted, *variants: str, **given: Any) -> Ablation:
    params = RetrainParams(source=str(shop), as_of=AS_OF, settings={"train": {**SMALL, **given}})
    return ablate(params, Origin(actor="anna"), places, variants, train)


def runs(places: Settings) -> tuple[mlflow.entities.Run, dict[str, mlflow.entities.Run]]:
    """The parent and its children by name."""
    client = MlflowClient(places.mlflow_uri, places.mlflow_uri)
    experiment = client.get_experiment_by_name(places.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    return parent, {one.info.run_name: one for one in found if one.info.run_id != parent.info.run_id}


def test_each_variant_is_measured_against_the_default(shop: Path, places: Settings) -> None:
    train = Counted()
    found = run(shop, places, train, "dropout=0.1", "blocks=1,dimension=4", seed=1)
    default = TrainSettings(**SMALL, seed=1, refit=False)
    assert train.asked == [default, default.model_copy(update={"dropout": 0.1}),
                           default.model_copy(update={"blocks": 1, "dimension": 4})]
    lines = {line.name: line for line in found.lines}
    assert list(lines) == sorted(lines, key=lambda name: -lines[name].recall)
    assert lines["default"].difference is None and len(lines) == 3
    for name in ("dropout=0.1", "blocks=1,dimension=4"):
        mean, low, high = lines[name].difference
        assert mean == pytest.approx(lines[name].recall - lines["default"].recall)
        assert low <= mean <= high
        assert lines[name].seconds > 0 and lines[name].epochs == 1

    parent, children = runs(places)
    assert parent.info.run_id == found.run_id and set(children) == set(lines)
    assert children["dropout=0.1"].data.params["dropout"] == "0.1"
    assert children["default"].data.params["dropout"] == "0.5"
    # The figures once more, from the ranks that were kept.
    ranks = {path.parent: np.load(path) for path in (places.artifacts / "ablate").glob("*/rank.npy")}
    for line in lines.values():
        figures = children[line.name].data.metrics
        assert figures["best_valid_recall_at_10"] == pytest.approx(line.recall)
        assert figures["best_valid_ndcg_at_10"] == pytest.approx(line.ndcg)
        assert any(np.isclose((rank > 0).mean(), line.recall)
                   and np.isclose(np.where(rank > 0, 1 / np.log2(np.maximum(rank, 1) + 1), 0).mean(), line.ndcg)
                   for rank in ranks.values())
    files = Path(MlflowClient(places.mlflow_uri, places.mlflow_uri).download_artifacts(found.run_id, ""))
    table = json.loads((files / "ablation.json").read_text())
    assert [row[0] for row in table["data"]] == list(lines) and table["columns"][5] == "difference"
    drawn = (files / "ablation.html").read_text()
    assert drawn.count("<circle") == 2 and "still to be trained" not in drawn and "http" not in drawn


def test_what_was_measured_is_not_trained_again(shop: Path, places: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(shop, places, Counted(None, KeyboardInterrupt()), "dropout=0.1", seed=2)
    assert set(runs(places)[1]) == {"default"}
    again = Counted()
    found = run(shop, places, again, "dropout=0.1", seed=2)
    assert [settings.dropout for settings in again.asked] == [0.1]
    assert set(runs(places)[1]) == {"default", "dropout=0.1"}
    assert run(shop, places, Counted(AssertionError()), "dropout=0.1", seed=2) == found
    more = Counted()
    assert len(run(shop, places, more, "dropout=0.1", "dropout=0.2", seed=2).lines) == 3
    assert [settings.dropout for settings in more.asked] == [0.2]


def test_a_killed_training_goes_on_from_its_checkpoint(
    shop: Path, places: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(shop, places, Counted(KeyboardInterrupt(), after_an_epoch=True), "dropout=0.1", seed=3, max_epochs=2)
    with caplog.at_level(logging.INFO, "vitrine"):
        found = run(shop, places, Counted(), "dropout=0.1", seed=3, max_epochs=2)
    assert sum("resumed at epoch 2" in message for message in caplog.messages) == 1
    assert {line.epochs for line in found.lines} == {2}
    assert not list((places.artifacts / "ablate" / ".checkpoints").iterdir())


def test_a_variant_that_fails_is_told_and_left_out(shop: Path, places: Settings) -> None:
    train = Counted(None, VitrineError("the loss became nan"))
    found = run(shop, places, train, "learning_rate=0.9", seed=4)
    assert [line.name for line in found.lines] == ["default"] and len(train.asked) == 2
    files = Path(MlflowClient(places.mlflow_uri, places.mlflow_uri).download_artifacts(found.run_id, ""))
    assert "Failed: learning_rate=0.9: the loss became nan" in (files / "ablation.html").read_text()
    with pytest.raises(VitrineError, match="the loss became nan"):
        run(shop, places, Counted(VitrineError("the loss became nan")), "dropout=0.1", seed=5)


def test_one_of_several_workers_is_refused(shop: Path, places: Settings) -> None:
    several = places.model_copy(update={"cluster": Cluster(workers=("a:1", "b:2"), index=0)})
    with pytest.raises(SettingsError, match="TF_CONFIG"):
        run(shop, several, Counted(AssertionError()), "dropout=0.1")


def test_each_choice_is_taken_away_by_itself() -> None:
    base = TrainSettings()
    variants = built_in(base, 500)
    assert variants[0].settings == base and variants[0].name == "default"
    for variant in variants[1:]:
        changed = {name for name in TrainSettings.model_fields
                   if getattr(variant.settings, name) != getattr(base, name)}
        assert changed == set(variant.changes) and len(changed) == 1
    names = {name for variant in variants for name in variant.changes}
    assert names == {"seed", "members", "blocks", "dimension", "id_dropout", "calendar_dropout", "dropout",
                     "average_decay", "newcomer_budget", "full_softmax_below"}
    assert [variant.settings.dimension for variant in variants if "dimension" in variant.changes] == [32]
    # What is away already cannot be taken away; half of 6 is no multiple of 2 heads.
    left = {name for variant in built_in(TrainSettings(members=1, blocks=0, dimension=12, heads=4), 500)
            for name in variant.changes}
    assert names - left == {"members", "blocks", "dimension"}
    # Taken away is the softmax that the catalogue has.
    of_small, of_large = (built_in(base, items)[-1].settings.full_softmax_below for items in (10_000, 10_001))
    assert of_small < 10_000 and of_large >= 10_001


@pytest.mark.parametrize(("text", "said"), [
    ("dropout", "write FIELD=VALUE"), ("dropuot=1", "write FIELD=VALUE"), ("refit=true", "write FIELD=VALUE"),
    ("dropout=half", "'half' is no number"), ("dropout=1.5", r"dropout = 1\.5: Input should be less than 1"),
    ("dropout=0.5", "the same as the default"),
])
def test_a_wrong_variant_is_named(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"--variant {text}: .*{said}"):
        chosen(TrainSettings(), [text])


def test_own_variants_may_change_several_fields() -> None:
    default, other = chosen(TrainSettings(), ["dropout=0.3, blocks=1"])
    assert default.changes == {} and other.name == "dropout=0.3,blocks=1"
    assert other.settings == TrainSettings(dropout=0.3, blocks=1)


def test_the_page_draws_differences_on_one_axis() -> None:
    """260 px wide, 6 px free on each side: 0 is at 130 and the largest bound, 0.02, is 124 px from it."""
    lines = [
        Line("default", "all", 0.10, 0.05, 0.5, None, None, 3, 10.0),
        Line("a <b>", "worse", 0.09, 0.04, 0.4, 0.01, (-0.01, -0.02, -0.005), 3, 10.0),
        Line("c", "unsure", 0.105, 0.06, 0.6, 0.02, (0.005, -0.005, 0.015), 3, 1234.4),
    ]
    page = ablate_page("toy", 1234, lines, 2, {})
    assert page.index(">c<") < page.index(">default<") < page.index("a &lt;b&gt;") and "<b>" not in page
    assert '<line x1="6.0" x2="99.0"' in page and '<circle cx="68.0"' in page  # 130 - 124, - 31, - 62
    assert '<line x1="99.0" x2="223.0"' in page and '<circle cx="161.0"' in page
    assert "1,234 validation answers" in page and "2 variants are still to be trained" in page
    assert page.count('class="best"') == 1
    assert row_texts(lines[2]) == ["c", "0.1050", "0.0600", "0.0200", "0.6000", "+0.0050", "-0.0050 to +0.0150", "3",
                                   "1,234"]


def test_the_command_prints_the_table(shop: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VITRINE_ARTIFACTS", "VITRINE_STORE", "VITRINE_EXPERIMENT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRINE_HOME", str(home))
    fixed = [word for name, value in SMALL.items() for word in ("--set", f"train.{name}={value}")]
    answer = CliRunner().invoke(app, ["ablate", "--data", str(shop), "--variant", "dropout=0.1", *fixed],
                                env={"TERMINAL_WIDTH": "220", "COLUMNS": "220"}, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    assert "dropout=0.1" in answer.output and "MLflow run " in answer.output
    shown = CliRunner().invoke(app, ["ablate", "--help"], env={"TERMINAL_WIDTH": "200"}).output
    assert "Example: vitrine ablate " in shown
