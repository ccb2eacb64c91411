"""A serving process's view of who was erased: followed as the release log is, and effective within a second."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, Self

from pipelines.errors import VitrineError
from serving.erased import Erased, Erasure, ErasureLog

log = logging.getLogger("vitrine.erased")


class Erasures(Protocol):
    """What the service asks about erasures; `ErasedWatch` answers it."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from following them at present."""

    def known(self) -> Erased | None:
        """Who was erased; None as long as nobody could say."""

    def erase(self, user_ids: Sequence[str], *, at: datetime, actor: str, reason: str,
              newest: datetime | None = None) -> Erasure:
        """Erase a person; see `ErasureLog.erase`."""


class ErasedWatch:
    """Follows the log of erasures of one store. All methods may be called from any thread."""

    def __init__(self, erasures: ErasureLog, poll_s: float = 0.25) -> None:
        """Nothing is read yet."""
        self._log, self._poll_s = erasures, poll_s
        self._known: Erased | None = None
        self._told: list[Callable[[], None]] = []
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="vitrine-erased", daemon=True)
        self.trouble: str | None = None

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def tell(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the thread that follows, whenever somebody was erased."""
        self._told.append(callback)

    def known(self) -> Erased | None:
        """Who was erased, as of the last look; None before the first that succeeded: then nobody is to be known."""
        return self._known

    def covers(self, user_id: str, time_us: int) -> bool:
        """Whether an erasure that is known covers what a user did at this time."""
        return self._known is not None and self._known.covers(user_id, time_us)

    def erase(self, user_ids: Sequence[str], *, at: datetime, actor: str, reason: str,
              newest: datetime | None = None) -> Erasure:
        """Erase a person, in this process before it returns; see `ErasureLog.erase`."""
        record = self._log.erase(user_ids, at=at, actor=actor, reason=reason, newest=newest)
        self.look()
        return record

    def look(self) -> None:
        """Compare with the store; never raises for the store's faults, and forgets nothing over them."""
        with self._looking:
            before = self._known
            try:
                self._known = self._log.read() if before is None else self._log.newer(before)
                self.trouble = None
            except Exception as error:
                # A thread that died would never hear of an erasure again, and silently.
                self.trouble = f"{type(error).__name__}: {error}"
                known = isinstance(error, VitrineError | OSError)
                log.warning("erased: %s", self.trouble, exc_info=None if known else error)
                return
            is_news = before is not self._known and self._known.number > 0
        if is_news:
            log.info("erased: %d erasures are in force", self._known.number)
            for callback in self._told:
                callback()

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.look()
