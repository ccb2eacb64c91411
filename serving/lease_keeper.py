"""The leases of a serving process on the bundles that it holds open."""

import time
from collections.abc import Callable

from serving.leases import SECONDS, HeldLease, Leases

_TIMES = 4  # renewed so often within the time that a lease lasts


class LeaseKeeper:
    """Called with the bundles that are held, as often as one likes: takes, renews and gives back their leases."""

    def __init__(
        self, leases: Leases, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases, self._seconds, self._clock = leases, seconds, clock
        self._held: dict[str, tuple[HeldLease, float]] = {}  # bundle -> (lease, renewed at)

    def __call__(self, bundles: frozenset[str]) -> None:
        """Hold exactly these bundles.

        Raises:
            StoreUnreachable: the store cannot be written; leases that were taken last until they expire.
        """
        now = self._clock()
        for bundle in bundles - self._held.keys():
            self._held[bundle] = self._leases.take(bundle, seconds=self._seconds), now
        for bundle, (lease, renewed_at) in list(self._held.items()):
            if bundle not in bundles:
                lease.end()
                del self._held[bundle]
            elif now - renewed_at >= self._seconds / _TIMES:
                lease.renew()
                self._held[bundle] = lease, now

    def end(self) -> None:
        """Give all of them back."""
        self(frozenset())
