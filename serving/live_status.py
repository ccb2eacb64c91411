"""How a serving process follows the release log, and what it tells of it."""

from pathlib import Path

from pydantic import Field

from pipelines.contracts import Document, UtcTime
from serving.bundle_files import Bounds


class LiveSettings(Document):
    """How a process follows the release log.

    Attributes:
        poll_s: seconds between two looks at the store.
        keep: releases that stay open after they were replaced, for a rollback without loading.
        keep_bytes: what those may have in files, all together; about what they take in memory.
        is_rehearsed: open each bundle in another process first. Without it, who can write the store's bundles and
            records can end this process.
        rehearsal_s: seconds after which that process is given up.
        tried: folder that remembers which bundles have passed there, so that a restart opens them straight away.
        bounds: how large a bundle may be.
    """

    poll_s: float = Field(0.25, gt=0)
    keep: int = Field(1, ge=0)
    keep_bytes: int = Field(4 << 30, ge=0)
    is_rehearsed: bool = True
    rehearsal_s: float = Field(120.0, gt=0)
    tried: Path | None = None
    bounds: Bounds = Bounds()


class Refused(Document):
    """A release that was not let in, and why."""

    number: int
    bundle: str
    reason: str
    at: UtcTime


class Status(Document):
    """What /health and the metrics tell.

    Attributes:
        number, bundle, loaded_at, load_s: of the release that answers; none before the first.
        newest: number of the newest release in the store; above `number` where that one was refused or is loading.
        swaps: how often another release was let in, the first included.
        kept: bundles that are open for a rollback.
        refused: releases that failed a check, oldest first.
        looked_at: last time that the store could be read.
        trouble: what keeps this process from following the store at present, or none.
    """

    number: int | None
    bundle: str | None
    loaded_at: UtcTime | None
    load_s: float | None
    newest: int | None
    swaps: int
    kept: tuple[str, ...]
    refused: tuple[Refused, ...]
    looked_at: UtcTime | None
    trouble: str | None
