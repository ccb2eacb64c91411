"""Progress that reads well in a terminal and as lines of an Airflow log."""

import logging
import time

log = logging.getLogger("vitrine")


def duration(seconds: float) -> str:
    """Seconds as people say them: 42s, 3m05s, 1h12m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Counts towards `total` and logs at most one line every `every` seconds, with rate and ETA."""

    def __init__(self, what: str, total: int, unit: str, every: float = 5.0) -> None:
        self.what, self.total, self.unit, self.every = what, total, unit, every
        self.done = 0
        self.started = self.said = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count` to what is done; `note` (a loss, say) stands at the end of the line."""
        self.done += count
        now = time.monotonic()
        if now - self.said >= self.every:
            self.said = now
            elapsed = max(now - self.started, 1e-9)
            left = (self.total - self.done) * elapsed / max(self.done, 1)
            log.info(
                "%s: %s of %s %s (%.0f %%), %s/s, ETA %s%s",
                self.what, f"{self.done:,}", f"{self.total:,}", self.unit,
                100 * self.done / max(self.total, 1), f"{self.done / elapsed:,.0f}", duration(left),
                f", {note}" if note else "",
            )

    def finish(self, note: str = "") -> None:
        """Say the total and the time it took; aloud only where somebody may have waited for it."""
        elapsed = time.monotonic() - self.started
        log.log(
            logging.INFO if elapsed >= 1 else logging.DEBUG, "%s: %s %s in %s%s", self.what, f"{self.done:,}",
            self.unit, duration(elapsed), f", {note}" if note else "",
        )
