"""Stage: an accepted bundle becomes a release. One record in the log is the commit; the rest follows it."""

from datetime import UTC, datetime
from pathlib import Path

from pipelines.artifacts import verify
from pipelines.contracts import Origin, Released, Verdict
from pipelines.errors import BundleAbsent, BundleRefused, CorruptArtifact, GateRejected, ReleaseConflict
from pipelines.progress import log
from pipelines.releases.champion import follow, refused
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.bundle import Bundle
from serving.store import Release


def promote(
    verdict: Verdict, origin: Origin, is_dry_run: bool, places: Settings, *, is_forced: bool = False
) -> Released:
    """Release the bundle that `verdict` accepted, as the child of the release it was judged against.

    Run again, also after a kill at any moment, it ends in the same record. A dry run checks the same
    things and writes nothing.

    Args:
        verdict: of the gate.
        origin: who releases and why; stands in the record.
        is_dry_run: only say what would be released.
        places: the serving store, and MLflow, whose alias follows the log where it can be reached.
        is_forced: let older data replace newer; `origin.reason` says why.

    Raises:
        GateRejected: the verdict is a refusal.
        ReleaseConflict: somebody released meanwhile, or newer data is live; the store's refusals say so too.
        CorruptArtifact: verdict or bundle are not what was sealed.
    """
    _insist(verdict)
    release, releases = release_of(verdict, origin, is_forced), open_store(places)
    if is_dry_run:
        Bundle.load(verdict.sealed.path, verdict.sealed.digest)
        releases.check(release)
        log.info("promote: dry run; would write release %d of bundle %s, parent %s, to %s",
                 release.number, release.bundle[:12], release.parent, places.store)
        return _released(release, is_dry_run=True)
    if releases.add_bundle(Path(verdict.sealed.path)) != verdict.sealed.digest:
        raise CorruptArtifact(f"{verdict.sealed.path} is not the bundle {verdict.sealed.digest} that the gate judged; "
                              "run the index stage again")
    try:
        release = releases.commit(release)
    except BundleAbsent:  # no refusal: the record stands, and the retry mends it
        raise
    except (ReleaseConflict, BundleRefused) as error:
        refused(release, str(error), places)
        raise
    log.info("promote: release %d is bundle %s, parent %s", release.number, release.bundle[:12], release.parent)
    follow(release, places)
    return _released(release, is_dry_run=False)


def reproduced(verdict: Verdict) -> Released:
    """What the promotion of a past day would have written; the log is not even looked at.

    Raises:
        GateRejected: the verdict is a refusal.
        CorruptArtifact: verdict or bundle are not what was sealed.
    """
    _insist(verdict)
    Bundle.load(verdict.sealed.path, verdict.sealed.digest)
    release = release_of(verdict, Origin())
    log.info("promote: a replay of %s: bundle %s would have followed release %s; nothing is promoted",
             release.as_of, release.bundle[:12], release.parent)
    return _released(release, is_dry_run=True)


def release_of(verdict: Verdict, origin: Origin, is_forced: bool = False) -> Release:
    """The record that a promotion of `verdict` writes."""
    registered = verdict.sealed.registered
    evaluated = registered.evaluated
    return Release(
        number=(evaluated.parent or 0) + 1, parent=evaluated.parent, bundle=verdict.sealed.digest,
        training=evaluated.trained.digest, verdict=verdict.digest, as_of=evaluated.trained.snapshot.window.as_of,
        actor=origin.actor, reason=origin.reason, created_at=datetime.now(UTC),
        metrics={**evaluated.metrics, f"index_recall@{verdict.sealed.recall_k}": verdict.sealed.recall},
        run_id=registered.run_id, model_name=registered.model_name, model_version=registered.model_version,
        is_forced=is_forced,
    )


def _insist(verdict: Verdict) -> None:
    if not verdict.accepted:
        reasons = [f"{check.name}: {check.reason}" for check in verdict.checks if not check.passed]
        raise GateRejected(f"the gate refused bundle {verdict.sealed.digest[:12]}, what is live stays:\n  "
                           + "\n  ".join(reasons))
    verify(Path(verdict.path))


def _released(release: Release, is_dry_run: bool) -> Released:
    return Released(number=release.number, bundle=release.bundle, parent=release.parent, as_of=release.as_of,
                    is_dry_run=is_dry_run)
