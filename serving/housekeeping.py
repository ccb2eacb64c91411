"""What a serving process does beside answering: seals what it laid down, and lets go what is old or was erased."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from pipelines.errors import VitrineError
from serving.erased_watch import ErasedWatch
from serving.landing import LandingFolder
from serving.landing_sweep import keep_swept
from serving.sessions.contract import SessionStore

log = logging.getLogger("vitrine.serve")


class Housekeeping:
    """A thread that tidies up for as long as it is entered."""

    def __init__(
        self, sessions: SessionStore, landing: LandingFolder, seal_s: float = 60.0, prune_s: float = 86_400.0,
        erasures: ErasedWatch | None = None,
    ) -> None:
        self._sessions, self._landing, self._seal_s, self._prune_s = sessions, landing, seal_s, prune_s
        self._erasures = erasures
        self._stop, self._woken = threading.Event(), threading.Event()
        if erasures is not None:
            erasures.tell(self._woken.set)
        self._thread = threading.Thread(target=self._run, name="vitrine-housekeeping", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._woken.set()
        self._thread.join()
        self._try(self._landing.seal)

    def _run(self) -> None:
        pruned_at = float("-inf")
        while not self._stop.is_set():
            self._woken.wait(self._seal_s)
            self._woken.clear()
            self._try(self._landing.seal)
            self._try(self._sweep)
            if time.monotonic() - pruned_at >= self._prune_s:
                self._try(lambda: self._sessions.prune(time.time_ns() // 1000))
                pruned_at = time.monotonic()

    def _sweep(self) -> None:
        """Take out of the landing folder who was erased since it was swept last, by whichever process."""
        erased = self._erasures.known() if self._erasures is not None else None
        if erased is not None and erased.number:
            keep_swept(self._landing.folder, erased)

    @staticmethod
    def _try(work: Callable[[], object]) -> None:
        try:
            work()
        except VitrineError as error:
            log.warning("%s", error)
