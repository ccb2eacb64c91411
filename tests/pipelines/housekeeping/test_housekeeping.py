"""What is tidied and what is left alone, by age, with a real MLflow for its part."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.contracts import Origin
from pipelines.errors import TrackingError
from pipelines.housekeeping.bounds import Bounds, Housekept, Tidied
from pipelines.housekeeping.old_files import tidy_artifacts, tidy_logs
from pipelines.housekeeping.run import HousekeepingParams, keep_house
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.release import Release, sealed

NOW = datetime.now(UTC)
ORIGIN = Origin(actor="tester", cause="manual")
SHOP = "toy"


def written(path: Path, age: timedelta) -> Path:
    """A file in a folder, both last written so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x" * 100)
    moment = (NOW - age).timestamp()
    for one in (path, path.parent):
        os.utime(one, (moment, moment))
    return path.parent


def told(found: list[Tidied]) -> dict[str, tuple[int, int]]:
    return {one.what: (one.found, one.removed) for one in found}


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    root = tmp_path / "artifacts"
    for number, (name, age) in enumerate({
            "train/.attempt-old": 3, "train/.attempt-young": 1, "index/.removed-old": 3, "index/sealed": 400,
            "refresh/old": 3, "refresh/young": 1, "refresh/.attempt-old": 3, "train/.checkpoints/old/a": 20,
            "train/.checkpoints/young/a": 3}.items()):
        written(root / name / f"file{number}", timedelta(days=age))
    for one in ("old", "young"):  # the folder above was touched when the one below was made
        age = timedelta(days=20 if one == "old" else 3)
        os.utime(root / "train/.checkpoints" / one, ((NOW - age).timestamp(),) * 2)
    return root


def test_what_nobody_writes_any_more_goes_and_results_stay(artifacts: Path) -> None:
    before = sorted(artifacts.rglob("*"))
    looked = tidy_artifacts(artifacts, Bounds(), NOW, is_dry_run=True)
    assert told(looked) == {"orphaned attempts": (3, 0), "checkpoints": (1, 0), "refreshed catalogues": (1, 0)}
    assert looked[0].size == 300 and "train/.attempt-old" in looked[0].examples
    assert sorted(artifacts.rglob("*")) == before
    done = tidy_artifacts(artifacts, Bounds(), NOW, is_dry_run=False)
    assert told(done) == {"orphaned attempts": (3, 3), "checkpoints": (1, 1), "refreshed catalogues": (1, 1)}
    left = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("file*")}
    assert {path.rsplit("/", 1)[0] for path in left} == {
        "train/.attempt-young", "index/sealed", "refresh/young", "train/.checkpoints/young/a"}
    assert told(tidy_artifacts(artifacts, Bounds(), NOW, is_dry_run=False))["orphaned attempts"] == (0, 0)


def test_an_attempt_that_is_written_deep_inside_is_not_orphaned(artifacts: Path) -> None:
    inner = artifacts / "train/.attempt-old/saved_model/variables"
    inner.mkdir(parents=True)
    (inner / "variables.index").write_text("just now")
    os.utime(artifacts / "train/.attempt-old", ((NOW - timedelta(days=3)).timestamp(),) * 2)
    assert told(tidy_artifacts(artifacts, Bounds(), NOW, is_dry_run=False))["orphaned attempts"] == (2, 2)
    assert (inner / "variables.index").exists()


def test_logs_are_kept_for_their_days(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    written(logs / "dag_id=retrain/run_id=old/task_id=train/attempt=1.log", timedelta(days=40))
    written(logs / "dag_id=retrain/run_id=new/task_id=train/attempt=1.log", timedelta(days=5))
    assert told(tidy_logs(logs, Bounds(), NOW, is_dry_run=True)) == {"task logs": (1, 0)}
    assert told(tidy_logs(logs, Bounds(), NOW, is_dry_run=False)) == {"task logs": (1, 1)}
    assert [path.name for path in (logs / "dag_id=retrain").iterdir()] == ["run_id=new"]
    assert tidy_logs(None, Bounds(), NOW, is_dry_run=False) == []


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take a while to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def places(tmp_path: Path, empty_mlflow: Path) -> Iterator[Settings]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_mlflow, home / "mlflow.db")
    yield Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                   mlflow_uri=f"sqlite:///{home / 'mlflow.db'}")


@pytest.fixture
def client(places: Settings) -> MlflowClient:
    """Two model versions of a shop of which the second is live, and the alias champion on the first."""
    own, client = places.of_shop(SHOP), MlflowClient(places.mlflow_uri, places.mlflow_uri)
    experiment = client.create_experiment(own.experiment, (places.home / "mlruns").as_uri())
    client.create_registered_model(own.model_name)
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    for run in runs:
        client.create_model_version(own.model_name, f"file://{places.home}", run)
        client.set_terminated(run)
    client.set_registered_model_alias(own.model_name, "champion", "1")
    records = Path(own.store) / "releases"
    records.mkdir(parents=True)
    release = Release(number=1, parent=None, bundle="0" * 64, training="0" * 64, verdict="0" * 64, as_of=NOW, actor="a",
                      reason="r", created_at=NOW, metrics={}, run_id=runs[1], model_name=own.model_name,
                      model_version="2")
    (records / "00000001.json").write_bytes(sealed("release", release))
    return client


def kept(places: Settings, **params: object) -> Housekept:
    return keep_house(HousekeepingParams.model_validate(params), ORIGIN, places)


def champion(places: Settings, client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(places.of_shop(SHOP).model_name, "champion").version)


def test_the_alias_goes_where_the_release_log_says(places: Settings, client: MlflowClient) -> None:
    looked = kept(places, dry_run=True)
    lag = next(one for one in looked.tidied if one.what == "lagging alias champion")
    assert (lag.found, lag.removed, lag.examples) == (1, 0, ("1 where 2 is live",))
    assert champion(places, client) == "1"
    kept(places, dry_run=False)
    assert champion(places, client) == "2"
    again = next(one for one in kept(places, dry_run=False).tidied if one.what == "lagging alias champion")
    assert again.found == 0


def test_runs_of_killed_processes_are_ended_and_others_left(places: Settings, client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(places.of_shop(SHOP).experiment).experiment_id
    long_ago = int((time.time() - 3 * 86_400) * 1000)
    stale = client.create_run(experiment, start_time=long_ago).info.run_id
    young = client.create_run(experiment).info.run_id
    done = kept(places, dry_run=False)
    assert next(one for one in done.tidied if one.what == "stale MLflow runs").removed == 1
    assert [client.get_run(run).info.status for run in (stale, young)] == ["KILLED", "RUNNING"]


@pytest.mark.parametrize(("cause", "asked", "is_dry_run"), [
    ("scheduled", None, False), ("manual", None, True), ("cli", None, True), ("scheduled", True, True),
    ("manual", False, False)])
def test_only_the_daily_run_acts_unasked(
    places: Settings, cause: str, asked: bool | None, is_dry_run: bool
) -> None:
    orphan = written(places.artifacts / "train/.attempt-old/file", timedelta(days=3))
    done = keep_house(HousekeepingParams(dry_run=asked), Origin(cause=cause), places)
    assert done.is_dry_run is is_dry_run
    assert orphan.exists() is is_dry_run


def test_files_are_tidied_also_where_mlflow_is_away(places: Settings, client: MlflowClient) -> None:
    orphan = written(places.artifacts / "train/.attempt-old/file", timedelta(days=3))
    away = places.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"})
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        kept(away, dry_run=False)
    assert not orphan.exists()
    assert open_store(places.of_shop(SHOP)).numbers() == [1]
