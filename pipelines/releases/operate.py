"""Rolling back as one call: for the command line, and for a form that somebody fills in at night."""

from pydantic import Field

from pipelines.contracts import Document, Origin
from pipelines.releases.champion import follow
from pipelines.releases.opening import of_one_shop, open_store
from pipelines.releases.rollback import plan
from pipelines.releases.rollback import rollback as roll_back
from pipelines.settings import Settings
from serving.store import Release


class RollbackParams(Document):
    """What a person decides about a rollback.

    Attributes:
        reason: why; stands in the record.
        to: number of the release whose bundle is to be live again; None for what was live before.
        shop: whose releases; None for the only shop of the store.
        dry_run: only say what would be done.
    """

    reason: str
    to: int | None = Field(None, ge=1)
    shop: str | None = None
    dry_run: bool = True


def rollback(params: RollbackParams, origin: Origin, places: Settings) -> Release:
    """The record that was written, or that would be.

    Raises:
        SettingsError: there is no such shop or release, or nothing to roll back to.
        BundleRefused: the store no longer holds its bundle whole.
        ReleaseConflict: somebody released meanwhile.
    """
    own = of_one_shop(places, params.shop)
    store = open_store(own)
    release = plan(store, params.to, origin.actor, params.reason)
    if params.dry_run:
        return release
    release = roll_back(store, release)
    follow(release, own)
    return release
