"""A rehearsal of a rollback, on a copy of the release log: does it work today, and how long do shoppers wait for it?"""

import tempfile
import time
from pathlib import Path

from pydantic import Field

from pipelines.contracts import Document, Origin
from pipelines.errors import SettingsError, VitrineError
from pipelines.free_space import require_free
from pipelines.progress import log
from pipelines.releases.opening import one_shop, open_store
from pipelines.releases.rollback import plan, rollback
from pipelines.settings import Settings
from serving.bundle_files import size_bytes
from serving.live import Live
from serving.live_status import LiveSettings
from serving.panel import NOBODY, Panel
from serving.recommender import Recommender
from serving.release import sealed
from serving.store import RELEASES, ReleaseStore

LIST = 10
_LOOK_S = 0.02


class DrillParams(Document):
    """What a person or a schedule decides about a drill.

    Attributes:
        to: number of the release to go back to; None for what was live before.
        shop: whose releases; None for the only shop of the store.
        patience_s: after so long the drill has failed.
        reason: for the log.
    """

    to: int | None = Field(None, ge=1)
    shop: str | None = None
    patience_s: float = Field(300, gt=0)
    reason: str = Field("drill", min_length=1)


class Drill(Document):
    """What a drill measured.

    Attributes:
        shop: whose releases.
        release: that is live, in the copy as in the store.
        to: the release that was gone back to.
        bundle: of that.
        copied_mb: of both bundles and all records.
        opened_s: until a new process's reader answered from the live release.
        rolled_back_s: from the rollback's record to the reader's first answer of the older release.
        lists: histories of the older bundle's panel that were answered, each with a whole list.
    """

    shop: str
    release: int
    to: int
    bundle: str
    copied_mb: float
    opened_s: float
    rolled_back_s: float
    lists: int


def rehearse(params: DrillParams, origin: Origin, places: Settings) -> Drill:
    """Roll a copy of the store back under a reader. The store itself is only read.

    Raises:
        SettingsError: there is no such shop or release, or nothing to roll back to.
        BundleRefused: the store no longer holds a bundle whole.
        VitrineError: the reader did not take the older release over in time, or does not answer from it.
    """
    shop = one_shop(places, params.shop)
    own = places.of_shop(shop)
    store = open_store(own)
    planned = plan(store, params.to, origin.actor, f"drill: {params.reason}")
    live = store.live()
    if live is None or planned.restores is None:
        raise SettingsError(f"{store.root} has no release to roll back")
    places.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="drill-", dir=places.home) as name:
        folders = [store.bundle_path(digest) for digest in (live.bundle, planned.bundle)]
        size = sum(map(size_bytes, folders))
        require_free(Path(name), size, "the copy that a rollback is rehearsed on")
        copy = _copy(store, folders, Path(name))
        began = time.monotonic()
        with Live(copy, LiveSettings()) as reader:
            _wait(reader, live.number, params.patience_s)
            opened = time.monotonic()
            rollback(copy, planned.model_copy(update={"parent": live.number, "number": live.number + 1}))
            _wait(reader, live.number + 1, params.patience_s)
            lists = _asked(reader.served().recommender, folders[1])
            done = time.monotonic()
    found = Drill(shop=shop, release=live.number, to=planned.restores, bundle=planned.bundle, lists=lists,
                  copied_mb=round(size / 1e6, 3), opened_s=round(opened - began, 2),
                  rolled_back_s=round(done - opened, 2))
    log.info("drill: from release %d to %d in %.2f s, %d lists answered", found.release, found.to, found.rolled_back_s,
             found.lists)
    return found


def _copy(store: ReleaseStore, bundles: list[Path], folder: Path) -> ReleaseStore:
    """A store in `folder` with every record, and with these bundles."""
    copy = ReleaseStore(folder / "store")
    for bundle in bundles:
        copy.add_bundle(bundle)
    (folder / "store" / RELEASES).mkdir(parents=True)
    for release in store.history():
        record = folder / "store" / RELEASES / f"{release.number:08d}.json"
        record.write_bytes(sealed("release", release))
    return copy


def _wait(reader: Live, number: int, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while reader.served().release.number != number:
        if time.monotonic() > until:
            refused = "; ".join(f"{one.number}: {one.reason}" for one in reader.status().refused)
            raise VitrineError(f"the reader did not serve release {number} of the copy within {patience_s:g} s "
                               f"({refused or 'nothing was refused'}): a rollback would not work today")
        time.sleep(_LOOK_S)


def _asked(recommender: Recommender, folder: Path) -> int:
    """Ask for everybody of a bundle's panel, and for nobody; how many whole lists came.

    Raises:
        VitrineError: a list is short.
    """
    bundle = recommender.bundle
    panel = Panel.load(folder)
    named = panel.model_copy(update={"shoppers": (NOBODY, *panel.shoppers)}).requests(bundle.limits.user_slots)
    answers = recommender.recommend_many([one.of(bundle) for one in named], LIST)
    short = sum(len(answer) < min(LIST, bundle.num_items - len(bundle.hidden)) for answer in answers)
    if short:
        raise VitrineError(f"{short} of {len(answers)} lists of the older release are short: a rollback to it would "
                           "leave places empty")
    return len(answers)
