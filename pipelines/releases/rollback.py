"""Rolling back: a new record that makes the bundle of an older release live again."""

from datetime import UTC, datetime

from pipelines.errors import SettingsError
from pipelines.progress import log
from serving.store import Release, ReleaseStore


def plan(store: ReleaseStore, to: int | None, actor: str, reason: str) -> Release:
    """The record that a rollback would write. Its bundle is looked at as `Shelf.check` does.

    Args:
        store: the shop's.
        to: release whose bundle is to be live again; None for what was live before the bundle that is live now.
        actor, reason: who and why; stand in the record.

    Raises:
        SettingsError: there is no such release, nothing to roll back to, or the reason is empty.
        BundleRefused: the store no longer holds its bundle whole.
    """
    if not reason.strip():
        raise SettingsError("a rollback needs a reason: --reason \"why\"")
    live = store.live()
    if live is None:
        raise SettingsError(f"{store.root} has no release to roll back")
    target = _named(store, live, to) if to is not None else _before(store, live)
    if target.bundle == live.bundle:
        raise SettingsError(f"release {live.number} is bundle {live.bundle[:12]} of release {target.number} already; "
                            "name another one with --to, `vitrine releases` lists them")
    store.shelf.check(target.bundle)
    return target.model_copy(update={
        "number": live.number + 1, "parent": live.number, "restores": target.number, "refreshes": None,
        "actor": actor, "reason": reason, "created_at": datetime.now(UTC), "is_forced": False})


def rollback(store: ReleaseStore, planned: Release) -> Release:
    """Write the record of `plan`; from then on it is live. Run again it ends in the same record.

    Raises:
        ReleaseConflict: somebody released since it was planned.
    """
    release = store.commit(planned)
    log.info("rollback: release %d is bundle %s of release %s again", release.number, release.bundle[:12],
             release.restores)
    return release


def _named(store: ReleaseStore, live: Release, to: int) -> Release:
    if not 1 <= to < live.number:
        raise SettingsError(f"there is no release {to} before the live release {live.number}; "
                            "`vitrine releases` lists them")
    return _origin(store, store.get(to))


def _before(store: ReleaseStore, live: Release) -> Release:
    """What was live before the live bundle was promoted.

    After a rollback from 2 to 1 that is what came before 1, and not 2: rolling back twice never returns to
    what was rolled back.
    """
    bundle, release = live.bundle, _origin(store, live)
    while release.bundle == bundle:
        if release.parent is None:
            raise SettingsError(f"nothing was released before bundle {bundle[:12]} of release {release.number}: "
                                "name a release with --to")
        release = _origin(store, store.get(release.parent))
    return release


def _origin(store: ReleaseStore, release: Release) -> Release:
    """The promotion that a rollback leads back to; the release itself where it is one."""
    while release.restores is not None:
        release = store.get(release.restores)
    return release

