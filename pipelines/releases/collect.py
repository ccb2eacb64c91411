"""Cleaning: which bundles nobody needs any more, and their removal. Records and refusals stay for ever."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import Field

from pipelines.contracts import Document
from pipelines.progress import log
from serving.leases import Lease
from serving.store import Release, ReleaseStore

_HALF_DONE = timedelta(days=1)  # what a killed writer left beside is removed after this long


class Keeping(Document):
    """What cleaning leaves alone.

    Attributes:
        previous: bundles that were live before the live one, to roll back to; as many models before the live one's
            stay by the bundle that they were promoted with.
        grace: how long a bundle stays after it was added, after it stopped being live, and after its last lease
            expired: for promoters between adding and releasing, readers between polls, and clocks that differ.
    """

    previous: int = Field(3, ge=0)
    grace: timedelta = Field(timedelta(hours=1), ge=timedelta(0))


class Fate(Document):
    """What becomes of one bundle, and why."""

    bundle: str
    size: int  # bytes
    releases: tuple[int, ...]  # that name it
    is_kept: bool
    reason: str


def plan(store: ReleaseStore, keeping: Keeping, now: datetime) -> list[Fate]:
    """The fate of every bundle of the store, as of `now`; nothing is changed."""
    history = store.history()
    stock = store.shelf.stock()
    reasons = _reasons(history, [lease for _, lease in store.leases.all()], keeping, now)
    experiment = store.experiments.running()
    compared = {variant.release for variant in experiment.spec.variants} if experiment is not None else set()
    fates = []
    for digest, held in sorted(stock.items()):
        reason = reasons.get(digest)
        if reason is None and held.modified + keeping.grace > now:
            reason = "was added or changed within the grace"
        numbers = tuple(release.number for release in history if release.bundle == digest)
        if reason is None and compared & set(numbers) and experiment is not None:
            reason = f"is a variant of the experiment {experiment.spec.name}"
        otherwise = "is no longer among the previous ones" if numbers else "was never released"
        if not held.is_whole:
            otherwise = "is half: an upload or a removal was broken off"
        fates.append(Fate(bundle=digest, size=held.size, releases=numbers, is_kept=reason is not None,
                          reason=reason or otherwise))
    return fates


def collect(store: ReleaseStore, fates: Sequence[Fate], keeping: Keeping, now: datetime) -> list[Fate]:
    """Remove what `plan` said may go, looking again at each just before; what was really removed.

    Killed at any moment, the next cleaning finishes: a bundle carries its mark until its last file is gone.
    """
    removed = []
    for planned in fates:
        if planned.is_kept:
            continue
        store.leases.condemn(planned.bundle)
        # Whoever took a lease, or released, before the mark is seen here; whoever comes after sees the mark.
        fate = next((fate for fate in plan(store, keeping, now) if fate.bundle == planned.bundle), planned)
        if fate.is_kept:
            log.info("gc: bundle %s stays after all: it %s", fate.bundle[:12], fate.reason)
        else:
            store.shelf.remove(fate.bundle)
            removed.append(fate)
        store.leases.pardon(planned.bundle)
    store.leases.forget_expired(now - keeping.grace)
    store.sweep(now - max(keeping.grace, _HALF_DONE))
    return removed


def _reasons(
    history: Sequence[Release], leases: Sequence[Lease], keeping: Keeping, now: datetime
) -> Mapping[str, str]:
    """Bundle -> why it has to stay, where the log or a lease says so."""
    reasons: dict[str, str] = {}
    for lease in leases:
        if lease.expires_at + keeping.grace > now:
            reasons[lease.bundle] = f"is leased by {lease.holder} until {lease.expires_at:%Y-%m-%d %H:%M:%S}"
    for release, successor in pairwise(history):
        if successor.created_at + keeping.grace > now:
            reasons[release.bundle] = f"was live until {successor.created_at:%Y-%m-%d %H:%M:%S}"
    bundles = list(dict.fromkeys(release.bundle for release in reversed(history)))
    for place, bundle in enumerate(bundles[: keeping.previous + 1]):
        reasons[bundle] = "is live" if place == 0 else f"is number {place} of {keeping.previous} to roll back to"
    # Catalogues are refreshed by the hour: they are not to push the models of the weeks before out of reach.
    by_number = {release.number: release for release in history}

    def model(release: Release) -> str:
        while (before := by_number.get(release.restores or release.refreshes or 0)) is not None:
            release = before
        return release.bundle

    models = list(dict.fromkeys(model(release) for release in reversed(history)))
    for place, bundle in enumerate(models[: keeping.previous + 1]):
        reasons.setdefault(bundle, f"is of the last {place + 1} of {keeping.previous + 1} models")
    for release in history:
        if release.refreshes is not None and release.bundle in reasons:
            reasons.setdefault(model(release), f"is what release {release.number} refreshes")
    return reasons
