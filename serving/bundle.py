"""The serving bundle: everything that must change together, in one folder under one content digest.

Files of a bundle folder (arrays are .npy and never pickled; rows are those of items.parquet):

    item_vectors.npy   float32 [items, D]    score = user vector . item vector; the last column is the item prior
    item_inputs.npy    float32 [items, Din]  what the visits of a history are summed from
    items.parquet      item_id and the columns people read; `available`, where the shop says what may be shown
    index/             index.json names the kind; for ScaNN also its parts, by relative path, without item ids
    user_tower.tflite  user vectors from the inputs of serving/encoding.py
    spec.json          feature specification; vocabulary.json, where there is one, turns values into tokens
    popularity.npy     int64 [items]         rows, best-selling first
    tombstones.json    ids of items that must never be shown, whatever the index finds
    doors.json         whether words and pictures are searched by, with what was measured, or why they are not;
                       where they are, also
    query*.{json,npy}, item_words.npy   the encoder of typed words, see serving/query_encoder.py
    item_text.npy      float32 [items, S]    the text block of the items' rows
    text_index/        as index/, over [item_vectors | item_text]
    image_encoder.tflite                vectors of pictures
    picture_vectors.npy, picture_rows.npy  float32 [pictured, P] and int64 [pictured], of products with a picture
    picture_index/     as index/, over picture_vectors
    photos.bin, photo_offsets.npy  small pictures to show, where the shop gives pictures (serving/photos.py)
    item_tower*, ...   what embeds products after the training, see serving/item_tower_files.py; nothing here reads it
    provenance.json    the contracts that led here, with their digests
    panel.json         histories without user ids, to compare bundles by (serving/panel.py)
    figures.json       what was measured and set, for people
    manifest.json      SHA-256 and size of all of the above, written last

A folder is trusted only after every file was checked against the manifest (bundle_files.py): two indexes of one
shape can be mixed up without an error, and a flipped bit never raises (both measured with ScaNN 1.4). Who can write
the store can write manifest and release record as well, so that the contents are then read as an enemy's would be
(strict_read.py, index_parts.py, lite_model.py).
"""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import TypeAdapter

from pipelines.artifacts import digest_of, write_json
from pipelines.columns import AVAILABLE, ITEM
from pipelines.errors import BundleRefused, CorruptArtifact
from serving import item_tower_files
from serving.bundle_files import (
    DEFAULT_BOUNDS,
    INDEX,
    ITEM_VECTORS,
    PICTURE_INDEX,
    REMEDY,
    TEXT_INDEX,
    Bounds,
    check_files,
    refusal,
    stamps,
)
from serving.calendar import table_rows
from serving.doors import (
    DOORS,
    IMAGE_ENCODER,
    ITEM_TEXT,
    PICTURE_FILES,
    PICTURE_VECTORS,
    TEXT_FILES,
    Doors,
    PicturePart,
    TextPart,
)
from serving.encoding import GAP_BUCKETS, Floats, Limits
from serving.index_files import IndexConfig, read_index
from serving.lite_model import TowerShape, check_user_tower, read_signatures
from serving.photos import PHOTO_FILES, Photos
from serving.served_spec import ServedSpec
from serving.strict_read import read_array, read_document, read_table

FROM_TRAINING = (ITEM_VECTORS, "item_inputs.npy", "user_tower.tflite")
FROM_SNAPSHOT = ("items.parquet", "spec.json")
_Ids = TypeAdapter(list[str])
_Named = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose every file was checked, opened."""

    path: Path
    digest: str
    item_vectors: Floats  # [items, D]
    item_inputs: Floats  # [items, Din]
    popularity: npt.NDArray[np.int64]  # [items]
    items: pa.Table  # [items] rows
    item_ids: tuple[str, ...]  # [items]; Python's collector looks through a list again and again
    rows: dict[str, int]  # item id -> row
    tombstones: npt.NDArray[np.int64]  # rows that are never shown
    unavailable: npt.NDArray[np.int64]  # rows that the shop did not have when the bundle was made
    hidden: npt.NDArray[np.int64]  # rows that no list may hold: the two together, ascending
    index: IndexConfig
    doors: Doors
    text: TextPart | None
    text_index: IndexConfig | None
    pictures: PicturePart | None
    picture_index: IndexConfig | None
    photos: Photos | None
    spec: dict[str, Any]
    provenance: dict[str, Any]
    stamps: Mapping[str, tuple[int, ...]] = field(repr=False)  # of the files when their check began

    @property
    def num_items(self) -> int:
        """Number of items, buried ones too."""
        return len(self.item_ids)

    @property
    def size_bytes(self) -> int:
        """Bytes of its files, about what it takes in memory."""
        return sum(size for _, _, size, _, _ in self.stamps.values())

    @property
    def limits(self) -> Limits:
        """Shape of the user tower's inputs."""
        return Limits.of(self.spec)

    def display(self, row: int) -> dict[str, Any]:
        """What people read of an item: its id, and title, category, price and image (None where unknown)."""
        columns = self.spec["display"]
        return {"item_id": self.item_ids[row]} | {
            name: self.items.column(column)[row].as_py() if column else None for name, column in columns.items()
        }

    @classmethod
    def load(
        cls, folder: str | Path, digest: str | None = None, bounds: Bounds = DEFAULT_BOUNDS
    ) -> "Bundle":
        """Check a bundle folder and open it.

        Args:
            folder: of the index stage or of the serving store.
            digest: the digest that a release names; any whole bundle will do where none is given.
            bounds: how large it may be.

        Raises:
            BundleRefused: a file is missing, surplus, changed or a link, or the contents do not agree.
            OSError: the disk could not be read; that says nothing about the bundle.
        """
        folder = Path(folder).resolve()
        if not folder.is_dir():
            raise refusal(folder, "there is no such folder")
        before = stamps(folder)
        found = digest_of(check_files(folder, bounds))
        if digest is not None and digest != found:
            raise BundleRefused(f"{folder} is bundle {found[:12]} where {digest[:12]} is asked for; {REMEDY}")
        try:
            return _open(folder, found, before)
        except (ValueError, TypeError, KeyError, EOFError, pa.ArrowException, CorruptArtifact) as error:
            if isinstance(error, BundleRefused):
                raise
            raise refusal(folder, f"its files are whole, of wrong content: {str(error)[:1000]!r}") from error

    def require_unchanged(self) -> None:
        """See that nobody wrote to the folder since its check began: what was read is then what was checked.

        Raises:
            CorruptArtifact: a file was written or replaced.
        """
        now = stamps(self.path)
        changed = sorted(name for name in self.stamps.keys() | now.keys() if self.stamps.get(name) != now.get(name))
        if changed:
            raise CorruptArtifact(f"{self.path}: {', '.join(changed)} changed while the bundle was opened; see who "
                                  "writes there, and open it again")


def write_bundle(target: Path, trained: Path, snapshot: Path, provenance: dict[str, Any]) -> None:
    """Copy the parts of a bundle into `target`, all but the indexes and the manifest.

    Args:
        target: folder that is being built.
        trained: folder of the train stage.
        snapshot: folder of the features stage.
        provenance: JSON without clock readings or paths, so that equal inputs give equal bytes.
    """
    doors = [DOORS, *Doors.load(trained).files] if (trained / DOORS).exists() else []
    vocabulary = [name for name in ("vocabulary.json",) if (snapshot / name).exists()]
    # A training of before there were refreshes has none.
    has_tower = (trained / item_tower_files.CONFIG).exists()
    tower, features = ((item_tower_files.FROM_TRAINING, item_tower_files.FROM_SNAPSHOT) if has_tower else ((), ()))
    for source, names in ((trained, [*FROM_TRAINING, *doors, *tower]),
                          (snapshot, [*FROM_SNAPSHOT, *vocabulary, *features])):
        for name in names:
            if not (source / name).is_file():
                raise CorruptArtifact(f"{source}: {name} is missing, so that no bundle can be made; "
                                      "remove that folder and run its stage again")
            shutil.copyfile(source / name, target / name)
    counts = np.load(snapshot / "item_counts.npy", allow_pickle=False)
    np.save(target / "popularity.npy", np.argsort(-counts, kind="stable").astype(np.int64))
    write_json(target / "tombstones.json", [])
    write_json(target / "provenance.json", provenance)


def _open(folder: Path, digest: str, before: Mapping[str, tuple[int, ...]]) -> Bundle:
    """Open checked files; ValueError where their contents do not belong together."""
    spec = read_document(folder / "spec.json")
    served = ServedSpec.model_validate(spec)
    if not served.event_weights.keys() <= set(served.event_types):
        raise ValueError(f"spec.json weighs events {sorted(served.event_weights)} of {served.event_types}")
    vectors = read_array(folder / "item_vectors.npy", np.float32, (None, None))
    items = len(vectors)
    if not vectors.size:
        raise ValueError(f"item_vectors.npy is {list(vectors.shape)}: there is nothing to recommend")
    with ThreadPoolExecutor(1) as beside:  # a quarter of the bundle, which its table need not wait for
        inputs_later = beside.submit(read_array, folder / "item_inputs.npy", np.float32, (items, None))
        popularity = read_array(folder / "popularity.npy", np.int64, (items,))
        table, item_ids, rows = _items(folder, items, served)
    inputs = inputs_later.result()
    if not np.array_equal(np.sort(popularity), np.arange(items)):
        raise ValueError("popularity.npy does not name each item row once")
    limits = Limits.of(spec)
    check_user_tower(folder / "user_tower.tflite", TowerShape(
        visits=served.visits, event_types=len(served.event_types), user_slots=limits.user_width,
        user_tokens=table_rows(spec), gaps=GAP_BUCKETS, inputs=inputs.shape[1], vector=vectors.shape[1]))
    if (folder / "vocabulary.json").exists():
        read_document(folder / "vocabulary.json")
    buried = _Ids.validate_python(read_document(folder / "tombstones.json"))
    # An id that this bundle does not know is buried already.
    tombstones = np.array(sorted(rows[i] for i in buried if i in rows), np.int64)
    # Null says nothing against an item.
    known = table.column(AVAILABLE).to_pylist() if AVAILABLE in table.column_names else []
    unavailable = np.array([row for row, is_available in enumerate(known) if is_available is False], np.int64)
    doors = Doors.load(folder)
    text, text_index = _text(folder, doors, vectors)
    pictures, picture_index = _pictures(folder, doors, items)
    return Bundle(
        folder, digest, vectors, inputs, popularity, table, item_ids, rows, tombstones, unavailable,
        np.union1d(tombstones, unavailable).astype(np.int64), read_index(folder / INDEX, vectors), doors, text,
        text_index, pictures, picture_index, _photos(folder, items), spec,
        _Named.validate_python(read_document(folder / "provenance.json")), before)


def _items(folder: Path, items: int, served: ServedSpec) -> tuple[pa.Table, tuple[str, ...], dict[str, int]]:
    """The table of the items, their ids, and which row each id is."""
    table = read_table(folder / "items.parquet", items)
    if missing := {ITEM, *(column for column in served.display.values() if column)} - set(table.column_names):
        raise ValueError(f"items.parquet lacks the columns {sorted(missing)} that spec.json shows")
    item_ids = tuple(table.column(ITEM).cast(pa.string()).to_pylist())
    if len(rows := dict(zip(item_ids, range(items), strict=True))) != items or None in rows:
        raise ValueError(f"items.parquet has {items:,} rows of {len(rows):,} different item ids")
    return table, item_ids, rows


def _text(folder: Path, doors: Doors, vectors: Floats) -> tuple[TextPart | None, IndexConfig | None]:
    """What words are searched by; nothing may be there where that door is closed."""
    if doors.search.closed is not None:
        _require_none(folder, *TEXT_FILES, TEXT_INDEX)
        return None, None
    _require(folder, *TEXT_FILES)
    block = read_array(folder / ITEM_TEXT, np.float32, (len(vectors), None))
    return TextPart.load(folder, block, *vectors.shape), read_index(folder / TEXT_INDEX, vectors, block)


def _pictures(folder: Path, doors: Doors, items: int) -> tuple[PicturePart | None, IndexConfig | None]:
    """What photographs are searched by; nothing may be there where that door is closed."""
    if doors.pictures.closed is not None:
        _require_none(folder, *PICTURE_FILES, PICTURE_INDEX)
        return None, None
    _require(folder, *PICTURE_FILES)
    vectors = read_array(folder / PICTURE_VECTORS, np.float32, (None, None))
    read_signatures(folder / IMAGE_ENCODER)
    return PicturePart.load(folder, vectors, items), read_index(folder / PICTURE_INDEX, vectors)


def _photos(folder: Path, items: int) -> Photos | None:
    """The pictures to show; both files or none."""
    present = [name for name in PHOTO_FILES if (folder / name).exists()]
    if present and len(present) < len(PHOTO_FILES):
        raise ValueError(f"it holds {present[0]} alone, {' and '.join(PHOTO_FILES)} belong together")
    return Photos.load(folder, items) if present else None


def _require(folder: Path, *names: str) -> None:
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ValueError(f"{missing[0]} is missing, which {DOORS} needs")


def _require_none(folder: Path, *names: str) -> None:
    surplus = [name for name in names if (folder / name).exists()]
    if surplus:
        raise ValueError(f"it holds {surplus[0]}, which serves a search that {DOORS} says is closed")
