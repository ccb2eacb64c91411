"""The serving store: bundles under their digests, and the release log that says which one is live.

    bundles/<digest>/...      whole bundles, see serving/shelf.py
    releases/00000042.json    records, written with put-if-absent; the highest number is live
    refusals/<time>-<id>.json promotions that were not taken, for people
    experiments/00000001.json what runs beside the live release, see serving/experiments/log.py
    leases/, condemned/       who uses a bundle and what is being removed, see serving/leases.py
    erased/                   whose data count no more, see serving/erased.py

A promoter names the release that its challenger was judged against and writes the next number, or fails,
as a table format commits. So the log is pointer, fence and audit in one: of two promoters with the same
parent one wins, and one that was overtaken (a task that outlived its supervisor, say) never does.
"""

import logging
import re
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from pipelines.errors import BundleAbsent, BundleRefused, CorruptArtifact, ReleaseConflict, StoreUnreachable
from serving.erased import ErasureLog
from serving.experiments.log import ExperimentLog
from serving.leases import Leases, process_name
from serving.release import Refusal, Release, sealed, unsealed
from serving.shelf import Shelf
from serving.storage import open_storage

__all__ = ["Release", "ReleaseStore"]

RELEASES, REFUSALS = "releases", "refusals"
_RECORD = re.compile(r"\d{8}\.json")
_READERS = 16  # records read at once
_PATIENCE_S = 5.0  # for a bucket that says "taken" before it shows by what

log = logging.getLogger("vitrine")


class ReleaseStore:
    """Bundles and release log at `root`. Reading never creates anything there.

    Args:
        root: a local folder, or a URL (file://, s3://, gs://, az://).
        options: of the bucket's client, see serving/bucket_storage.py; a folder needs none.
        cache: folder of this machine for bundles of a bucket.
    """

    def __init__(self, root: str | Path, options: Mapping[str, str] | None = None, cache: Path | None = None) -> None:
        self._storage = open_storage(root, options)
        self.root = self._storage.root
        self.shelf = Shelf(self._storage, cache)
        self.leases = Leases(self._storage)
        self.erasures = ErasureLog(self._storage)
        self.experiments = ExperimentLog(self._storage)

    def live(self) -> Release | None:
        """The release that shoppers see, or none."""
        numbers = self.numbers()
        return self.get(numbers[-1]) if numbers else None

    def history(self, last: int | None = None) -> list[Release]:
        """The `last` releases, or all of them, oldest first.

        Raises:
            CorruptArtifact: a record is torn, or one is missing between two others.
        """
        newest = max(self.numbers(), default=0)
        first = 1 if last is None else max(1, newest - last + 1)
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self.get, range(first, newest + 1)))

    def numbers(self) -> list[int]:
        """Numbers of all records, ascending."""
        names = (entry.key.rsplit("/", 1)[-1] for entry in self._storage.entries(RELEASES))
        return sorted(int(name[:8]) for name in names if _RECORD.fullmatch(name))

    def get(self, number: int) -> Release:
        """One record.

        Raises:
            CorruptArtifact: it is missing, torn or changed; the message names the file.
        """
        where = f"{self.root}/{_key(number)}"
        try:
            release = unsealed(Release, "release", self._storage.read(_key(number)), where)
        except FileNotFoundError as error:
            raise CorruptArtifact(f"release record {where} is missing; restore it from a backup of the store; what "
                                  "serves now goes on serving") from error
        if release.number != number:
            raise CorruptArtifact(f"release record {where} is torn or was changed (it says that it is release "
                                  f"{release.number}); restore it from a backup of the store")
        return release

    def parent_for(self, training: str, as_of: datetime | None = None) -> Release | None:
        """The release to judge a training against: the live one.

        Where the live one is of that very training (the run is being repeated), the one that it replaced:
        so a repeated run is judged, named and promoted exactly as before.

        Args:
            training: digest of the training.
            as_of: end of its window; tells a repetition from a later window without new events, whose
                training may come out with the same digest. Without it the digest alone decides.
        """
        live = self.live()
        if live is not None and live.training == training and as_of in (None, live.as_of):
            return self.get(live.parent) if live.parent is not None else None
        return live

    def parent_then(self, training: str, as_of: datetime) -> Release | None:
        """The release that a training of a past window was judged against, or would have been.

        Where it was released, the parent that its record names; else the release that was live before the first one
        with data up to `as_of` or later. What was released since changes nothing.

        Args:
            training: digest of the training.
            as_of: end of its window.
        """
        history = self.history()
        own = next((one for one in history if one.restores is None and (one.training, one.as_of) == (training, as_of)),
                   None)
        if own is not None:
            return self.get(own.parent) if own.parent is not None else None
        before = list(takewhile(lambda one: one.as_of < as_of, history))
        return before[-1] if before else None

    def check(self, release: Release) -> Release | None:
        """Whether `release` may be the next record, as far as can be said without writing it.

        Returns:
            The existing record where the very same promotion was made before, else None.

        Raises:
            ReleaseConflict: another release has this number, `parent` is not live, newer data is live, or it
                says that it restores a release of another bundle.
        """
        numbers = self.numbers()
        if release.number in numbers:
            return self._repeated(release)
        live = self.get(numbers[-1]) if numbers else None
        live_number = live.number if live else None
        if live_number != release.parent:
            raise ReleaseConflict(
                f"{self.root}: this challenger was judged against release {release.parent}, release {live_number} "
                "is live; judge it again against that one"
            )
        if release.restores is not None:
            restored = self.get(release.restores)
            if (restored.bundle, restored.as_of) != (release.bundle, release.as_of):
                raise ReleaseConflict(f"{self.root}: release {restored.number} is bundle {restored.bundle[:12]}, not "
                                      f"{release.bundle[:12]}; roll back again")
        elif live and release.as_of < live.as_of and not release.is_forced:
            raise ReleaseConflict(
                f"{self.root}: data up to {release.as_of} would replace data up to {live.as_of} of release "
                f"{live.number}; retrain with a later as_of, or force it and give the reason"
            )
        return None

    def commit(self, release: Release) -> Release:
        """Append a record: the one atomic step that makes a bundle live. What is refused is recorded too.

        Returns:
            The acknowledged record; the existing one where the very same promotion was made before.

        Raises:
            ReleaseConflict: see `check`, or another promoter was quicker.
            BundleRefused: the store does not hold the bundle, or is removing it.
            BundleAbsent: it was removed in the very moment; the same promotion again mends it.
        """
        try:
            record = self.check(release) or self._append(release)
        except (ReleaseConflict, BundleRefused) as error:
            self.refuse(release, error)
            raise
        # Also for a repetition: the first writer may have died between writing and syncing.
        self._storage.settle(_key(release.number))
        if not self.shelf.holds(record.bundle):  # a promoter that slept longer than its lease lasts
            raise BundleAbsent(f"{self.root}: release {record.number} stands, and its bundle {record.bundle[:12]} was "
                               "removed while this promoter slept: what serves goes on with the release before; "
                               "promote again, which adds the bundle anew, or roll back")
        return record

    def refuse(self, release: Release, error: Exception) -> None:
        """Put on record that a release was not taken; where the store cannot be reached, the log says so."""
        now = datetime.now(UTC)
        refusal = Refusal(release=release, error=type(error).__name__, message=str(error), refused_at=now,
                          process=process_name())
        try:
            self._storage.create(f"{REFUSALS}/{now:%Y%m%dT%H%M%S.%f}Z-{uuid.uuid4().hex[:8]}.json",
                                 sealed("refusal", refusal))
        except StoreUnreachable as trouble:  # the refusal itself is what the caller has to hear of
            log.warning("the refusal of release %d could not be recorded: %s", release.number, trouble)

    def refusals(self) -> list[Refusal]:
        """Promotions that were not taken, oldest first."""
        keys = [entry.key for entry in self._storage.entries(REFUSALS)]
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(
                lambda key: unsealed(Refusal, "refusal", self._storage.read(key), f"{self.root}/{key}"), keys))

    def bundle_path(self, digest: str) -> Path:
        """A folder of this machine with the bundle of this digest, checked to the byte; see `Shelf.path`."""
        return self.shelf.path(digest)

    def add_bundle(self, folder: Path) -> str:
        """Copy a sealed bundle into the store and return its digest; see `Shelf.add`."""
        return self.shelf.add(folder)

    def sweep(self, before: datetime) -> None:
        """Remove what killed writers left half beside, where that is older than `before`."""
        self._storage.sweep(before)

    def _append(self, release: Release) -> Release:
        """Write the record, with a lease on its bundle while it is on its way."""
        with self.leases.held(release.bundle, f"{release.actor}, {process_name()}, promoting"):
            if self.leases.is_condemned(release.bundle):
                raise BundleRefused(f"{self.root} is removing bundle {release.bundle[:12]}; let `vitrine gc` finish, "
                                    "then promote it again")
            if not self.shelf.holds(release.bundle):
                raise BundleRefused(f"{self.root} does not hold bundle {release.bundle}; add it before releasing it")
            if self._storage.create(_key(release.number), sealed("release", release)):
                return release
        return self._repeated(release)

    def _repeated(self, release: Release) -> Release:
        """The record that stands under `release.number`, if it is of the very same promotion."""
        existing = self._taken(release.number)
        if ((existing.bundle, existing.parent, existing.restores)
                != (release.bundle, release.parent, release.restores)):
            raise ReleaseConflict(
                f"{self.root}: release {existing.number} is already bundle {existing.bundle[:12]} of {existing.actor} "
                f"({existing.created_at}), bundle {release.bundle[:12]} was judged against its parent "
                f"{release.parent}; judge it again against the live release"
            )
        return existing

    def _taken(self, number: int) -> Release:
        """The record under a number that is taken; a bucket may say so while the other write is on its way."""
        ends = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends:
            if number in self.numbers():
                return self.get(number)
            time.sleep(0.1)
        raise StoreUnreachable(f"{self.root}/{_key(number)} is taken and not to be seen after {_PATIENCE_S:.0f} s: "
                               "another write of it was called off; run the same again")


def _key(number: int) -> str:
    return f"{RELEASES}/{number:08d}.json"
