"""The pictures of a catalogue as one array, in memory or, for a large one, in a file.

A snapshot holds those of the products that have one:

    pictures.npy      uint8 [pictured, HEIGHT, WIDTH, 3], 9 kB each
    picture_rows.npy  int64 [pictured] rows of the items, ascending
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.progress import Progress
from serving.pictures import SHAPE, Pixels, thumbnail

PICTURES, ROWS = "pictures.npy", "picture_rows.npy"


@dataclass(frozen=True)
class CataloguePictures:
    """Thumbnails of the products that have a picture."""

    images: Pixels  # uint8 [pictured, HEIGHT, WIDTH, 3], memory-mapped
    rows: npt.NDArray[np.int64]  # [pictured] of the items, ascending


def write_pictures(items: pd.DataFrame, kinds: Sequence[tuple[str, str]], shown: str | None, folder: Path) -> int:
    """Write a snapshot's two files, none where no product has a picture; returns how many have one.

    Args:
        items: [rows] of the item table, in the order of the snapshot.
        kinds: (column, kind) pairs.
        shown: the column that people are shown as the picture, which is taken where it holds bytes; otherwise the
            first column of the kind "image" is.
        folder: of the snapshot.

    Raises:
        DataError: the bytes of a row are no image that Pillow reads.
    """
    names = [name for name, kind in kinds if kind == "image"]
    if not names:
        return 0
    column = items[shown if shown in names else names[0]].reset_index(drop=True).dropna()
    if len(column):
        pictures(column, folder / PICTURES)
        np.save(folder / ROWS, column.index.to_numpy(np.int64), allow_pickle=False)
    return len(column)


def picture_columns(items: pd.DataFrame, kinds: Sequence[tuple[str, str]], shown: str | None) -> list[str]:
    """Columns that hold pictures: those of the kind "image", and the one that people are shown where it holds bytes."""
    names = {name for name, kind in kinds if kind == "image"}
    if shown is not None and any(isinstance(value, bytes) for value in items[shown].dropna().head(1)):
        names.add(shown)
    return sorted(names)


def picture_digests(items: pd.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64 bits [rows] of BLAKE2b of each item's pictures, by which a changed one is known; 0 where it has none."""
    found = np.zeros(len(items), np.uint64)
    for row, values in enumerate(zip(*(items[name] for name in columns), strict=True) if columns else ()):
        if any(isinstance(value, bytes) for value in values):
            digest = hashlib.blake2b(digest_size=8)
            for value in values:
                data = value if isinstance(value, bytes) else b""
                digest.update(len(data).to_bytes(8, "little") + data)
            found[row] = int.from_bytes(digest.digest(), "little")
    return found


def read_pictures(folder: Path) -> CataloguePictures | None:
    """What `write_pictures` wrote, memory-mapped; None where no product has a picture."""
    if not (folder / PICTURES).exists():
        return None
    return CataloguePictures(*(np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (PICTURES, ROWS)))


def pictures(column: pd.Series, path: Path | None = None) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Thumbnails of a column of image bytes, see serving/pictures.py.

    Args:
        column: [rows] image bytes or null; its name and labels appear in errors.
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
    for row, (label, data) in enumerate(column.items()):
        if has_picture[row]:
            images[row] = thumbnail(data, f"items.{column.name}, row {label}")
            progress.advance()
    progress.finish()
