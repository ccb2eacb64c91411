"""Is there room for what is about to be written? Said before hours of work end in a full disk."""

import shutil
from pathlib import Path

from pipelines.errors import DiskFull

SPARE_BYTES = 64 << 20  # left for what else the machine writes: logs, databases, other tasks


def require_free(folder: Path, needed_bytes: int, what: str) -> None:
    """See that a disk has room for what is to be written, and some to spare.

    Args:
        folder: where it will be written; may not exist yet.
        needed_bytes: how much it is, as far as is known.
        what: what is written, as the subject of a message.

    Raises:
        DiskFull: with what is needed, what is free, the place and the remedy.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed_bytes + SPARE_BYTES:
        raise DiskFull(
            f"{what} needs {needed_bytes:,} bytes at {folder} and {SPARE_BYTES:,} to spare, {free:,} are free there; "
            "make room (`vitrine gc` names bundles that nobody needs), or set VITRINE_ARTIFACTS, "
            "VITRINE_STORE, VITRINE_CACHE or TMPDIR to a larger disk, then run the same again")
