"""The running experiment of a serving process, with the releases that its variants name held open beside the live one.

As long as one of them cannot be opened nobody is in the experiment: all get the live release, and nothing is logged as
an exposure. So a variant is never short of what its users were to see.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pipelines.errors import VitrineError
from serving.answers import Slate
from serving.experiments.exposure import Exposure
from serving.experiments.spec import Record, Variant, assigned
from serving.live_status import LiveSettings
from serving.recommender import Recommender
from serving.rehearsal import Rehearsal
from serving.store import Release, ReleaseStore
from serving.view import ReleaseView
from serving.warmup import open_bundle

log = logging.getLogger("vitrine.experiments")
Held = Callable[[frozenset[str]], None]


@dataclass(frozen=True)
class Part:
    """A user's part in an experiment.

    Attributes:
        record: of the experiment.
        variant: that the user is in.
        view: the release that answers; None for the live one.
    """

    record: Record
    variant: Variant
    view: ReleaseView | None

    def exposure(self, user_id: str, slate: Slate, time_us: int) -> Exposure:
        """What the user was shown."""
        return Exposure(self.record.spec.name, self.record.version, self.variant.name, user_id, time_us, slate.release,
                        tuple(item.item_id for item in slate.items))


@dataclass(frozen=True)
class Running:
    """An experiment, ready to be served.

    Attributes:
        record: its record.
        views: number -> release, of the variants that name one.
    """

    record: Record
    views: Mapping[int, ReleaseView] = field(default_factory=dict)

    def part_of(self, user_id: str) -> Part:
        """The part of a user."""
        variant = assigned(self.record.spec, user_id)
        return Part(self.record, variant, self.views[variant.release] if variant.release is not None else None)


class Experiments:
    """Follows the log of experiments. `running` may be called from any thread."""

    def __init__(
        self, store: ReleaseStore, settings: LiveSettings, hold: Held | None = None, poll_s: float = 5.0
    ) -> None:
        """Nothing is read yet.

        Args:
            store: release log, bundles and the log of experiments.
            settings: how bundles are opened.
            hold: told which bundles this process holds for experiments, so that they are not cleaned away.
            poll_s: seconds between two looks at the log.
        """
        self._store, self._settings, self._poll_s = store, settings, poll_s
        self._hold = hold or (lambda bundles: None)
        self._running: Running | None = None
        self._trouble: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="vitrine-experiments", daemon=True)

    def __enter__(self) -> Self:
        # The first look may have releases to open: the process answers from the live one until then.
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def running(self) -> Running | None:
        """What runs and can be served, or none."""
        return self._running

    @property
    def trouble(self) -> str | None:
        """Why an experiment that runs is not served; None where there is no trouble."""
        return self._trouble

    def look(self) -> None:
        """Compare with the log, and open what is missing; never raises for the store's faults."""
        try:
            self._compare()
            self._trouble = None
        except Exception as error:
            # A thread that died would go on with an experiment that was ended.
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._trouble:
                known = isinstance(error, VitrineError | OSError | MemoryError)
                log.warning("experiments: %s", trouble, exc_info=None if known else error)
            self._trouble = trouble

    def _follow(self) -> None:
        self.look()
        while not self._stop.wait(self._poll_s):
            self.look()

    def _compare(self) -> None:
        record = self._store.experiments.running()
        if record is None:
            if self._running is not None:
                log.info("experiments: %s ended", self._running.record.spec.name)
            self._running = None
            self._hold(frozenset())
            return
        now = self._running
        if now is not None and now.record.version != record.version:
            now = self._running = None
        releases = {number: self._store.get(number) for number in sorted(
            {variant.release for variant in record.spec.variants if variant.release is not None})}
        self._hold(frozenset(release.bundle for release in releases.values()))
        if now is None:
            self._running = Running(record, self._opened(releases))
            log.info("experiments: %s runs, %s", record.spec.name, ", ".join(record.spec.shares))

    def _opened(self, releases: Mapping[int, Release]) -> dict[int, ReleaseView]:
        """Views of releases; two of one bundle share what is open."""
        recommenders: dict[str, Recommender] = {}
        for release in releases.values():
            if release.bundle not in recommenders:
                recommenders[release.bundle] = self._open(release)
        return {number: ReleaseView(number, recommenders[release.bundle]) for number, release in releases.items()}

    def _open(self, release: Release) -> Recommender:
        folder = self._store.bundle_path(release.bundle)
        if self._settings.is_rehearsed:
            rehearsal = Rehearsal(self._settings.rehearsal_s, self._settings.tried)
            try:
                rehearsal.rehearse(folder, release.bundle, self._settings.bounds)
            finally:
                rehearsal.close()
        return open_bundle(folder, release.bundle, self._settings.bounds)
