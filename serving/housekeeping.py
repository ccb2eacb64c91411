"""What a serving process does beside answering: seals what it laid down, and lets old events go."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from pipelines.errors import VitrineError
from serving.landing import LandingFolder
from serving.sessions.contract import SessionStore

log = logging.getLogger("vitrine.serve")


class Housekeeping:
    """A thread that tidies up for as long as it is entered."""

    def __init__(
        self, sessions: SessionStore, landing: LandingFolder, seal_s: float = 60.0, prune_s: float = 86_400.0
    ) -> None:
        self._sessions, self._landing, self._seal_s, self._prune_s = sessions, landing, seal_s, prune_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vitrine-housekeeping", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._try(self._landing.seal)

    def _run(self) -> None:
        pruned_at = float("-inf")
        while not self._stop.wait(self._seal_s):
            self._try(self._landing.seal)
            if time.monotonic() - pruned_at >= self._prune_s:
                self._try(lambda: self._sessions.prune(time.time_ns() // 1000))
                pruned_at = time.monotonic()

    @staticmethod
    def _try(work: Callable[[], object]) -> None:
        try:
            work()
        except VitrineError as error:
            log.warning("%s", error)
