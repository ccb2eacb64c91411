"""Who uses a bundle, and which bundles are being removed: the two flags that keep cleaning apart from using.

    leases/<digest>/<id>.json    somebody serves, fetches or promotes this bundle, until the time it says
    condemned/<digest>.json      cleaning removes this bundle

A user writes its lease and then looks for the mark; cleaning writes the mark and then looks for leases. However
the two are interleaved, at least one sees the other: a user that sees the mark leaves the bundle alone, cleaning
that sees a lease takes its mark back. A lease that nobody renews ends by itself, so a killed user blocks nothing
for long; the clocks of the machines need to agree to within the grace that cleaning gives.
"""

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pydantic import Field

from pipelines.contracts import Document, UtcTime
from pipelines.errors import CorruptArtifact, StoreUnreachable
from serving.release import Digest, sealed, unsealed
from serving.storage import Storage

LEASES, CONDEMNED = "leases", "condemned"
SECONDS = 600.0  # a lease is renewed well before
_UNREADABLE = timedelta(days=1)  # a lease that cannot be read holds its bundle so long

log = logging.getLogger("vitrine")


class Lease(Document):
    """One use of a bundle: by whom, and until when unless it is renewed."""

    bundle: Digest
    holder: str = Field(min_length=1)
    expires_at: UtcTime


class Condemned(Document):
    """The mark of one cleaning on one bundle."""

    bundle: Digest
    cleaner: str
    marked_at: UtcTime


class HeldLease:
    """A lease of this process, to be renewed while the bundle is in use."""

    def __init__(self, storage: Storage, bundle: str, holder: str, seconds: float) -> None:
        self._storage, self._bundle, self._holder, self.seconds = storage, bundle, holder, seconds
        self.key = f"{LEASES}/{bundle}/{uuid.uuid4().hex}.json"
        self.renew()

    def renew(self) -> None:
        """Let it last `seconds` from now."""
        expires_at = datetime.now(UTC) + timedelta(seconds=self.seconds)
        lease = Lease(bundle=self._bundle, holder=self._holder, expires_at=expires_at)
        self._storage.replace(self.key, sealed("lease", lease))

    def end(self) -> None:
        """Give the bundle up; where the store cannot be reached the lease ends by itself."""
        try:
            self._storage.delete([self.key])
        except StoreUnreachable as error:
            log.warning("a lease of bundle %s stays until it expires: %s", self._bundle[:12], error)


class Leases:
    """The flags in one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def take(self, bundle: str, holder: str = "", seconds: float = SECONDS) -> HeldLease:
        """Begin to use a bundle. The caller renews it well within `seconds`, and ends it."""
        return HeldLease(self._storage, bundle, holder or process_name(), seconds)

    @contextmanager
    def held(self, bundle: str, holder: str = "") -> Iterator[HeldLease]:
        """A lease for what takes seconds."""
        lease = self.take(bundle, holder)
        try:
            yield lease
        finally:
            lease.end()

    def all(self) -> list[tuple[str, Lease]]:
        """(key, lease) of all leases, expired ones too."""
        found = []
        for entry in self._storage.entries(LEASES):
            try:
                found.append((entry.key, unsealed(Lease, "lease", self._storage.read(entry.key), entry.key)))
            except FileNotFoundError:  # ended meanwhile
                continue
            except CorruptArtifact as error:
                lease = Lease(bundle=entry.key.split("/")[1], holder=f"unreadable: {error}",
                              expires_at=entry.modified + _UNREADABLE)
                found.append((entry.key, lease))
        return found

    def forget_expired(self, before: datetime) -> None:
        """Remove the leases that expired before this time."""
        self._storage.delete([key for key, lease in self.all() if lease.expires_at < before])

    def is_condemned(self, bundle: str) -> bool:
        """Whether a cleaning removes this bundle, or began to."""
        try:
            self._storage.read(_mark(bundle))
        except FileNotFoundError:
            return False
        return True

    def condemn(self, bundle: str) -> None:
        """Mark a bundle as being removed; the caller looks for leases and for the live release after this."""
        mark = Condemned(bundle=bundle, cleaner=process_name(), marked_at=datetime.now(UTC))
        self._storage.create(_mark(bundle), sealed("condemned", mark))

    def pardon(self, bundle: str) -> None:
        """Take the mark back, or let it go when the bundle is gone."""
        self._storage.delete([_mark(bundle)])


def process_name() -> str:
    """This process as a person finds it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _mark(bundle: str) -> str:
    return f"{CONDEMNED}/{bundle}.json"
