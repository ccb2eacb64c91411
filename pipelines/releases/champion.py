"""MLflow's alias `champion` follows the release log. It decides nothing: where it cannot move, the release stands."""

from pipelines.errors import TrackingError
from pipelines.progress import log
from pipelines.settings import Settings
from serving.store import Release


def follow(release: Release, places: Settings) -> bool:
    """Move the alias to the model version of `release`, and tag run and version; whether that was possible."""
    from pipelines import tracking

    try:
        tracking.promoted(release, places)
    except TrackingError as error:
        log.warning("release %d is live, but MLflow's alias champion does not follow it yet: %s; once MLflow answers, "
                    "run `vitrine follow`", release.number, error)
        return False
    return True


def refused(release: Release, message: str, places: Settings) -> None:
    """Tag run and version of a promotion that the store did not take, where MLflow can be reached."""
    from pipelines import tracking

    try:
        tracking.tag(release, {"vitrine.promotion_refused": message[:5000]}, places)
    except TrackingError as error:
        log.warning("the refusal stands in the store's log and not in MLflow: %s", error)
