"""What housekeeping asks of MLflow: where the alias stands, and runs that nobody will end any more."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.settings import Settings
from pipelines.tracking import CHAMPION, connected

_PAGE = 1000
_RUNNING = "attributes.status = 'RUNNING'"


def champion(places: Settings) -> str | None:
    """The model version of a shop under the alias champion; None where there is none.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with connected(places) as client:
        if not client.search_registered_models(f"name = '{places.model_name}'"):
            return None
        version = client.get_registered_model(places.model_name).aliases.get(CHAMPION)
        return None if version is None else str(version)


def stale_runs(places: Settings, before: datetime) -> list[str]:
    """Ids of a shop's runs that began before a moment and say that they are still running: their process was killed.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with connected(places) as client:
        experiment = client.get_experiment_by_name(places.experiment)
        if experiment is None:
            return []
        found, token = [], None
        while True:
            page = client.search_runs([experiment.experiment_id], _RUNNING, max_results=_PAGE, page_token=token)
            found += [run.info.run_id for run in page if run.info.start_time < before.timestamp() * 1000]
            token = page.token
            if not token:
                return found


def end_runs(places: Settings, run_ids: Sequence[str]) -> None:
    """Set runs to KILLED; a retry of what they are of resumes and finishes them all the same.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with connected(places) as client:
        for run_id in run_ids:
            client.set_terminated(run_id, "KILLED")
