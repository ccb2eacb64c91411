"""Precision of nearest neighbours, and a picture of them."""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

K = 10
_CHUNK = 512  # queries that are scored at once
_CELL = (72, 96)  # pixels of a picture on the sheet, width and height

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]


def is_held_out(item_ids: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """[items] about `share` of the products, by the CRC-32 of the id: the same ones in every run and order."""
    return np.array([zlib.crc32(item.encode()) % 1000 < round(1000 * share) for item in item_ids])


def unit(vectors: npt.NDArray[np.floating]) -> Floats:
    """Vectors [n, D] at length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def nearest(vectors: Floats, queries: Rows, pool: Rows, k: int = K) -> Rows:
    """[queries, k] rows of `pool` by falling inner product with each query, the query itself left out.

    Args:
        vectors: [items, D] at length 1.
        queries, pool: rows of `vectors`.
    """
    found = np.empty((len(queries), k), np.intp)
    for first in range(0, len(queries), _CHUNK):
        asked = queries[first : first + _CHUNK]
        scores = vectors[asked] @ vectors[pool].T
        scores[asked[:, None] == pool[None]] = -np.inf
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        found[first : first + _CHUNK] = pool[np.take_along_axis(top, order, axis=1)]
    return found


def precision(neighbours: Rows, queries: Rows, category: npt.NDArray[np.intp]) -> float:
    """Part of the neighbours [queries, k] that are of their query's category; `category` is [items]."""
    return float((category[neighbours] == category[queries][:, None]).mean())


def contact_sheet(images: Sequence[bytes], queries: Rows, neighbours: Rows, path: Path) -> None:
    """Write a PNG: a row a query, the query first, then its neighbours [queries, k], nearest first."""
    width, height = _CELL
    gap = width // 4  # between a query and its neighbours
    sheet = Image.new("RGB", ((neighbours.shape[1] + 1) * width + gap, len(queries) * height), "white")
    for row, (query, others) in enumerate(zip(queries.tolist(), neighbours.tolist(), strict=True)):
        for column, item in enumerate([query, *others]):
            with Image.open(io.BytesIO(images[item])) as image:
                picture = image.convert("RGB").resize((width - 4, height - 4), Image.Resampling.LANCZOS)
            sheet.paste(picture, (column * width + (gap if column else 0) + 2, row * height + 2))
    sheet.save(path)
