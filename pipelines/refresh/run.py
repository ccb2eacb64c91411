"""A refresh of the catalogue from the item table to the release: the one place that knows the order of its steps."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from pipelines.contracts import Catalogue, Document, Origin, Refreshed, RefreshVerdict
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import CorruptArtifact, GateRejected, ReleaseConflict, SettingsError, TrackingError
from pipelines.progress import log
from pipelines.refresh.bundle import RefreshSettings, make_bundle
from pipelines.refresh.catalogue import TABLE, read_catalogue
from pipelines.refresh.gate import RefreshGate, judge
from pipelines.refresh.items import Base, present
from pipelines.releases.champion import follow
from pipelines.releases.opening import open_store
from pipelines.retrain import shop_of
from pipelines.settings import Settings
from pipelines.shop_spec import load_spec
from serving.bundle import Bundle
from serving.store import Release, ReleaseStore

TRIES = 3  # at a release log on which others write too


class RefreshParams(Document):
    """What a person or a schedule decides about a refresh.

    Attributes:
        source: folder, lake or URL of the shop's tables, of which the items are read; a URL may hold a password.
        spec: TOML file that overrides names, kinds and weights; as for the retrain.
        max_changed: part of the items that may differ from what is live.
        max_churn: part of the panel's first ten that may.
        dry_run: do everything but the release.
        reason: goes into the release record.
    """

    source: str
    spec: str | None = None
    max_changed: float = Field(RefreshGate().max_changed, ge=0, le=1)
    max_churn: float = Field(RefreshGate().max_churn, ge=0, le=1)
    dry_run: bool = False
    reason: str = Field("refresh", min_length=1)

    @property
    def shop(self) -> str:
        """Name of the shop."""
        return shop_of(self.source)


class RefreshOutcome(Document):
    """How a refresh ended.

    Attributes:
        status: "released"; "unchanged" where what is live has this very catalogue; "dry run".
        release: number of the live release, or of the one that a dry run would have made.
        bundle: its digest.
        items, added, changed, removed: of the catalogue, compared with the one that the model was promoted with.
        seconds: step -> how long it took in this call.
    """

    status: Literal["released", "unchanged", "dry run"]
    release: int
    bundle: str
    items: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: Mapping[str, float] = {}


def refresh_catalogue(params: RefreshParams, origin: Origin, places: Settings) -> RefreshOutcome:
    """Put the shop's present items under the model that is live. Run again, also after a kill, it ends the same.

    Where somebody releases meanwhile, it begins anew against what is live then: a retrain that came between is never
    undone, and its model is the one that is refreshed.

    Args:
        params: what is asked for.
        origin: who asks for it.
        places: of the installation.

    Raises:
        SettingsError: nothing is live, or it was made before there were refreshes.
        DataError: the item table breaks the data contract, or is no longer as the model was trained on it.
        GateRejected: the gate refused the bundle; what is live stays.
        ReleaseConflict: others released again and again meanwhile.
    """
    own = places.of_shop(params.shop)
    for left in reversed(range(TRIES)):
        try:
            return _once(params, origin, own, open_store(own))
        except ReleaseConflict as conflict:
            if not left:
                raise
            log.warning("refresh: %s; it begins anew", conflict)
    raise AssertionError("unreachable")


def _once(params: RefreshParams, origin: Origin, places: Settings, store: ReleaseStore) -> RefreshOutcome:
    watch = _Watch()
    live = store.live()
    if live is None:
        raise SettingsError(f"{store.root} has no release whose catalogue could be refreshed: `vitrine retrain` first")
    promoted = store.origin(live)
    exclusion = Exclusion(store.erasures)
    catalogue = read_catalogue(params.source, load_spec(params.source, params.spec), places.artifacts)
    watch.took("read")
    base = Base.open(Bundle.load(store.bundle_path(promoted.bundle), promoted.bundle))
    watch.took("open")
    items = present(base, pd.read_parquet(Path(catalogue.path) / TABLE))
    watch.took("embed")
    if live.bundle == promoted.bundle and items.is_of(base):
        log.info("refresh: release %d has the %s items of today already", live.number, f"{catalogue.items:,}")
        return RefreshOutcome(status="unchanged", release=live.number, bundle=live.bundle, items=catalogue.items,
                              seconds=watch.seconds)
    refreshed = make_bundle(base, promoted, catalogue, items, RefreshSettings(), exclusion, places.artifacts)
    watch.took("bundle")
    if refreshed.digest == live.bundle:
        if not store.shelf.holds(live.bundle):  # removed while a promoter slept; see ReleaseStore.commit
            store.add_bundle(Path(refreshed.path))
        log.info("refresh: release %d is the refresh of this catalogue already", live.number)
        return _outcome("unchanged", live.number, catalogue, refreshed, watch)
    bounds = RefreshGate(max_changed=params.max_changed, max_churn=params.max_churn)
    live_bundle = base.bundle if live.bundle == promoted.bundle else Bundle.load(
        store.bundle_path(live.bundle), live.bundle)
    verdict = judge(refreshed, base, live, live_bundle, bounds, places.artifacts)
    watch.took("gate")
    if not verdict.accepted:
        reasons = "\n  ".join(f"{check.name}: {check.reason}" for check in verdict.checks if not check.passed)
        raise GateRejected(f"the gate refused today's catalogue, release {live.number} stays:\n  {reasons}\n"
                           f"The evidence is in {verdict.path}; give a bound where the change is meant")
    release = _release(verdict, live, promoted, origin)
    if params.dry_run:
        log.info("refresh: dry run; would write release %d of bundle %s", release.number, release.bundle[:12])
        return _outcome("dry run", release.number, catalogue, refreshed, watch)
    if store.add_bundle(Path(refreshed.path)) != refreshed.digest:
        raise CorruptArtifact(f"{refreshed.path} is not the bundle {refreshed.digest} that the gate judged; remove "
                              "that folder and refresh again")
    release = store.commit(release)
    watch.took("release")
    log.info("refresh: release %d is the model of release %d with %s items", release.number, promoted.number,
             f"{refreshed.items:,}")
    _tell(release, verdict, origin, places)
    return _outcome("released", release.number, catalogue, refreshed, watch)


def _release(verdict: RefreshVerdict, live: Release, promoted: Release, origin: Origin) -> Release:
    refreshed = verdict.refreshed
    return promoted.model_copy(update={
        "number": verdict.parent + 1, "parent": verdict.parent, "bundle": refreshed.digest, "verdict": verdict.digest,
        "as_of": live.as_of, "actor": origin.actor, "reason": origin.reason, "created_at": datetime.now(UTC),
        "metrics": {**promoted.metrics, f"index_recall@{refreshed.recall_k}": refreshed.recall},
        "is_forced": False, "restores": None, "refreshes": promoted.number})


def _tell(release: Release, verdict: RefreshVerdict, origin: Origin, places: Settings) -> None:
    """Let MLflow know, where it can be reached: the retrain's run gets a nested run with every figure of the gate."""
    from pipelines import tracking

    if not follow(release, places):
        return
    figures = {check.name: check.value for check in verdict.checks if check.value is not None}
    tags = {"vitrine.cause": "refresh", "vitrine.actor": origin.actor, "vitrine.reason": origin.reason}
    try:
        tracking.stage_run(release, "refresh", {"release": release.number, "bundle": release.bundle}, figures,
                           [Path(verdict.path) / "verdict.json"], places, tags)
    except TrackingError as error:
        log.warning("release %d is live, but its figures are not in MLflow: %s", release.number, error)


def _outcome(
    status: Literal["released", "unchanged", "dry run"], number: int, catalogue: Catalogue, refreshed: Refreshed,
    watch: "_Watch",
) -> RefreshOutcome:
    return RefreshOutcome(status=status, release=number, bundle=refreshed.digest, items=catalogue.items,
                          added=refreshed.added, changed=refreshed.changed, removed=refreshed.removed,
                          seconds=watch.seconds)


class _Watch:
    """How long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def took(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step], self._last = round(now - self._last, 2), now
