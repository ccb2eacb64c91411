"""Precision of nearest neighbours: what a vector tells of a category."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

K = 10
_CHUNK = 512  # queries that are scored at once

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
