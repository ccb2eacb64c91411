"""Housekeeping: what `vitrine housekeeping` and the daily DAG do. Files first, MLflow last: what it needs may be away.

Nothing is removed that a release, a lease or a running stage needs; what each bound means stands in bounds.py. Killed
anywhere and run again it ends the same.
"""

from datetime import UTC, datetime

from pydantic import Field

from pipelines.contracts import Origin
from pipelines.housekeeping.bounds import Bounds, Housekept, Tidied
from pipelines.housekeeping.old_files import EXAMPLES, tidy_artifacts, tidy_logs
from pipelines.progress import log
from pipelines.releases.champion import follow
from pipelines.releases.collect import Keeping, collect, plan
from pipelines.releases.opening import open_store, shops
from pipelines.settings import Settings

SCHEDULED = "scheduled"  # cause of a run that Airflow's calendar began


class HousekeepingParams(Bounds):
    """What a person or a schedule decides about it.

    Attributes:
        dry_run: only say what would be done; None where a scheduled run does it, and any other only says so.
        reason: for the log.
    """

    dry_run: bool | None = None
    reason: str = Field("housekeeping", min_length=1)


def keep_house(params: HousekeepingParams, origin: Origin, places: Settings) -> Housekept:
    """Tidy up all shops of an installation.

    Args:
        params: bounds, and whether it is only said what would go.
        origin: who asks for it.
        places: of the installation.

    Raises:
        StoreUnreachable: the serving store cannot be read or written.
        TrackingError: MLflow cannot be reached; files are tidied by then.
    """
    now = datetime.now(UTC)
    is_dry_run = params.dry_run if params.dry_run is not None else origin.cause != SCHEDULED
    log.info("housekeeping: asked for by %s: %s", origin.actor, params.reason)
    found = [*tidy_artifacts(places.artifacts, params, now, is_dry_run),
             *tidy_logs(places.task_logs, params, now, is_dry_run)]
    known = shops(places)
    for shop in known:
        found.append(_bundles(shop, places.of_shop(shop), params, now, is_dry_run))
    for shop in known:
        found += _mlflow(shop, places.of_shop(shop), params, now, is_dry_run)
    for one in found:
        log.info("housekeeping: %s in %s: %s found, %s removed, %.1f MB", one.what, one.where, one.found, one.removed,
                 one.size / 1e6)
    return Housekept(is_dry_run=is_dry_run, tidied=tuple(found))


def _bundles(shop: str, places: Settings, bounds: Bounds, now: datetime, is_dry_run: bool) -> Tidied:
    store, keeping = open_store(places), Keeping(previous=bounds.keep_bundles, grace=bounds.grace)
    fates = plan(store, keeping, now)
    going = [fate for fate in fates if not fate.is_kept]
    removed = [] if is_dry_run else collect(store, fates, keeping, now)
    return Tidied(what="bundles", where=shop, found=len(going), removed=len(removed),
                  size=sum(fate.size for fate in going), examples=tuple(fate.bundle[:12] for fate in going[:EXAMPLES]))


def _mlflow(shop: str, places: Settings, bounds: Bounds, now: datetime, is_dry_run: bool) -> list[Tidied]:
    """Runs of killed processes are ended, and the alias champion goes where the release log says."""
    from pipelines import tracking_upkeep as tracking

    stale = tracking.stale_runs(places, datetime.fromtimestamp(now.timestamp() - bounds.run_hours * 3600, UTC))
    if not is_dry_run:
        tracking.end_runs(places, stale)
    live, champion = open_store(places).live(), tracking.champion(places)
    lags = live is not None and champion != live.model_version
    follows = 0
    if live is not None and lags and not is_dry_run:
        follows = int(follow(live, places))
    return [
        Tidied(what="stale MLflow runs", where=shop, found=len(stale), removed=0 if is_dry_run else len(stale),
               examples=tuple(stale[:EXAMPLES])),
        Tidied(what="lagging alias champion", where=shop, found=int(lags), removed=follows,
               examples=(f"{champion or 'none'} where {live.model_version} is live",) if live and lags else ()),
    ]
