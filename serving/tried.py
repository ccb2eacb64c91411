"""Which bundles this machine has opened and asked before, so that a restart need not try them once more.

What comes of a trial depends on the bundle's bytes, which its digest names, and on the libraries that open it. A bundle
that passed under the same ones is opened straight away; whether its files are still those bytes is checked as ever.
"""

import json
import logging
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger("vitrine.live")
_LIBRARIES = ("ai-edge-litert", "numpy", "pyarrow", "scann")
FOLDER = "tried"  # in the cache of bundles, beside what it speaks of
_READER = 1  # raised with each change to how this package opens and asks a bundle
_MOST = 200


@cache
def libraries() -> dict[str, str]:
    """Versions of what reads a bundle's files."""
    return {"reader": str(_READER), "python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


class Tried:
    """A folder with a small file for each bundle that passed; without a folder nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def knows(self, digest: str) -> bool:
        """Whether this bundle has passed under the libraries of now."""
        if self.folder is None:
            return False
        try:
            return bool(json.loads((self.folder / f"{digest}.json").read_text(encoding="utf-8")) == libraries())
        except (OSError, ValueError):
            return False

    def add(self, digest: str) -> None:
        """Remember that a bundle has passed; where that cannot be written, it is tried again at the next start."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{digest}.json").write_text(json.dumps(libraries()), encoding="utf-8")
            known = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for old in known[:-_MOST]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("live: that bundle %s has passed could not be written down (%s)", digest[:12], error)
