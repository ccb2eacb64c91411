"""A backtest of days of the toy shop, with a real MLflow: each sees its own past, and nothing is released."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.backtest import BacktestParams, Cutoff, measure, report
from pipelines.contracts import Origin
from pipelines.errors import SettingsError
from pipelines.figures import recall_over_time
from pipelines.settings import Settings
from serving.store import ReleaseStore
from tests.pipelines.test_replay import SETTINGS
from tests.world import write_world

FIRST, LAST = datetime(2026, 1, 21, tzinfo=UTC), datetime(2026, 1, 25, tzinfo=UTC)
ORIGIN = Origin(actor="tester", reason="does it hold?")


def test_cutoffs_roll_from_the_first_and_never_beyond_the_last() -> None:
    params = BacktestParams(source="/shop", first=FIRST, last=LAST, every_days=3, epochs=2)
    found = params.retrains()
    assert [one.as_of.day for one in found] == [21, 24]
    assert {(one.replay, one.epochs, one.source) for one in found} == {(True, 2, "/shop")}
    assert len(BacktestParams(source="/shop", first=FIRST, last=FIRST).retrains()) == 1
    with pytest.raises(SettingsError, match="exchange them"):
        BacktestParams(source="/shop", first=LAST, last=FIRST).retrains()


def cutoff(day: int, own: float, **others: float) -> Cutoff:
    figures = {"two_tower": own, **others}
    return Cutoff(as_of=FIRST + timedelta(days=day), training="t" * 64, evaluation="e" * 64, test_events=10,
                  metrics={name: {"recall@10": value, "ndcg@10": value / 2} for name, value in figures.items()})


@pytest.fixture
def places(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, artifacts=tmp_path / "artifacts", store=str(tmp_path / "store"),
                    mlflow_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_the_record_is_one_run_with_a_nested_one_a_day(places: Settings) -> None:
    params = BacktestParams(source="postgres://u:secret@db/shop", first=FIRST, last=LAST, every_days=2)
    # The days come in any order: mapped tasks end as they like.
    cutoffs = [cutoff(2, 0.4, als=0.2), cutoff(0, 0.2, als=0.1)]
    done = report(params, cutoffs, ORIGIN, places)
    assert report(params, cutoffs, ORIGIN, places).run_id == done.run_id
    client = MlflowClient(places.mlflow_uri)
    experiment = client.get_experiment_by_name(places.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "as of 2026-01-21", "as of 2026-01-23", "backtest 2026-01-21 to 2026-01-25"]
    parent = client.get_run(done.run_id)
    # (0.2 + 0.4) / 2 and (0.1 + 0.2) / 2
    assert parent.data.metrics["mean_recall_at_10"] == pytest.approx(0.3)
    assert parent.data.metrics["mean_als_recall_at_10"] == pytest.approx(0.15)
    history = client.get_metric_history(done.run_id, "recall_at_10")
    assert sorted((point.step, point.value) for point in history) == [(0, 0.2), (2, 0.4)]
    assert {file.path for file in client.list_artifacts(done.run_id)} == {"recall_over_time.png", "backtest.json"}
    table = json.loads(Path(client.download_artifacts(done.run_id, "backtest.json", str(places.home))).read_text())
    assert [row[:3] for row in table["data"]] == [
        ["2026-01-21", "two_tower", 0.2], ["2026-01-21", "als", 0.1],
        ["2026-01-23", "two_tower", 0.4], ["2026-01-23", "als", 0.2]]
    assert "secret" not in json.dumps(parent.to_dictionary())


def test_nothing_to_report_is_said(places: Settings) -> None:
    with pytest.raises(SettingsError, match="no cutoff to report"):
        report(BacktestParams(source="/shop", first=FIRST, last=LAST), [], ORIGIN, places)


def test_the_chart_has_a_line_a_model_with_gaps_where_it_was_missing() -> None:
    figure = recall_over_time([(FIRST, {"two_tower": 0.2, "als": 0.1}), (LAST, {"two_tower": 0.3})])
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["two-tower", "ALS"]
    assert [float(value) for value in lines[0].get_ydata()] == [0.2, 0.3]
    assert str(float(lines[1].get_ydata()[1])) == "nan"


def test_a_day_is_measured_on_its_own_past_and_found_again(tmp_path: Path, places: Settings) -> None:
    shop = write_world(tmp_path / "shop")
    params = BacktestParams(source=str(shop), first=FIRST, last=FIRST, settings=SETTINGS)
    one, = params.retrains()
    found = measure(one, ORIGIN, places)
    assert list(found.metrics) == ["two_tower", "popularity", "als", "itemknn", "ease"]
    assert found.as_of == FIRST and found.test_events > 0
    trainings = list((places.artifacts / "train").iterdir())
    assert measure(one, ORIGIN, places) == found
    assert list((places.artifacts / "train").iterdir()) == trainings
    # Nothing is registered, sealed or released.
    assert {path.name for path in places.artifacts.iterdir()} == {"ingest", "features", "train", "evaluate"}
    assert ReleaseStore(places.store).live() is None
