"""The bundle of a refresh: the base's towers and encoders, with today's items in every file that speaks of items."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from pipelines.artifacts import TIMINGS, read_json, seal, stage_key, write_json
from pipelines.contracts import Catalogue, Refreshed
from pipelines.encode import write_table
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import DataError
from pipelines.free_space import require_free
from pipelines.index_extend import Wanted, extend_all
from pipelines.item_texts import item_texts
from pipelines.photos import photo
from pipelines.progress import duration, log
from pipelines.refresh.asking import spaced, spaces
from pipelines.refresh.items import Base, Present, Rows
from pipelines.search_spaces import SHOPPERS
from serving.bundle_files import FIGURES, ITEM_VECTORS, PANEL
from serving.doors import DOORS, IMAGE_ENCODER, ITEM_TEXT, PICTURE_ROWS, PICTURE_VECTORS
from serving.image_encoder import ImageEncoder
from serving.item_tower_files import LENGTHS, PICTURE_DIGESTS, TOWER_FILES
from serving.panel import Panel
from serving.photos import PHOTO_OFFSETS, PHOTOS
from serving.pictures import SHAPE, thumbnail
from serving.query_encoder import FILES as QUERY_FILES
from serving.release import Release

STAGE = "refresh"
FORMAT = 1
_SAME = ("user_tower.tflite", "spec.json", "vocabulary.json", "tombstones.json", DOORS, *TOWER_FILES)
_BATCH = 256  # pictures that are made small at once


class RefreshSettings(Wanted):
    """How a refreshed bundle is made.

    Attributes:
        recall_queries: shoppers that are asked for; words and pictures too.
    """

    recall_queries: int = Field(300, ge=1)


def make_bundle(
    base: Base, promoted: Release, catalogue: Catalogue, items: Present, settings: RefreshSettings,
    exclusion: Exclusion, root: Path,
) -> Refreshed:
    """Seal the bundle of `base` with the items of `catalogue`; done once for the same inputs.

    Args:
        base: the bundle that the live model was promoted with.
        promoted: the release of that.
        catalogue: today's items.
        items: what becomes of them.
        settings: of the refresh.
        exclusion: who was erased; their histories do not go on in the panel.
        root: of the artefacts.

    Raises:
        DataError: a picture cannot be read, or no product is left that a search needs.
        ErasedMeanwhile: somebody was erased while the bundle was made; another try leaves them out.
    """
    key = stage_key(STAGE, FORMAT, base.bundle.digest, catalogue.digest, settings, exclusion.digest)

    def build(out: Path) -> dict[str, Any]:
        require_free(out, 2 * base.bundle.size_bytes, "the refreshed bundle")
        return _build(base, catalogue, items, settings, exclusion, out) | {
            "source": catalogue.source, "catalogue": catalogue.digest, "base": promoted.number}

    return seal(Refreshed, root, STAGE, key, build, exclusion.require_unchanged)


def _build(
    base: Base, catalogue: Catalogue, items: Present, settings: RefreshSettings, exclusion: Exclusion, out: Path
) -> dict[str, Any]:
    began, bundle = time.monotonic(), base.bundle
    for name in _SAME:
        shutil.copyfile(bundle.path / name, out / name)
    np.save(out / ITEM_VECTORS, items.embedded.vectors, allow_pickle=False)
    np.save(out / "item_inputs.npy", items.embedded.inputs, allow_pickle=False)
    np.save(out / LENGTHS, items.embedded.lengths, allow_pickle=False)
    items.features.save(out)
    np.save(out / PICTURE_DIGESTS, items.digests, allow_pickle=False)
    np.save(out / "popularity.npy", _popularity(base, items), allow_pickle=False)
    write_table(items.shown(base), out / "items.parquet")
    words = _words(base, items, out, settings.recall_queries)
    _pictures(base, items, out)
    _photos(base, items, out)
    panel = Panel.load(bundle.path).without(exclusion.erased.hides)
    write_json(out / PANEL, panel)
    written = time.monotonic()
    recalls = extend_all(bundle.path, out, list(spaces(base, panel, words, out, settings.recall_queries)),
                         Wanted.model_validate(settings.model_dump(include=set(Wanted.model_fields))))
    figures = read_json(bundle.path / FIGURES) if (bundle.path / FIGURES).exists() else {"format": 1}
    write_json(out / FIGURES, figures | {
        "index": {f"{asked_by} recall@{settings.recall_k}": recall for asked_by, recall in recalls.items()}})
    # The chain of the training stays: this is its model, and its data end where they ended.
    write_json(out / "provenance.json", bundle.provenance | {
        "refreshed": {"base": bundle.digest, "catalogue": catalogue.digest}})
    write_json(out / TIMINGS, {"files_s": written - began, "indexes_s": time.monotonic() - written})
    counts = {"items": len(items.table), "added": int(items.is_new.sum()), "changed": int(items.is_changed.sum()),
              "removed": bundle.num_items - int((~items.is_new).sum())}
    log.info("refresh: %s items, +%s -%s, %s with other features, %s", f"{counts['items']:,}", f"{counts['added']:,}",
             f"{counts['removed']:,}", f"{counts['changed']:,}", duration(time.monotonic() - began))
    return {**counts, "recall": recalls.pop(SHOPPERS), "recall_k": settings.recall_k, "search_recalls": recalls}


def _popularity(base: Base, items: Present) -> Any:
    """Rows, best-selling first as in the base; what is new comes last."""
    place = np.empty(base.bundle.num_items, np.int64)
    place[base.bundle.popularity] = np.arange(len(place))
    order = np.where(items.is_new, len(place), place[np.maximum(items.base_row, 0)])
    return np.argsort(order, kind="stable").astype(np.int64)


def _words(base: Base, items: Present, out: Path, queries: int) -> list[list[str]] | None:
    """Write what words are searched by; the words of evenly spaced items, None where that door is closed.

    Only the words of items that say something else than in the base are read for the text block.
    """
    text = base.bundle.text
    if text is None:
        return None
    for name in QUERY_FILES:
        shutil.copyfile(base.bundle.path / name, out / name)

    def words(rows: Rows) -> list[list[str]]:
        title = base.bundle.spec["display"]["title"]
        return [own.words for own in item_texts(items.table.iloc[rows], base.kinds, title)]

    asked = [own for own in words(spaced(len(items.table), queries)) if own]
    if not asked:
        raise DataError(f"none of {queries} products that were looked at has a word any more, and the live model is "
                        "searched by words: give the titles")
    block = text.vectors[np.maximum(items.base_row, 0)]
    others = np.flatnonzero(~items.is_told_alike)
    block[others] = text.encoder.text_block(words(others))
    np.save(out / ITEM_TEXT, block, allow_pickle=False)
    return asked


def _pictures(base: Base, items: Present, out: Path) -> None:
    """Write what photographs are compared with; only pictures that are new are read."""
    pictures = base.bundle.pictures
    if pictures is None:
        return
    shutil.copyfile(base.bundle.path / IMAGE_ENCODER, out / IMAGE_ENCODER)
    names = [name for name, kind in base.kinds if kind == "image"]
    column = items.table["image" if "image" in names else names[0]]
    rows = np.flatnonzero(column.notna().to_numpy())
    if not len(rows):
        raise DataError(f"no product has a picture in {column.name} any more, and the live model is searched by "
                        "pictures: give them, or retrain")
    place = np.full(base.bundle.num_items, -1)
    place[pictures.rows] = np.arange(len(pictures.rows))
    before = np.where(items.has_its_picture[rows], place[np.maximum(items.base_row[rows], 0)], -1)
    vectors = pictures.vectors[before]
    encoder, others = ImageEncoder(base.bundle.path / IMAGE_ENCODER), np.flatnonzero(before < 0)
    for first in range(0, len(others), _BATCH):
        part = others[first : first + _BATCH]
        images = np.empty((len(part), *SHAPE), np.uint8)
        for image, row in zip(images, rows[part], strict=True):
            image[:] = thumbnail(column.iloc[row], _where(items.table, str(column.name), int(row)))
        vectors[part] = encoder.vectors(images)
    np.save(out / PICTURE_VECTORS, vectors, allow_pickle=False)
    np.save(out / PICTURE_ROWS, rows.astype(np.int64), allow_pickle=False)


def _photos(base: Base, items: Present, out: Path) -> None:
    """Write the pictures that people see; only those that are new are made small."""
    photos, column = base.bundle.photos, base.shown_picture
    if photos is None or column is None:
        return
    offsets = [0]
    with (out / PHOTOS).open("wb") as packed:
        for row, value in enumerate(items.table[column]):
            if items.has_its_picture[row]:
                small = photos.of(int(items.base_row[row])) or b""
            else:
                small = photo(value, _where(items.table, column, row)) if isinstance(value, bytes) else b""
            packed.write(small)
            offsets.append(offsets[-1] + len(small))
    np.save(out / PHOTO_OFFSETS, np.array(offsets, np.int64), allow_pickle=False)


def _where(table: pd.DataFrame, column: str, row: int) -> str:
    return f"items.{column} of {table.iloc[row, 0]!r}"
