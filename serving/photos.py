"""What people see of products: one small picture each, all in one file of a bundle.

    photos.bin         pictures in WebP, one behind the other
    photo_offsets.npy  int64 [items + 1] where each begins; one of no bytes is none
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.errors import CorruptArtifact
from serving.strict_read import read_array

PHOTOS, PHOTO_OFFSETS = "photos.bin", "photo_offsets.npy"
PHOTO_FILES = (PHOTOS, PHOTO_OFFSETS)
MEDIA_TYPE = "image/webp"
SIDE = 640  # pixels of the longer side at most
MOST_BYTES = 1 << 20  # of one picture: what one request may bring into memory


@dataclass(frozen=True)
class Photos:
    """The pictures of a checked bundle. They stay on disk: a catalogue's would fill the memory."""

    path: Path
    offsets: npt.NDArray[np.int64]  # [items + 1]

    @classmethod
    def load(cls, folder: Path, items: int) -> "Photos":
        """Open the pictures of `items` items.

        Raises:
            ValueError: the files do not fit one another or the items, or a picture is too large.
        """
        offsets = read_array(folder / PHOTO_OFFSETS, np.int64, (items + 1,))
        size, sizes = (folder / PHOTOS).stat().st_size, np.diff(offsets)
        if offsets[0] != 0 or offsets[-1] != size or (sizes < 0).any():
            raise ValueError(f"{PHOTO_OFFSETS} does not cut the {size:,} bytes of {PHOTOS} into {items:,} pictures")
        if sizes.max(initial=0) > MOST_BYTES:
            raise ValueError(f"{PHOTOS} holds a picture of {sizes.max():,} bytes, at most {MOST_BYTES:,} are shown")
        return cls(folder / PHOTOS, offsets)

    def has(self, row: int) -> bool:
        """Whether the item has a picture."""
        return bool(self.offsets[row] < self.offsets[row + 1])

    def of(self, row: int) -> bytes | None:
        """The picture of an item in WebP; None where it has none.

        Raises:
            CorruptArtifact: the file was cut short since it was checked.
        """
        first, last = int(self.offsets[row]), int(self.offsets[row + 1])
        if first == last:
            return None
        with self.path.open("rb") as file:
            file.seek(first)
            data = file.read(last - first)
        if len(data) < last - first:
            raise CorruptArtifact(f"{self.path} ends before the picture of row {row}: see who writes there")
        return data
