"""What Prometheus reads at /metrics."""

from functools import cache, partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.answers import Accepted, Slate
from serving.live_status import Status

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one process, apart from those of any other app in it; or of all that share a port.

    Several processes write theirs to files of one folder (PROMETHEUS_MULTIPROC_DIR, which their keeper sets). Whichever
    is asked adds them all up; of releases it tells what it knows itself.
    """

    def __init__(self, shared: Path | None = None) -> None:
        """Count from nothing; `shared` is the folder of several processes."""
        self._shared = shared
        own = self.registry = CollectorRegistry()
        self.requests = Counter("vitrine_requests", "Requests by route and status.", ("route", "method", "status"),
                                registry=own)
        self.seconds = Histogram("vitrine_request_seconds", "Seconds from the request's head to the answer's end.",
                                 ("route",), buckets=_SECONDS, registry=own)
        self.in_flight = Gauge("vitrine_in_flight", "Requests being answered.", registry=own,
                               multiprocess_mode="livesum")
        self.refused = Counter("vitrine_refused", "Requests refused before they were read.", ("code",), registry=own)
        self.slates = Counter("vitrine_slates", "Answers by kind of question, search and variant.",
                              ("question", "search", "variant"), registry=own)
        self.fallbacks = Counter("vitrine_fallback_items", "Best-sellers in places that the model could not fill.",
                                 registry=own)
        self.degraded = Counter("vitrine_degraded", "Answers with a notice, such as of a session store that is down.",
                                registry=own)
        self.events = Counter("vitrine_events", "Events brought, by what became of them.", ("outcome",), registry=own)
        # A counter of given labels is looked for under a lock; there are few, and each is asked for all the time.
        self._requests, self._seconds = cache(self.requests.labels), cache(self.seconds.labels)
        self._slates = cache(self.slates.labels)
        told = partial(Gauge, registry=own, multiprocess_mode="mostrecent")
        self.release = told("vitrine_live_release", "Number of the release that answers; 0 before the first.")
        self.newest = told("vitrine_newest_release", "Number of the newest release of the log.")
        self.loading = told("vitrine_load_seconds", "What it took to open the release that answers.")
        self.refused_releases = told("vitrine_refused_releases", "Releases that failed a check.")

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request and how long it took."""
        self._requests(route, method, str(status)).inc()
        self._seconds(route).observe(seconds)

    def saw(self, question: str, slate: Slate, fallbacks: int) -> None:
        """Count an answer, of whose items so many are best-sellers."""
        self._slates(question, slate.filtered.search, slate.variant or "").inc()
        if fallbacks:
            self.fallbacks.inc(fallbacks)
        if slate.notices:
            self.degraded.inc()

    def watch(self, live: Status) -> None:
        """Take over how the release log is followed."""
        self.release.set(live.number or 0)
        self.newest.set(live.newest or 0)
        self.loading.set(live.load_s or 0)
        self.refused_releases.set(len(live.refused))

    def took(self, accepted: Accepted) -> None:
        """Count events."""
        self.events.labels("accepted").inc(accepted.accepted)
        self.events.labels("repeated").inc(accepted.repeated)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        if self._shared is None:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, str(self._shared))  # type: ignore[no-untyped-call]  # as its package has it
        return generate_latest(everybody)
