"""Dense item features: standardised numbers, given vectors, and small pictures as pixels."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, UnidentifiedImageError

from pipelines.errors import DataError

PICTURE_SIDE = 8  # pixels; colour and coarse shape, which is what such a thumbnail can tell


def picture(data: bytes | None, column: str, row: int) -> npt.NDArray[np.float32]:
    """RGB thumbnail of an image file as [PICTURE_SIDE ** 2 * 3] numbers in 0..1; zeros where there is none.

    Raises:
        DataError: the bytes are no image that Pillow reads.
    """
    if data is None:
        return np.zeros(PICTURE_SIDE * PICTURE_SIDE * 3, np.float32)
    try:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB").resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"items.{column}, row {row}: {len(data)} bytes are no readable image ({error}); "
                        "give PNG or JPEG bytes, or null") from error
    return (np.asarray(small, np.float32).reshape(-1) / 255).astype(np.float32)


def numbers(column: pd.Series) -> npt.NDArray[np.float32]:
    """[rows, 1] signed log of a numeric column (prices span decades), NaN where missing."""
    values = column.to_numpy(np.float64, na_value=np.nan)
    logs: npt.NDArray[np.float32] = (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)
    return logs[:, None]


def given_vectors(column: pd.Series, width: int | None = None) -> npt.NDArray[np.float32]:
    """[rows, width] of a column of equally long float lists, NaN where missing; the width is the first one's."""
    width = len(next(v for v in column if v is not None)) if width is None else width
    return np.stack([np.full(width, np.nan, np.float32) if v is None else np.asarray(v, np.float32) for v in column])


def dense_block(
    table: pd.DataFrame, kinds: Sequence[tuple[str, str]], is_trained: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Standardised dense features [rows, width] of `kinds`, and how they were made, for the specification.

    Mean and deviation come from the rows `is_trained`; a missing value becomes the mean. Each field is
    divided by the root of its width, so that a picture of 192 numbers weighs as much as a price.
    """
    blocks, notes = [np.zeros((len(table), 0), np.float32)], []
    for name, kind in kinds:
        if kind == "numeric":
            block = numbers(table[name])
        elif kind == "vector":
            block = given_vectors(table[name])
        else:
            block = np.stack([picture(data, name, row) for row, data in enumerate(table[name])])
        known = block[is_trained]
        mean, scale = np.nanmean(known, axis=0), np.nanstd(known, axis=0) + 1e-6
        blocks.append(np.nan_to_num((block - mean) / scale).astype(np.float32) / np.float32(block.shape[1] ** 0.5))
        notes.append({"name": name, "kind": kind, "width": block.shape[1],
                      "mean": [float(m) for m in mean], "scale": [float(s) for s in scale]})
    return np.concatenate(blocks, axis=1), notes


def dense_as_noted(
    table: pd.DataFrame, notes: Sequence[Mapping[str, Any]], before: npt.NDArray[np.float32],
    has_its_picture: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Dense features [rows, width] of a table, made as `dense_block` noted when it made those of another.

    Args:
        table: [rows], with the columns that the notes name.
        notes: what `dense_block` returned.
        before: [rows, width] features that the rows had.
        has_its_picture: [rows] where the pictures are still the ones that `before` was made of; only others are read.

    Raises:
        DataError: a vector is of another length, or the bytes of a row are no image that Pillow reads.
    """
    found, first = np.empty((len(table), sum(note["width"] for note in notes)), np.float32), 0
    for note in notes:
        name, width = note["name"], note["width"]
        rows = np.arange(len(table))
        part = slice(first, first + width)
        if note["kind"] == "numeric":
            block = numbers(table[name])
        elif note["kind"] == "vector":
            strange = {len(value) for value in table[name] if value is not None} - {width}
            if strange:
                raise DataError(f"items.{name} has vectors of {min(strange)} numbers where the model was trained on "
                                f"{width}: retrain")
            block = given_vectors(table[name], width)
        else:
            found[:, part] = before[:, part]
            rows = np.flatnonzero(~has_its_picture)
            block = np.array([picture(table[name].iloc[row], name, int(row)) for row in rows], np.float32)
            block = block.reshape(len(rows), width)
        mean, scale = np.array(note["mean"], np.float32), np.array(note["scale"], np.float32)
        found[rows, part] = np.nan_to_num((block - mean) / scale).astype(np.float32) / np.float32(width**0.5)
        first += width
    return found
