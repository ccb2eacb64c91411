"""The pictures of a catalogue as one array, in memory or, for a large one, in a file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.progress import Progress
from serving.pictures import SHAPE, Pixels, thumbnail


def pictures(column: pd.Series, path: Path | None = None) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Thumbnails of a column of image bytes, see serving/pictures.py.

    Args:
        column: [rows] image bytes or null; its name appears in errors.
        path: a .npy file to write, of 9 kB a row. The thumbnails then never lie in memory all at once, and a
            row without a picture takes no room on disk where the file system knows holes.

    Returns:
        uint8 [rows, HEIGHT, WIDTH, 3], memory-mapped read-only where `path` is given, zeros where there is no
        picture; and bool [rows], which rows have one.

    Raises:
        DataError: the bytes of a row are no image that Pillow reads.
    """
    shape = (len(column), *SHAPE)
    has_picture = column.notna().to_numpy(bool)
    if path is None:
        images: Pixels = np.zeros(shape, np.uint8)
        _fill(images, column, has_picture)
        return images, has_picture
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _fill(mapped, column, has_picture)
    mapped.flush()
    return np.load(path, mmap_mode="r", allow_pickle=False), has_picture


def _fill(images: Pixels, column: pd.Series, has_picture: npt.NDArray[np.bool_]) -> None:
    progress = Progress("pictures", int(has_picture.sum()), "pictures")
    for row, data in enumerate(column):
        if has_picture[row]:
            images[row] = thumbnail(data, f"items.{column.name}, row {row}")
            progress.advance()
    progress.finish()
