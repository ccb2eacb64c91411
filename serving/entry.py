"""One object of a store's listing."""

from datetime import datetime
from typing import NamedTuple


class Entry(NamedTuple):
    """Key below the store's root, size in bytes, and when it was written."""

    key: str
    size: int
    modified: datetime
