"""The search of settings: played trainings for its decisions, and a real one through the command with a real MLflow."""

import fcntl
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from pipelines import tune as module
from pipelines.cli import app
from pipelines.contracts import Origin
from pipelines.errors import DataError, SettingsError, VitrineError
from pipelines.retrain import RetrainParams
from pipelines.settings import Settings
from pipelines.study import Outcome
from pipelines.train_settings import TrainSettings
from pipelines.tune import Budget, Found, Watch, best_trials, tune
from pipelines.tune_page import tune_page
from pipelines.tune_space import SPACE, as_options, of_default, of_trial, searched
from tests.world import BEGINS, DAYS, write_world

AS_OF = (BEGINS + pd.Timedelta(days=DAYS + 1)).to_pydatetime()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("shops") / "shop")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow database and one encoded shop for all: making them takes longer than all else here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def places(home: Path, request: pytest.FixtureRequest) -> Settings:
    """The experiment and the study have the test's name."""
    return Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                    mlflow_uri=f"sqlite:///{home / 'mlflow.db'}", experiment=request.node.name)


class Played:
    """A training of three epochs that never happens: the recall of epoch n is n / 10 times a factor of the trial.

    The factors are given in the order of the calls, so every curve is known by hand.
    """

    def __init__(self, *factors: float | BaseException) -> None:
        self.factors = list(factors)
        self.asked: list[TrainSettings] = []

    def __call__(self, settings: TrainSettings, checkpoints: Path, watch: Watch) -> Sequence[Mapping[str, float]]:
        factor = self.factors[len(self.asked)]
        self.asked.append(settings)
        curve = []
        for epoch in (1, 2, 3):
            if isinstance(factor, BaseException):
                raise factor
            curve.append({"epoch": epoch, "loss": 4.0 - epoch, "valid_recall@10": epoch / 10 * factor, "member": 1})
            watch(epoch, curve[-1])
        return curve


def run(shop: Path, places: Settings, fit: Played | None, trials: int, **given: Any) -> Found:
    params = RetrainParams(source=str(shop), as_of=AS_OF, settings={"train": given})
    budget = Budget(5, trials, startup=1, warmup=0)
    return tune(params, Origin(actor="anna"), places, budget, places.experiment, fit)


def runs(places: Settings) -> tuple[mlflow.entities.Run, dict[str, mlflow.entities.Run]]:
    """The parent and its children by name."""
    client = MlflowClient(places.mlflow_uri, places.mlflow_uri)
    experiment = client.get_experiment_by_name(places.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    children = [one for one in found if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(found) - 1
    return parent, {one.info.run_name: one for one in children}


def test_the_default_is_first_and_worse_trials_are_given_up(shop: Path, places: Settings) -> None:
    # After its first epoch the second trial has 0.05 where the first, the only finished one, had 0.1.
    played = Played(1.0, 0.5, 2.0)
    found = run(shop, places, played, 3, max_epochs=3)
    assert [(t.number, t.state, len(t.curve)) for t in found.trials] == [
        (0, "complete", 3), (1, "pruned", 1), (2, "complete", 3)]
    assert played.asked[0] == TrainSettings(members=1, max_epochs=3)
    assert (found.best.number, found.best.recall) == (2, pytest.approx(0.6))
    assert found.options == as_options({"max_epochs": 3, **found.best.settings})

    parent, children = runs(places)
    assert sorted(children) == ["trial 000", "trial 001", "trial 002"]
    assert {name: child.data.tags["vitrine.trial"] for name, child in children.items()} == {
        "trial 000": "complete", "trial 001": "pruned", "trial 002": "complete"}
    assert set(children["trial 000"].data.params) == set(SPACE)
    assert children["trial 000"].data.params["learning_rate"] == "0.002"
    client = MlflowClient(places.mlflow_uri, places.mlflow_uri)
    curve = client.get_metric_history(children["trial 002"].info.run_id, "valid_recall_at_10")
    assert [(p.step, p.value) for p in curve] == [(n, pytest.approx(n / 5)) for n in (1, 2, 3)]
    assert parent.data.metrics["best_valid_recall_at_10"] == pytest.approx(0.6)
    files = Path(client.download_artifacts(parent.info.run_id, ""))
    assert {path.name for path in files.iterdir()} == {
        "best_settings.json", "importance.json", "parallel_coordinates.html", "trials.json"}
    best = json.loads((files / "best_settings.json").read_text())["train"]
    assert TrainSettings(**best, members=1) == played.asked[2]
    page = (files / "parallel_coordinates.html").read_text()
    assert page.count("<polyline") == 3 and "http" not in page and "<script" not in page


def test_the_search_never_ends_below_the_default(shop: Path, places: Settings) -> None:
    found = run(shop, places, Played(1.0, 0.1, 0.2, 0.3), 4)
    assert found.best.settings == of_default(SPACE)
    assert [t.state for t in found.trials] == ["complete", "pruned", "pruned", "pruned"]


def test_a_second_call_goes_on_with_the_count(shop: Path, places: Settings) -> None:
    first = run(shop, places, Played(1.0, 1.1), 2)
    again = Played(1.2, 1.3)
    second = run(shop, places, again, 4)
    assert [t.number for t in second.trials] == [0, 1, 2, 3] and second.best.number == 3
    assert second.trials[:2] == first.trials and second.run_id == first.run_id
    settings = [tuple(t.settings.items()) for t in second.trials]
    assert len(set(settings)) == 4  # the sampler does not draw its first trials a second time
    assert sorted(runs(places)[1]) == [f"trial 00{n}" for n in range(4)]
    assert run(shop, places, Played(), 4).best == second.best  # nothing is left to do


def test_a_killed_trial_is_asked_again_under_its_number(shop: Path, places: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(shop, places, Played(1.0, KeyboardInterrupt()), 3)
    again = Played(1.1, 1.2)
    found = run(shop, places, again, 3)
    assert [(t.number, t.state) for t in found.trials][:2] == [(0, "complete"), (1, "complete")]
    assert len(found.trials) == 3 and len(again.asked) == 2
    assert len(runs(places)[1]) == 3


def test_a_killed_default_is_still_the_first_to_end(shop: Path, places: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(shop, places, Played(KeyboardInterrupt()), 1)
    again = Played(1.0)
    found = run(shop, places, again, 1)
    assert again.asked == [TrainSettings(members=1)] and found.best.number == 0


def test_the_minutes_end_a_trial_which_then_goes_on(
    shop: Path, places: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            cls.now += 100  # seconds; five minutes are over at the fourth look, after the second epoch
            return cls.now

    with monkeypatch.context() as patch:
        patch.setattr(module, "time", Clock)
        with pytest.raises(VitrineError, match=r"5 minutes were too few.*after epoch 2\. Run the same command"):
            run(shop, places, Played(1.0, 1.0, 1.0), 3)
    found = run(shop, places, Played(1.0), 1)
    assert [(t.number, t.state) for t in found.trials] == [(0, "complete")]


def test_a_diverged_trial_does_not_end_the_search(shop: Path, places: Settings) -> None:
    found = run(shop, places, Played(1.0, VitrineError("the loss became nan"), 1.5), 3)
    assert [t.state for t in found.trials] == ["complete", "failed", "complete"]
    assert runs(places)[1]["trial 001"].data.tags["vitrine.trial"] == "failed"
    # What is wrong with the data is wrong in every trial.
    with pytest.raises(DataError, match="no questions"):
        run(shop, places, Played(DataError("no questions")), 4)


def test_no_whole_trial_is_said_with_its_reason(shop: Path, places: Settings) -> None:
    with pytest.raises(VitrineError, match="none of 1 trials came to its end; the last one said: the loss became nan"):
        run(shop, places, Played(VitrineError("the loss became nan")), 1)


def test_a_study_of_something_else_is_refused(shop: Path, places: Settings) -> None:
    run(shop, places, Played(1.0), 1)
    with pytest.raises(SettingsError, match=rf"study {places.experiment} .* is of other data.*--study"):
        run(shop, places, Played(1.0), 2, dimension=32)
    with (places.artifacts / "tune" / f"{places.experiment}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(VitrineError, match="another process works on the study"):
            run(shop, places, Played(1.0), 2)


def test_wrong_budgets_and_names_are_refused(shop: Path, places: Settings) -> None:
    for minutes in (0, -1, math.nan, math.inf):
        with pytest.raises(SettingsError, match="--minutes"):
            Budget(minutes)
    with pytest.raises(SettingsError, match="--trials 0"):
        Budget(1, 0)
    params = RetrainParams(source=str(shop), as_of=AS_OF)
    with pytest.raises(SettingsError, match=r"--study '\.\./x'"):
        tune(params, Origin(), places, Budget(1), "../x", Played())


def test_a_window_without_validation_is_a_data_error(shop: Path, places: Settings) -> None:
    params = RetrainParams(source=str(shop), as_of=AS_OF, window_days=1)
    with pytest.raises(DataError):
        tune(params, Origin(), places, Budget(1), None, Played())


def test_what_is_fixed_is_not_searched() -> None:
    assert set(searched({"dimension": 8, "max_epochs": 2})) == set(SPACE) - {"dimension"}
    with pytest.raises(SettingsError, match=r"all of .* are fixed"):
        searched(dict.fromkeys(SPACE, 1))
    with pytest.raises(SettingsError, match=r"train\.members = 3"):
        searched({"members": 3})


def test_the_default_lies_within_every_range() -> None:
    for name, value in of_default(SPACE).items():
        assert SPACE[name]._contains(SPACE[name].to_internal_repr(value)), name
    assert of_trial({"learning_rate": 0.00123456, "blocks": 2}) == {"learning_rate": 0.00123, "blocks": 2}
    assert as_options({"dimension": 96, "dropout": 0.3}) == "--set train.dimension=96 --set train.dropout=0.3"


def test_the_page_draws_a_trial_at_its_heights() -> None:
    """Axes are 300 px high from y = 40; 1 of 1 .. 100 is at the foot, 10 in the midst of a logarithmic axis."""
    trials = [{"number": n, "state": "complete", "settings": {"rate": rate, "same": 2}, "valid_recall@10": recall}
              for n, (rate, recall) in enumerate([(1, 0.1), (10, 0.2), (100, 0.3)])]
    page = tune_page("a <study>", trials, 2, ["rate"])
    for points in ("60,340.0 190,190.0 320,340.0", "60,190.0 190,190.0 320,190.0", "60,40.0 190,190.0 320,40.0"):
        assert f'points="{points}"' in page
    assert "a &lt;study&gt;" in page and "a <study>" not in page


def test_the_best_trials_are_legible_on_a_narrow_screen() -> None:
    names = {"dimension": 160, "blocks": 2, "dropout": 0.35, "id_dropout": 0.05, "learning_rate": 0.00243,
             "average_decay": 0.98}
    trial = Outcome(123, "complete", names, [{module.RECALL: 0.0451, "loss": 1.0}] * 12)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(best_trials(Found("s", [trial], trial, "", "r")))
    *heading, line = [row for row in capture.get().splitlines() if any(c.isalnum() for c in row)]
    assert line.split() == ["123", "0.0451", "12", "160", "2", "0.35", "0.05", "0.00243", "0.98"]
    words = " ".join(heading).split()
    assert {"trial", "recall", "epochs", "dimension", "blocks", "dropout", "learning", "rate", "decay"} <= set(words)


def test_the_command_searches_by_real_trainings(
    shop: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VITRINE_ARTIFACTS", "VITRINE_STORE", "VITRINE_EXPERIMENT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRINE_HOME", str(home))
    fixed = [word for pair in ("dimension=8", "blocks=0", "max_epochs=2", "steps=2") for word in
             ("--set", f"train.{pair}")]
    answer = CliRunner().invoke(app, ["tune", "--data", str(shop), "--trials", "3", *fixed],
                                env={"TERMINAL_WIDTH": "200"}, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    line = answer.output.splitlines()[-1]
    assert line.startswith(f"vitrine retrain --data {shop} --set train.dimension=8 --set train.blocks=0")
    assert "Best of 3" in answer.output and "--set train.learning_rate=" in line
    assert not list((home / "artifacts" / "tune").glob(".*/*"))  # no checkpoint is left behind
