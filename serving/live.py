"""The live release of a serving process: followed, checked, opened beside the old one, and swapped in.

    live = Live(store, settings)
    with live:                             # looks at the store, then again every `poll_s` seconds
        served = live.served()             # once an answer: everything in it is of one release
        served.recommender.recommend(...)

The old release answers until the new one has been checked, tried in another process, opened and asked its first
questions; requests that hold it finish with it. What fails is refused by its number and not tried again, and what
serves goes on serving. The last releases stay open for a while, so that a rollback to them takes no loading.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pipelines.errors import BundleAbsent, BundleRefused, CorruptArtifact, NothingLive, VitrineError
from serving import huge_pages
from serving.live_status import LiveSettings, Refused, Status
from serving.recommender import Recommender
from serving.rehearsal import Rehearsal
from serving.store import Release, ReleaseStore
from serving.warmup import open_bundle

log = logging.getLogger("vitrine.live")
_LARGE = 64 << 20  # bytes of a bundle; what a smaller one takes in memory is found quickly anyhow
_MOST_REFUSED = 100  # remembered, and tried one after another where none of them can be served
_RETRIES_S = (1.0, 300.0)  # first and longest wait after a fault that is not the bundle's; each doubles

Renew = Callable[[frozenset[str]], None]


@dataclass(frozen=True)
class Served:
    """A release as it answers. Hold on to it for the length of an answer, and ask again for the next one."""

    release: Release
    recommender: Recommender
    loaded_at: datetime  # when it began to serve
    load_s: float  # seconds from finding it to serving it


@dataclass(frozen=True)
class _Later:
    """A release that could not be opened for a reason that may pass."""

    at: float  # of time.monotonic()
    wait_s: float
    reason: str


class Live:
    """Follows the release log of one store. `served` and `status` may be called from any thread."""

    def __init__(self, store: ReleaseStore, settings: LiveSettings, renew: Renew | None = None) -> None:
        """Nothing is read yet.

        Args:
            store: release log and bundles.
            settings: how to follow it.
            renew: told at every look, and before a bundle is opened, which bundles this process holds: what they are
                kept from being cleaned away by is renewed there.
        """
        self.store, self.settings = store, settings
        self._renew = renew
        self._served: Served | None = None  # the one reference that a swap exchanges
        self._kept: OrderedDict[str, Recommender] = OrderedDict()  # bundle digest -> open bundle, oldest first
        self._refused: OrderedDict[int, Refused] = OrderedDict()
        self._later: dict[int, _Later] = {}
        self._newest: int | None = None
        self._swaps = 0
        self._looked_at: datetime | None = None
        self._trouble: str | None = None
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rehearsal: Rehearsal | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Look at the store once, which opens the live release, and go on looking in a thread."""
        self._stop.clear()
        if self.settings.is_rehearsed:
            self._rehearsal = Rehearsal(self.settings.rehearsal_s, self.settings.tried)
        self.look()
        self._thread = threading.Thread(target=self._follow, name="vitrine-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is served can still be asked."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._rehearsal is not None:
            self._rehearsal.close()
        self._thread = self._rehearsal = None

    def served(self) -> Served:
        """The release that answers now.

        Raises:
            NothingLive: there is none; the message says why.
        """
        served = self._served
        if served is None:
            raise NothingLive(f"{self.store.root}: no release is served: "
                              f"{self._trouble or 'none was made yet'}; promote one")
        return served

    def status(self) -> Status:
        """The state of things, for people and for metrics."""
        served = self._served
        return Status(
            number=served.release.number if served else None, bundle=served.release.bundle if served else None,
            loaded_at=served.loaded_at if served else None, load_s=served.load_s if served else None,
            newest=self._newest, swaps=self._swaps, kept=tuple(self._kept), refused=tuple(self._refused.values()),
            looked_at=self._looked_at, trouble=self._trouble)

    def look(self) -> None:
        """Compare with the store, and let in its newest release that passes; never raises for the store's faults."""
        with self._looking:
            try:
                if self._rehearsal is not None:
                    self._rehearsal.prepare()  # while it imports, the bundle's files are checked here
                self._trouble = self._compare()
                if self._rehearsal is not None:
                    self._rehearsal.prepare()
            except Exception as error:
                # A thread that died would leave this process behind for ever, and silently.
                self._trouble = f"{type(error).__name__}: {error}"
                known = isinstance(error, VitrineError | OSError)
                log.warning("live: %s", self._trouble, exc_info=None if known else error)

    def _follow(self) -> None:
        settled = None
        while True:
            served = self._served
            if served is not None and served is not settled and served.recommender.bundle.size_bytes >= _LARGE:
                huge_pages.gather()  # only now: answers are not to wait for it
            settled = served
            if self._stop.wait(self.settings.poll_s):
                return
            self.look()

    def _compare(self) -> str | None:
        newest = self.store.live()
        self._looked_at, self._newest = datetime.now(UTC), newest.number if newest else None
        self._hold()
        if newest is None:
            return None if self._served is None else f"{self.store.root} has no release any more"
        current = self._served.release.number if self._served else 0
        if newest.number < current:
            return f"the store's newest release is {newest.number}, {current} was there before and is served"
        trouble = None
        for release in self._above(newest, current):
            trouble = self._let_in(release)
            if trouble is None:
                return None if release.number == newest.number else f"release {newest.number} is not served"
        return trouble

    def _above(self, newest: Release, current: int) -> Iterator[Release]:
        """Releases above `current`, newest first: what a process serves that saw each of them come and fail."""
        if newest.number > current:
            yield newest
        for number in range(newest.number - 1, max(current, newest.number - _MOST_REFUSED), -1):
            try:
                yield self.store.get(number)
            except CorruptArtifact as error:
                log.warning("live: %s", error)

    def _let_in(self, release: Release) -> str | None:
        """Serve `release`; why not, where it was refused or has to wait."""
        number, later = release.number, self._later.get(release.number)
        if number in self._refused:
            return f"release {number} was refused: {self._refused[number].reason}"
        if later is not None and time.monotonic() < later.at:
            return later.reason
        began = time.monotonic()
        try:
            recommender = self._open(release)
        except BundleAbsent as error:
            # A network file system may show the record before it shows the folder.
            return self._put_off(number, later, error)
        except BundleRefused as error:
            self._refused[number] = Refused(number=number, bundle=release.bundle, reason=str(error),
                                            at=datetime.now(UTC))
            while len(self._refused) > _MOST_REFUSED:
                self._refused.popitem(last=False)
            log.error("live: release %d is refused: %s", number, error)
            return f"release {number} was refused: {error}"
        except Exception as error:
            return self._put_off(number, later, error)
        self._swap(Served(release, recommender, datetime.now(UTC), time.monotonic() - began))
        return None

    def _put_off(self, number: int, later: _Later | None, error: Exception) -> str:
        """Try a release again after a while; the reason that it waits for."""
        wait_s = min(2 * later.wait_s, _RETRIES_S[1]) if later else _RETRIES_S[0]
        reason = f"release {number} cannot be opened: {type(error).__name__}: {error}"
        self._later[number] = _Later(time.monotonic() + wait_s, wait_s, reason)
        known = isinstance(error, VitrineError | OSError | MemoryError)
        log.warning("live: %s; again in %g s", reason, wait_s, exc_info=None if known else error)
        return reason

    def _open(self, release: Release) -> Recommender:
        """The bundle of a release, checked and warm; at once where it is still open."""
        if self._served is not None and self._served.release.bundle == release.bundle:
            return self._served.recommender
        if release.bundle in self._kept:
            return self._kept[release.bundle]
        self._hold(release.bundle)
        folder = self.store.bundle_path(release.bundle)
        if self._rehearsal is not None:
            self._rehearsal.rehearse(folder, release.bundle, self.settings.bounds)
        return open_bundle(folder, release.bundle, self.settings.bounds)

    def _swap(self, served: Served) -> None:
        before, self._served = self._served, served  # from here on every new answer is of the new release
        self._swaps += 1
        self._later = {number: later for number, later in self._later.items() if number > served.release.number}
        self._kept.pop(served.release.bundle, None)
        if before is not None and before.release.bundle != served.release.bundle:
            self._kept[before.release.bundle] = before.recommender
        while self._kept and (len(self._kept) > self.settings.keep
                              or sum(kept.bundle.size_bytes for kept in self._kept.values())
                              > self.settings.keep_bytes):
            self._kept.popitem(last=False)
        log.info("live: release %d, bundle %s, serves after %.2f s", served.release.number,
                 served.release.bundle[:12], served.load_s)

    def _hold(self, *more: str) -> None:
        """Say which bundles this process holds: the one place where leases are renewed."""
        if self._renew is None:
            return
        served = [self._served.release.bundle] if self._served else []
        try:
            self._renew(frozenset([*served, *self._kept, *more]))
        except (VitrineError, OSError) as error:
            # What is open answers without its files; a new release is worth more than a lease.
            log.warning("live: the leases on %d bundles could not be renewed: %s", len(self._kept) + len(served), error)
