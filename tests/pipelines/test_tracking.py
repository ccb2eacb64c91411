"""MLflow's record, against a real SQLite store and a real server: made once, whatever is repeated or cut short."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from pipelines import tracking
from pipelines.contracts import Check, Evaluated, Registered, Sealed, Snapshot, Trained, Verdict, Window
from pipelines.errors import CorruptArtifact, TrackingError
from pipelines.record import DataInput, ModelRecord, RetrainRecord, StageRecord, flat, metric_name, numbers
from pipelines.settings import Settings
from serving.release import Release
from tests.served import free_port

WIDTH = 3


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user tower that anybody can compute: the visits summed, times [[1, 2, 3], [10, 20, 30]], plus the wait."""
    from models.legacy_keras import tf

    class Tower(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.kernel = tf.Variable([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 2], tf.float32, "visits"),
                                      tf.TensorSpec([None], tf.int32, "wait")])  # type: ignore[untyped-decorator]
        def serve(self, visits: tf.Tensor, wait: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"vector": tf.reduce_sum(visits, 1) @ self.kernel + tf.cast(wait, tf.float32)[:, None]}

    folder = tmp_path_factory.mktemp("tower") / "saved_model"
    tower = Tower()
    tf.saved_model.save(tower, str(folder), signatures={"serving_default": tower.serve})
    return folder


def make_places(home: Path, uri: str | None = None) -> Settings:
    return Settings(home=home, artifacts=home / "artifacts", store=home / "store",
                    mlflow_uri=uri or f"sqlite:///{home / 'mlflow.db'}")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_places(tmp_path_factory.mktemp("home") / "deep")


@pytest.fixture
def record(saved_model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> RetrainRecord:
    """A retrain of two epochs; each test has its own key, so that they can share one database."""
    # A folder of its own: the server of one test keeps what it is sent beside it.
    files = tmp_path / "files"
    files.mkdir()
    (files / "model_card.md").write_text("# A card\n")
    (files / "baselines.json").write_text('{"columns": ["model", "recall@10"], "data": [["two-tower", 0.5]]}')
    example = {"visits": np.full((2, 4, 2), 0.1, np.float32), "wait": np.array([0, 5], np.int32)}
    return RetrainRecord(
        key=request.node.name, name="retrain 2011-12-10", description="# A card",
        params={"train": {"rate": 0.1, "layers": [1, 2]}}, metrics={"recall_at_10": 0.5, "als_recall_at_10": 0.4},
        curves=[(1, {"loss": 3.0}), (2, {"loss": 2.0})], tags={"vitrine.dag_id": "retrain"},
        inputs=[DataInput(part, f"shop {part}", "d" * 32, "/data/shop", 7) for part in ("train", "valid", "test")],
        stages=[StageRecord("train", {"rate": 0.1}, {"epochs": 2.0})], files=files, tables=["baselines.json"],
        model=ModelRecord(saved_model, example, "vector", WIDTH, ["tensorflow==2.20.0"]),
    )


def client_of(places: Settings) -> MlflowClient:
    return MlflowClient(places.mlflow_uri, places.mlflow_uri)


def children(client: MlflowClient, written: dict[str, str]) -> list[mlflow.entities.Run]:
    query = f"tags.`mlflow.parentRunId` = '{written['run_id']}'"
    return list(client.search_runs([written["experiment_id"]], query))


def as_registered(written: dict[str, str], tmp_path: Path) -> Registered:
    artifact = {"path": str(tmp_path), "key": "k", "digest": "d"}
    snapshot = Snapshot(**artifact, window=Window(as_of=datetime(2011, 12, 10, tzinfo=UTC)), users=1, items=1, events=1,
                        train_events=1, valid_targets=1, test_targets=1)
    trained = Trained(**artifact, snapshot=snapshot, dimension=3, epochs=2, best_epoch=2, is_refit=False,
                      valid_recall_at_10=0.5)
    evaluated = Evaluated(**artifact, trained=trained, parent=None, champion=None, metrics={}, baselines={})
    return Registered(**artifact, evaluated=evaluated, **written)


def released(registered: Registered, number: int, bundle: str) -> Release:
    moment = datetime(2011, 12, 10, tzinfo=UTC)
    return Release(number=number, parent=number - 1, bundle=bundle * 32, training="a" * 64, verdict="b" * 64,
                   as_of=moment, actor="tester", reason="test", created_at=moment, metrics={},
                   run_id=registered.run_id, model_name=registered.model_name, model_version=registered.model_version)


def check_whole(places: Settings, record: RetrainRecord, written: dict[str, str]) -> None:
    """The record is there once, complete and ended."""
    client = client_of(places)
    run = client.get_run(written["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.rate": "0.1", "train.layers": "[1, 2]"}
    assert run.data.metrics["recall_at_10"] == 0.5
    assert [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "loss")] == [(1, 3.0), (2, 2.0)]
    assert len(client.get_metric_history(run.info.run_id, "recall_at_10")) == 1
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {"model_card.md", "baselines.json"}
    logged = client.search_logged_models([written["experiment_id"]], f"source_run_id = '{run.info.run_id}'")
    assert run.inputs and run.outputs and logged[0].metrics
    assert sorted((i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs) == [
        (f"shop {part}", "d" * 32, part) for part in ("test", "train", "valid")]
    assert len(run.outputs.model_outputs) == 1
    assert [(c.info.run_name, c.info.status) for c in children(client, written)] == [("train", "FINISHED")]
    versions = client.search_model_versions(f"name = 'vitrine' and run_id = '{run.info.run_id}'")
    assert [str(v.version) for v in versions] == [written["model_version"]]
    assert versions[0].tags["vitrine.dag_id"] == "retrain"
    assert str(client.get_model_version_by_alias("vitrine", "challenger").version) == written["model_version"]
    assert [str(model.status) for model in logged] == ["READY"]
    assert {m.key: m.dataset_name for m in logged[0].metrics} == {
        "recall_at_10": "shop test", "als_recall_at_10": "shop test"}


def check_answers(places: Settings, written: dict[str, str]) -> None:
    """The registered version loads from its alias with pickle forbidden, and answers what it must.

    Visits of ones: [4, 4] @ [[1, 2, 3], [10, 20, 30]] = [44, 88, 132]; a wait of 5 adds 5.
    """
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"].lower() == "false"
    model = mlflow.pyfunc.load_model(f"models:/vitrine/{written['model_version']}")
    answer = model.predict({"visits": np.ones((2, 4, 2), np.float32), "wait": np.array([0, 5], np.int32)})
    np.testing.assert_allclose(answer["vector"], [[44, 88, 132], [49, 93, 137]])
    with pytest.raises(mlflow.exceptions.MlflowException, match="visits"):
        model.predict({"wait": np.array([0], np.int32)})
    assert model.metadata.get_output_schema().input_names() == ["vector"]


def test_names_and_numbers() -> None:
    assert metric_name("recall@10") == "recall_at_10"
    assert metric_name("slice/price: 10€/x") == "slice/price_ 10_/x"
    values = {"a@1": 1, "b": float("nan"), "c": None, "d": "text", "e": True, "f": 0.5}
    assert numbers(values) == {"a_at_1": 1, "f": 0.5}
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_recording_twice_makes_one_run_and_one_version(places: Settings, record: RetrainRecord) -> None:
    written = tracking.record_retrain(record, places)
    assert tracking.record_retrain(record, places) == written
    check_whole(places, record, written)
    check_answers(places, written)


def test_many_slices_are_recorded_twice_as_well(places: Settings, record: RetrainRecord) -> None:
    """Of a model's metrics MLflow knows no more than 100 again when they come a second time in one batch."""
    many = replace(record, metrics={f"slice/s{number}/recall_at_10": number / 1000 for number in range(250)})
    written = tracking.record_retrain(many, places)
    assert tracking.record_retrain(many, places) == written
    (logged,) = client_of(places).search_logged_models([written["experiment_id"]],
                                                       f"source_run_id = '{written['run_id']}'")
    assert sorted((metric.key, metric.value) for metric in logged.metrics or []) == sorted(many.metrics.items())


def test_another_retrain_is_another_run_and_version(places: Settings, record: RetrainRecord) -> None:
    first = tracking.record_retrain(record, places)
    second = tracking.record_retrain(replace(record, key=record.key + " again"), places)
    assert first["run_id"] != second["run_id"]
    assert int(second["model_version"]) == int(first["model_version"]) + 1


class Unwritable:
    """A parameter whose writing fails: cuts a record short among its nested runs."""

    def __str__(self) -> str:
        raise OSError("no space left")


@pytest.mark.parametrize("cut", ["model", "stages"])
def test_a_run_cut_short_is_finished_by_the_retry(places: Settings, record: RetrainRecord, cut: str) -> None:
    """Cut while the model is logged and half of it is there, or later, when only the version is missing."""
    broken = {"model": replace(record, model=replace(record.model, saved_model=record.files / "gone")),
              "stages": replace(record, stages=[StageRecord("train", {"rate": Unwritable()}, {})])}
    with pytest.raises((OSError, CorruptArtifact), match=r"gone|no space left"):
        tracking.record_retrain(broken[cut], places)
    client = client_of(places)
    experiment = client.get_experiment_by_name(places.experiment)
    assert experiment is not None
    (begun,) = client.search_runs([experiment.experiment_id], f"tags.`vitrine.key` = '{record.key}'")
    assert begun.info.status == "FAILED"
    client.update_run(begun.info.run_id, status="RUNNING")  # as a process leaves it that had no time to say so
    written = tracking.record_retrain(record, places)
    assert written["run_id"] == begun.info.run_id
    check_whole(places, record, written)


def test_stage_runs_and_verdict_are_appended_once(places: Settings, record: RetrainRecord, tmp_path: Path) -> None:
    written = tracking.record_retrain(record, places)
    registered = as_registered(written, tmp_path)
    for name in ("verdict.json", "verdict.html"):
        (tmp_path / name).write_text("{}")
    sealed = Sealed(path="b", key="b", digest="bundle", registered=registered, kind="exact", recall=1.0, recall_k=10)
    checks = (Check(name="recall@10", passed=True, value=0.5, threshold=0.1, reason="0.5 is at least 0.1"),
              Check(name="answers", passed=True, value=None, threshold=None, reason="it answers"))
    judged = Verdict(path=str(tmp_path), key="v", digest="v", sealed=sealed, accepted=True, checks=checks)
    for _ in range(2):
        files = [tmp_path / "verdict.json"]
        tracking.stage_run(registered, "index", {"bundle": "b1"}, {"recall@10": 0.99}, files, places)
        tracking.verdict(judged, places)
    client = client_of(places)
    runs = {run.info.run_name: run for run in children(client, written)}
    assert sorted(run.info.run_name for run in children(client, written)) == ["gate", "index", "train"]
    assert runs["index"].data.metrics == {"recall_at_10": 0.99}
    assert [a.path for a in client.list_artifacts(runs["index"].info.run_id)] == ["verdict.json"]
    assert runs["gate"].data.metrics == {"recall_at_10": 0.5}
    assert runs["gate"].data.params["threshold.recall_at_10"] == "0.1"
    assert client.get_run(registered.run_id).data.tags["vitrine.verdict"] == "accepted"
    assert {"verdict.html", "verdict.json"} <= {a.path for a in client.list_artifacts(registered.run_id)}
    tracking.stage_run(registered, "index", {"bundle": "b2"}, {}, (), places)
    assert len(children(client, written)) == 4


def test_champion_follows_the_release_log_and_never_an_older_release(
    places: Settings, record: RetrainRecord, tmp_path: Path
) -> None:
    old, new = (as_registered(tracking.record_retrain(replace(record, key=f"champion {n}"), places), tmp_path)
                for n in (1, 2))
    client = client_of(places)

    def champion() -> str:
        return str(client.get_model_version_by_alias("vitrine", "champion").version)

    tracking.promoted(released(old, 41, "b1"), places)
    assert champion() == old.model_version
    tracking.promoted(released(new, 42, "b2"), places)
    tracking.promoted(released(old, 41, "b1"), places)  # a late retry
    assert champion() == new.model_version
    tracking.promoted(released(old, 43, "b1"), places)  # a rollback
    tracking.promoted(released(old, 41, "b1"), places)  # a very late retry keeps the newer number
    tracking.promoted(released(new, 42, "b2"), places)
    assert champion() == old.model_version
    assert client.get_run(old.run_id).data.tags["vitrine.release"] == "43"
    assert client.get_model_version("vitrine", old.model_version).tags["vitrine.bundle_digest"] == "b1" * 32


def test_a_deleted_run_is_named(places: Settings, record: RetrainRecord, tmp_path: Path) -> None:
    registered = as_registered(tracking.record_retrain(record, places), tmp_path)
    tracking.require_run(registered, places)
    client_of(places).delete_run(registered.run_id)
    with pytest.raises(TrackingError, match=f"run {registered.run_id}.*restore"):
        tracking.require_run(registered, places)
    with pytest.raises(TrackingError, match=r"version 999 of vitrine was deleted"):
        tracking.require_run(registered.model_copy(update={"model_version": "999"}), places)


def test_nobody_answers(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match=f"MLflow at {uri} failed.*MLFLOW_TRACKING_URI") as caught:
        tracking.identity(make_places(tmp_path, uri))
    assert caught.value.is_retryable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server that keeps the artefacts itself, as in production."""
    uri = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}",
         "--artifacts-destination", (tmp_path / "kept").as_uri(), "--serve-artifacts"],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=tmp_path, start_new_session=True,
        stdout=(log := (tmp_path / "server.log").open("w")), stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except (urllib.error.URLError, TimeoutError):
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.5)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def test_on_a_server(server: str, record: RetrainRecord, tmp_path: Path) -> None:
    places = make_places(tmp_path / "home", server)
    written = tracking.record_retrain(record, places)
    assert tracking.record_retrain(record, places) == written
    check_whole(places, record, written)
    check_answers(places, written)
    assert not (tmp_path / "home").exists()  # the server keeps everything
    table = json.loads(client_of(places).get_run(written["run_id"]).data.tags["mlflow.loggedArtifacts"])
    assert table == [{"path": "baselines.json", "type": "table"}]
