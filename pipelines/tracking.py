"""MLflow, and the only module that knows it: one run a retrain, nested runs by stage, one model version.

Everything here may be repeated. Runs are found again by the tag `vitrine.key`, metrics carry the run's
start as their time (MLflow keeps one of equal points), artefacts overwrite themselves, and the model
version is looked up by its run before one is made. Aliases have no compare-and-set: they mirror the
release log and decide nothing.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow import entities
from mlflow.entities import Run
from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError

from pipelines.addresses import has_secrets, redacted, scrubbed
from pipelines.artifacts import digest_of
from pipelines.contracts import Registered, Verdict
from pipelines.errors import TrackingError
from pipelines.mlflow_place import artifact_root, reach
from pipelines.record import DataInput, ModelRecord, RetrainRecord, StageRecord, judgement, numbers, shown_tables, texts
from pipelines.saved_model import check_saved_model
from pipelines.settings import Settings
from serving.release import Release

# No process of Vitrine ever unpickles a model.
MLFLOW_ALLOW_PICKLE_DESERIALIZATION.set(False)  # type: ignore[no-untyped-call]

KEY = "vitrine.key"
RELEASE, BUNDLE = "vitrine.release", "vitrine.bundle_digest"
CHALLENGER, CHAMPION = "challenger", "champion"


@contextmanager
def connected(places: Settings) -> Iterator[MlflowClient]:
    """A client of the installation's MLflow, whose failures name the address and the remedy."""
    uri = places.mlflow_uri
    try:
        reach(uri)
        # A client's own address is not enough: the registry looks `models:/m-...` up at the process's.
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, SQLAlchemyError, TimeoutError, ConnectionError) as error:
        # A cause would show its own text, and with it the password that the address may hold.
        raise TrackingError(f"MLflow at {redacted(uri)} failed: {scrubbed(str(error), uri)}. See that it runs and that "
                            "MLFLOW_TRACKING_URI names it, then run this stage again: it resumes the run it began"
                            ) from (None if has_secrets(uri) else error)


def _experiment(client: MlflowClient, places: Settings) -> entities.Experiment:
    """The installation's experiment, made where missing."""
    if client.get_experiment_by_name(places.experiment) is None:
        client.create_experiment(places.experiment, artifact_root(places))
    found = client.get_experiment_by_name(places.experiment)
    if found is None or found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment {places.experiment!r} at {redacted(places.mlflow_uri)} was deleted; restore it "
            "(mlflow experiments restore -x ID) or set VITRINE_EXPERIMENT to another name"
        )
    return found


def identity(places: Settings) -> str:
    """What tells one MLflow store from another, whatever address it has today: part of the register key."""
    with connected(places) as client:
        return "{0.experiment_id} of {0.creation_time}".format(_experiment(client, places))  # milliseconds


@contextmanager
def _run(client: MlflowClient, experiment_id: str, key: str, name: str, parent: str | None = None) -> Iterator[Run]:
    """The run of `key`, resumed or made; FINISHED when the block ends, FAILED when it raises.

    A killed process leaves it RUNNING, and the retry finds and finishes it.
    """
    query = f"tags.`{KEY}` = '{key}'" + (f" and tags.`mlflow.parentRunId` = '{parent}'" if parent else "")
    tags = {KEY: key} | ({"mlflow.parentRunId": parent} if parent else {})

    def known() -> list[Run]:
        return list(client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"]))

    if not known():
        client.create_run(experiment_id, tags=tags, run_name=name)
    run = known()[0]  # also where two began at once: both go on with the same one
    client.update_run(run.info.run_id, status="RUNNING")
    try:
        yield run
    except BaseException:
        with suppress(MlflowException):  # where MLflow itself is away, its error is the one to hear of
            client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")


def _log(
    client: MlflowClient, run: Run, params: Mapping[str, Any], tags: Mapping[str, str],
    points: Sequence[tuple[int, Mapping[str, float]]], link: Mapping[str, str] | None = None,
) -> None:
    """Parameters, metrics by step and tags; `link` ties the metrics to a model and a data set."""
    run_id, time = run.info.run_id, run.info.start_time
    metrics = [entities.Metric(name, value, time, step, run_id=run_id, **(link or {}))
               for step, values in points for name, value in numbers(values).items()]
    settings = [entities.Param(name, value) for name, value in texts(params).items()]
    labels = [entities.RunTag(name, value) for name, value in tags.items()]
    # MLflow takes at most 1,000 metrics, 100 parameters and 100 tags at once. Of a model's metrics it takes any number,
    # but knows again, when a retry sends them once more, no more than 100.
    most = 1000 if link is None else 100
    for first in range(0, len(metrics), most):
        client.log_batch(run_id, metrics=metrics[first : first + most])
    for first in range(0, max(len(settings), len(labels)), 100):
        client.log_batch(run_id, params=settings[first : first + 100], tags=labels[first : first + 100])


def _data_set(data: DataInput) -> entities.DatasetInput:
    """Metadata only: the data are named by address and digest, never read a second time."""
    source, profile = json.dumps({"uri": data.uri}), json.dumps({"num_rows": data.rows})
    return entities.DatasetInput(entities.Dataset(data.name, data.digest, "local", source, profile=profile),
                                 [entities.InputTag("mlflow.data.context", data.context)])


def save_model(model: ModelRecord, path: Path, run_id: str | None = None, model_id: str | None = None) -> None:
    """Write `model` in MLflow's format: the SavedModel as it is, with no code and no pickle beside it.

    `mlflow.tensorflow.save_model` refuses a SavedModel on disk, and what it makes of a `tf.Module` takes a
    single array. Its loader, however, reads any SavedModel with a named signature, and that one takes
    inputs by name; this needs no TensorFlow to write.

    Raises:
        CorruptArtifact: the SavedModel could do more than compute; it is not let into the registry.
    """
    check_saved_model(model.saved_model)
    inputs = [TensorSpec(array.dtype, (-1, *array.shape[1:]), name) for name, array in model.example.items()]
    outputs = [TensorSpec(np.dtype(np.float32), (-1, model.width), model.output)]
    entry = Model(run_id=run_id, model_id=model_id)
    entry.add_flavor("tensorflow", saved_model_dir="saved_model", meta_graph_tags=["serve"],
                     signature_def_key="serving_default", code=None)
    mlflow.pyfunc.save_model(
        str(path), loader_module="mlflow.tensorflow", mlflow_model=entry,
        signature=ModelSignature(Schema([*inputs]), Schema([*outputs])), input_example=dict(model.example),
        # Left to itself MLflow would load the model in another process to guess them.
        pip_requirements=[f"mlflow=={installed('mlflow')}", *model.requirements],
    )
    shutil.copytree(model.saved_model, path / "saved_model")


def _logged_model(client: MlflowClient, run: Run, model: ModelRecord, tags: Mapping[str, str]) -> str:
    """Id of the run's logged model; one that a killed process left half uploaded is uploaded again."""
    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    logged = found[0] if found else client.create_logged_model(experiment_id, "two_tower", run_id, dict(tags))
    if str(logged.status) != "READY":
        with tempfile.TemporaryDirectory() as folder:
            save_model(model, Path(folder) / "model", run_id, logged.model_id)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    if outputs is None or not outputs.model_outputs:  # a second link breaks a constraint of MLflow's tables
        client.log_outputs(run_id, [entities.LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)


def _version(client: MlflowClient, name: str, model_id: str, run_id: str, record: RetrainRecord) -> str:
    """The one version of `run_id` under the registered model `name`, made where missing."""
    def known() -> list[int]:
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        return sorted(int(version.version) for version in versions)

    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    if not known():
        made = client.create_model_version(name, f"models:/{model_id}", run_id, {KEY: record.key, **record.tags},
                                           description=record.description, model_id=model_id)
        if int(made.version) != known()[0]:  # somebody registered the same run at the same moment
            client.delete_model_version(name, made.version)
    return str(known()[0])


def record_retrain(record: RetrainRecord, places: Settings) -> dict[str, str]:
    """Write `record` to MLflow, or finish what an earlier attempt began; returns the fields of `Registered`.

    Raises:
        TrackingError: MLflow cannot be reached or refuses.
    """
    with connected(places) as client:
        experiment_id = _experiment(client, places).experiment_id
        with _run(client, experiment_id, record.key, record.name) as run:
            run_id = run.info.run_id
            client.log_inputs(run_id, [_data_set(data) for data in record.inputs])
            model_id = _logged_model(client, run, record.model, record.tags)
            test = next(data for data in record.inputs if data.context == "test")
            link = {"model_id": model_id, "dataset_name": test.name, "dataset_digest": test.digest}
            shown = {"mlflow.note.content": record.description, **shown_tables(record.tables)}
            _log(client, run, record.params, {**record.tags, **shown}, [(0, record.metrics)], link)
            _log(client, run, {}, {}, record.curves)
            client.log_artifacts(run_id, str(record.files))
            for stage in record.stages:
                _stage(client, run, stage)
            version = _version(client, places.model_name, model_id, run_id, record)
            if record.is_challenger:
                client.set_registered_model_alias(places.model_name, CHALLENGER, version)
    return {"experiment_id": experiment_id, "run_id": run_id, "model_name": places.model_name, "model_version": version}


def require_run(registered: Registered, places: Settings) -> None:
    """Raise a TrackingError where MLflow no longer has the run or the model version of `registered`."""
    name, number = registered.model_name, registered.model_version
    with connected(places) as client:
        runs = client.search_runs([registered.experiment_id], f"attributes.run_id = '{registered.run_id}'")
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{registered.run_id}'")
    if not runs or number not in {str(version.version) for version in versions}:
        raise TrackingError(
            f"run {registered.run_id} or version {number} of {name} was deleted in MLflow at "
            f"{redacted(places.mlflow_uri)}; restore it (mlflow runs restore --run-id {registered.run_id}), or remove "
            f"{registered.path} and run the register stage again"
        )


def _log_stage(client: MlflowClient, run: Run, stage: StageRecord) -> None:
    _log(client, run, stage.params, stage.tags, [(0, stage.metrics), *stage.curve])
    for path in stage.artifacts:
        client.log_artifact(run.info.run_id, str(path))


def _stage(client: MlflowClient, parent: Run, stage: StageRecord) -> None:
    key = digest_of([parent.info.run_id, stage.name, texts(stage.params)])
    with _run(client, parent.info.experiment_id, key, stage.name, parent.info.run_id) as run:
        _log_stage(client, run, stage)


def stage_run(
    registered: Registered | Release, stage: str, params: Mapping[str, Any], metrics: Mapping[str, float],
    artifacts: Sequence[Path], places: Settings, tags: Mapping[str, str] | None = None,
) -> None:
    """Append the nested run of a later stage to a retrain's run.

    Stage and `params` are its identity: the same ones again resume the same nested run, so name in them
    what the stage worked on (a digest, a release number). `artifacts` are files or folders. Raises as
    `record_retrain` does, and so do the functions below.
    """
    with connected(places) as client:
        _stage(client, client.get_run(registered.run_id),
               StageRecord(stage, params, metrics, (), tags or {}, artifacts))


def search_run(study: StageRecord, trials: Sequence[StageRecord], places: Settings) -> str:
    """Write or go on with the run of a search of settings, and a nested run for each of `trials`; the run's id.

    Name and parameters are the identity of the study and of a trial. Raises as `record_retrain` does.
    """
    key = digest_of([study.name, texts(study.params)])
    with connected(places) as client, _run(client, _experiment(client, places).experiment_id, key, study.name) as run:
        _log_stage(client, run, study)
        for trial in trials:
            _stage(client, run, trial)
        return str(run.info.run_id)


def tag(registered: Registered | Release, tags: Mapping[str, str], places: Settings) -> None:
    """Tag the run and the model version, for example with {"vitrine.bundle_digest": ...}."""
    with connected(places) as client:
        for name, value in tags.items():
            client.set_tag(registered.run_id, name, value)
            client.set_model_version_tag(registered.model_name, registered.model_version, name, value)


def verdict(judged: Verdict, places: Settings) -> None:
    """The gate's answer: a nested run with each check's value, the documents, and a tag on run and version."""
    registered = judged.sealed.registered
    answer = {"vitrine.verdict": "accepted" if judged.accepted else "rejected", BUNDLE: judged.sealed.digest}
    stage_run(registered, "gate", *judgement(judged), (), places, answer)
    tag(registered, answer, places)
    with connected(places) as client:
        for path in sorted(Path(judged.path).glob("verdict.*")):
            client.log_artifact(registered.run_id, str(path))


def promoted(release: Release, places: Settings) -> None:
    """Let the alias `champion` follow `release` of the log, with tags; a late retry, of a lower number, is ignored."""
    name, own = release.model_name, release.model_version
    stage = {"promotion": "promote"}.get(release.cause, release.cause)
    stage_run(release, stage, {"release": release.number, "bundle": release.bundle}, {}, (), places)
    with connected(places) as client:
        champion = client.get_registered_model(name).aliases.get(CHAMPION, own)
        seen = [int(client.get_model_version(name, v).tags.get(RELEASE, -1)) for v in (own, champion)]
        if release.number >= max(seen):
            tag(release, {RELEASE: str(release.number), BUNDLE: release.bundle}, places)
            client.set_registered_model_alias(name, CHAMPION, own)
