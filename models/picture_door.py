"""Search by picture, trained on a snapshot: the image encoder, the products' vectors, and what they tell."""

import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from models.image_encoder import fit
from models.neighbours import K, Rows, is_held_out, nearest, precision, unit
from models.token_bags import TokenBags
from pipelines import columns as c
from pipelines.errors import TooLittle
from pipelines.image_settings import ImageSettings
from pipelines.pictures import CataloguePictures
from pipelines.progress import duration, log
from pipelines.snapshot import SnapshotData
from serving.doors import PICTURE_ROWS, PICTURE_VECTORS, Door
from serving.encoding import Floats
from serving.image_encoder import ImageEncoder
from serving.pictures import HEIGHT, WIDTH, Pixels

HELD_SHARE = 0.1  # of the products, whose pictures are not learned from but measured with
_FEWEST = 20  # pictures that are measured with
_MOST = 1000
_POOL = 20_000  # pictures among which neighbours are looked for
_CELLS = 8  # a side, of the baseline


def train_pictures(data: SnapshotData, pictures: CataloguePictures, settings: ImageSettings, out: Path) -> Door:
    """Train search by picture and write its files, serving/doors.py, into `out`.

    A tenth of the products, chosen by their ids, is not learned from. Their pictures are asked with: what part of the
    ten nearest is of the same category? Beside it stands the same of 8 x 8 pixels, and of any ten pictures.

    Args:
        data: the snapshot.
        pictures: the snapshot's.
        settings: of the training.
        out: folder of the train stage.
    """
    started = time.monotonic()
    category, is_held = _category(data, pictures)
    labels = TokenBags(data.item_tokens_indptr, data.item_tokens, data.item_token_weights).take(pictures.rows)
    try:
        # Emptied and not left out: the pictures stay memory-mapped as they are.
        encoder = fit(pictures.images, labels.only(~is_held), settings)
    except TooLittle as error:
        log.warning("pictures are not searched by: %s", error)
        return Door(closed=str(error))
    # What serves is what is measured: the exported file.
    served = ImageEncoder(encoder.export(out), threads=min(os.cpu_count() or 1, 8))
    vectors = served.vectors(pictures.images)
    np.save(out / PICTURE_VECTORS, vectors, allow_pickle=False)
    np.save(out / PICTURE_ROWS, np.asarray(pictures.rows), allow_pickle=False)
    found = _figures(vectors, pictures.images, category, is_held)
    log.info("pictures: %s in %s", ", ".join(f"{name} {value:.3f}" for name, value in found.items())
             or "no category to measure them by", duration(time.monotonic() - started))
    return Door(figures=found)


def _category(data: SnapshotData, pictures: CataloguePictures) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Number of each pictured product's category, -1 where it has none, and which of them are held out.

    None are, where the shop has no categories or too few pictures to say anything by.
    """
    nobody = np.zeros(len(pictures.rows), bool)
    column = data.spec["display"]["category"]
    table = pq.read_table(data.path / "items.parquet", columns=[c.ITEM, *([column] if column else [])]).to_pandas()
    table = table.iloc[pictures.rows]
    if column is None:
        return np.full(len(table), -1, np.intp), nobody
    category = np.asarray(pd.factorize(table[column])[0], np.intp)
    is_held = is_held_out(table[c.ITEM].astype(str).tolist(), HELD_SHARE) & (category >= 0)
    return category, is_held if is_held.sum() >= _FEWEST else nobody


def _figures(vectors: Floats, images: Pixels, category: Rows, is_held: npt.NDArray[np.bool_]) -> dict[str, float]:
    """precision@10 of the vectors, of small pixels, and of chance, for pictures that were not learned from."""
    queries = _some(np.flatnonzero(is_held), _MOST)
    if not len(queries):
        return {}
    pool = np.union1d(_some(np.flatnonzero(category >= 0), _POOL), queries)
    if len(pool) <= K:
        return {}
    places = np.searchsorted(pool, queries)
    everybody = np.arange(len(pool))
    truth = category[pool]

    def found(of_pool: Floats) -> float:
        return precision(nearest(of_pool, places, everybody), places, truth)

    cells = images[pool].reshape(len(pool), _CELLS, HEIGHT // _CELLS, _CELLS, WIDTH // _CELLS, 3)
    pixels = unit(255.0 - cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(pool), -1))
    same = (np.bincount(truth)[truth[places]] - 1) / (len(pool) - 1)
    return {f"precision@{K}": found(vectors[pool]), f"pixels_precision@{K}": found(pixels),
            f"chance_precision@{K}": float(same.mean())}


def _some(rows: Rows, most: int) -> Rows:
    """At most `most` of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.intp))]
