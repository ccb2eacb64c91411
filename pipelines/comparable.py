"""What trainings are compared on: one snapshot with validation questions, in one process."""

from pipelines.contracts import Origin, Snapshot
from pipelines.errors import DataError, SettingsError
from pipelines.retrain import RetrainParams, check_settings, run_stage
from pipelines.settings import Settings


def comparable_snapshot(params: RetrainParams, origin: Origin, places: Settings) -> Snapshot:
    """The snapshot of the retrain that `params` describe; stages that were done before return at once.

    Raises:
        DataError: it has no validation questions.
        SettingsError: a setting is wrong, or this process is one of several workers.
    """
    check_settings(params)
    if places.cluster is not None:
        raise SettingsError("TF_CONFIG names several workers: trainings are compared in one process; unset it")
    snapshot = Snapshot.model_validate(
        run_stage("features", run_stage("ingest", None, params, origin, places), params, origin, places))
    if not snapshot.valid_targets:
        raise DataError(f"the snapshot {snapshot.path} has no validation questions, by which trainings are compared: "
                        "give a longer window")
    return snapshot
