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
    provenance.json    the contracts that led here, with their digests
    manifest.json      SHA-256 and size of all of the above, written last

A folder is trusted only after every file was checked against the manifest: two indexes of one shape can
be mixed up without an error, and a flipped bit never raises (both measured with ScaNN 1.4).
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from pipelines.artifacts import CONTRACT, MANIFEST, TIMINGS, digest_of, file_digest, read_json, write_json
from pipelines.columns import AVAILABLE, ITEM
from pipelines.contracts import Document
from pipelines.errors import BundleRefused, CorruptArtifact
from serving.doors import DOORS, ITEM_TEXT, PICTURE_FILES, PICTURE_VECTORS, TEXT_FILES, Doors, PicturePart, TextPart
from serving.encoding import Floats, Limits

ITEM_VECTORS = "item_vectors.npy"
INDEX, TEXT_INDEX, PICTURE_INDEX = "index", "text_index", "picture_index"
CONFIG = "index.json"
INDEX_CONFIG = f"{INDEX}/{CONFIG}"
REQUIRED = frozenset({
    ITEM_VECTORS, "item_inputs.npy", "items.parquet", INDEX_CONFIG, "user_tower.tflite", "spec.json",
    "popularity.npy", "tombstones.json", "provenance.json",
})
OPTIONAL = frozenset({"vocabulary.json", DOORS, *TEXT_FILES, *PICTURE_FILES, f"{TEXT_INDEX}/{CONFIG}",
                      f"{PICTURE_INDEX}/{CONFIG}"})
FROM_TRAINING = (ITEM_VECTORS, "item_inputs.npy", "user_tower.tflite")
FROM_SNAPSHOT = ("items.parquet", "spec.json")
_INDEX_PART = re.compile(rf"({INDEX}|{TEXT_INDEX}|{PICTURE_INDEX})/[A-Za-z0-9_]+\.(npy|pb|pbtxt)")
_ASSET_PATH = re.compile(r'asset_path:\s*"([^"]*)"')
_REMEDY = "what serves now goes on serving; run the index stage again and promote its result"


class IndexConfig(Document):
    """index/index.json: the kind of search, and for ScaNN what every query searches with.

    Attributes:
        kind: "exact" compares with every item, "scann" with those of the nearest leaves.
        leaves: number of leaves of ScaNN's tree.
        leaves_to_search: leaves that a query looks into.
        reorder: candidates whose exact score is computed.
    """

    kind: Literal["exact", "scann"]
    leaves: int | None = Field(default=None, ge=1)
    leaves_to_search: int | None = Field(default=None, ge=1)
    reorder: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose every file was checked, opened."""

    path: Path
    digest: str
    item_vectors: Floats  # [items, D]
    item_inputs: Floats  # [items, Din]
    popularity: npt.NDArray[np.int64]  # [items]
    items: pa.Table  # [items] rows
    item_ids: list[str]  # [items]
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
    spec: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def num_items(self) -> int:
        """Number of items, buried ones too."""
        return len(self.item_ids)

    @property
    def limits(self) -> Limits:
        """Shape of the user tower's inputs."""
        return Limits(self.spec["visits"], len(self.spec["event_types"]), self.spec["user_slots"])

    def display(self, row: int) -> dict[str, Any]:
        """What people read of an item: its id, and title, category, price and image (None where unknown)."""
        columns = self.spec["display"]
        return {"item_id": self.item_ids[row]} | {
            name: self.items.column(column)[row].as_py() if column else None for name, column in columns.items()
        }

    @classmethod
    def load(cls, folder: str | Path, digest: str | None = None) -> "Bundle":
        """Check a bundle folder and open it.

        Args:
            folder: of the index stage or of the serving store.
            digest: the digest that a release names; any whole bundle will do where none is given.

        Raises:
            BundleRefused: a file is missing, surplus, changed or a link, or the arrays do not agree.
        """
        folder = Path(folder).resolve()
        found = digest_of(check_files(folder))
        if digest is not None and digest != found:
            raise BundleRefused(f"{folder} is bundle {found[:12]} where {digest[:12]} is asked for; {_REMEDY}")
        try:
            return _open(folder, found)
        except (ValueError, TypeError, KeyError, OSError, pa.ArrowException, CorruptArtifact) as error:
            if isinstance(error, BundleRefused):
                raise
            raise BundleRefused(f"{folder} has whole files of wrong content: {error!r}; {_REMEDY}") from error


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
    for source, names in ((trained, [*FROM_TRAINING, *doors]), (snapshot, [*FROM_SNAPSHOT, *vocabulary])):
        for name in names:
            if not (source / name).is_file():
                raise CorruptArtifact(f"{source}: {name} is missing, so that no bundle can be made; "
                                      "remove that folder and run its stage again")
            shutil.copyfile(source / name, target / name)
    counts = np.load(snapshot / "item_counts.npy", allow_pickle=False)
    np.save(target / "popularity.npy", np.argsort(-counts, kind="stable").astype(np.int64))
    write_json(target / "tombstones.json", [])
    write_json(target / "provenance.json", provenance)


def check_files(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest's files (path -> {"sha256", "bytes"}) of a folder that agrees with it to the byte.

    Nothing is opened but the manifest and what it names; links and foreign names are refused first.

    Raises:
        BundleRefused: the first disagreement, by file.
    """

    if not folder.is_dir():
        raise _refusal(folder, "there is no such folder")
    found = _plain_files(folder)
    try:
        files = dict(read_json(folder / MANIFEST)["files"])
        expected = {name: (str(entry["sha256"]), int(entry["bytes"])) for name, entry in files.items()}
    except (CorruptArtifact, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refusal(folder, f"{MANIFEST} cannot be read ({error!r})") from error
    known = REQUIRED | OPTIONAL
    foreign = sorted(name for name in expected if name not in known and not _INDEX_PART.fullmatch(name))
    surplus = sorted(found - expected.keys() - {MANIFEST, CONTRACT, TIMINGS})
    missing = sorted((REQUIRED | expected.keys()) - found) + sorted(REQUIRED - expected.keys())
    for names, fault in ((foreign, f"stands in {MANIFEST}, but no bundle holds such a file"),
                         (surplus, f"is not in {MANIFEST}"), (missing, f"is missing, or missing in {MANIFEST}")):
        if names:
            raise _refusal(folder, f"{names[0]} {fault}")
    for name, (sha256, size) in sorted(expected.items()):
        if (actual := (folder / name).stat().st_size) != size:
            raise _refusal(folder, f"{name} has {actual:,} bytes where {MANIFEST} says {size:,}")
        if (content := file_digest(folder / name)) != sha256:
            raise _refusal(folder, f"{name} has SHA-256 {content[:12]} where {MANIFEST} says {sha256[:12]}")
    return files


def _plain_files(folder: Path) -> set[str]:
    """Relative paths of the files below `folder`, none of them a link or behind one."""
    found: set[str] = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _refusal(folder, f"{name} is a link or a device, a bundle holds plain files only")
        if path.is_file():
            found.add(name)
    return found


def _refusal(folder: Path, fault: str) -> BundleRefused:
    return BundleRefused(f"bundle {folder}: {fault}; {_REMEDY}")


def _matrix(folder: Path, name: str) -> Floats:
    array: Floats = np.load(folder / name, allow_pickle=False)
    if array.ndim != 2 or array.dtype != np.float32:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)} where float32 [items, columns] is needed")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has numbers that are not finite in {(~np.isfinite(array).all(axis=1)).sum():,} rows")
    return array


def _index_config(folder: Path, index: str = INDEX) -> IndexConfig:
    """index.json of one index, and the promise that ScaNN is led to no file outside the bundle."""
    try:
        config = IndexConfig.model_validate(read_json(folder / index / CONFIG))
    except ValidationError as error:
        raise ValueError(f"{index}/{CONFIG}: {error}") from error
    parts = {path.name for path in (folder / index).iterdir()} - {CONFIG}
    if config.kind == "exact":
        if parts:
            raise ValueError(f"an exact index has no parts, {index}/ holds {sorted(parts)}")
        return config
    if None in (config.leaves, config.leaves_to_search, config.reorder):
        raise ValueError(f"{index}/{CONFIG} lacks leaves, leaves_to_search or reorder")
    named = set(_ASSET_PATH.findall((folder / index / "scann_assets.pbtxt").read_text(encoding="utf-8")))
    if not named or named - parts:
        raise ValueError(f"scann_assets.pbtxt names {sorted(named - parts)}, which {index}/ does not hold")
    return config


def _open(folder: Path, digest: str) -> Bundle:
    """Open checked files; ValueError where their contents do not belong together."""
    vectors, inputs = _matrix(folder, "item_vectors.npy"), _matrix(folder, "item_inputs.npy")
    popularity = np.load(folder / "popularity.npy", allow_pickle=False)
    table = pq.read_table(folder / "items.parquet")
    item_ids = table.column(ITEM).cast(pa.string()).to_pylist()
    sizes = {"item_vectors.npy": len(vectors), "item_inputs.npy": len(inputs), "items.parquet": len(item_ids),
             "popularity.npy": len(popularity)}
    if len(set(sizes.values())) != 1 or not len(vectors):
        raise ValueError(f"rows differ or are none: {sizes}")
    if popularity.ndim != 1 or not np.array_equal(np.sort(popularity), np.arange(len(vectors))):
        raise ValueError("popularity.npy does not name each item row once")
    rows = {item_id: row for row, item_id in enumerate(item_ids)}
    if len(rows) != len(item_ids) or None in rows:
        raise ValueError(f"items.parquet has {len(item_ids):,} rows of {len(rows):,} different item ids")
    spec = read_json(folder / "spec.json")
    if min(spec["visits"], len(spec["event_types"])) < 1 or spec["user_slots"] < 0:
        raise ValueError("spec.json has no visits or no event types")
    missing = {column for column in spec["display"].values() if column} - set(table.column_names)
    if missing:
        raise ValueError(f"items.parquet lacks the columns {sorted(missing)} that spec.json shows")
    buried = read_json(folder / "tombstones.json")
    # An id that this bundle does not know is buried already.
    tombstones = np.array(sorted(rows[i] for i in buried if i in rows), np.int64)
    # Null says nothing against an item.
    known = table.column(AVAILABLE).to_pylist() if AVAILABLE in table.column_names else []
    unavailable = np.array([row for row, is_available in enumerate(known) if is_available is False], np.int64)
    hidden = np.union1d(tombstones, unavailable).astype(np.int64)
    doors = Doors.load(folder)
    for name in (*TEXT_FILES, *PICTURE_FILES):
        if (folder / name).exists() != (name in doors.files):
            raise ValueError(f"{name} is missing, which {DOORS} needs" if name in doors.files
                             else f"it holds {name}, which serves a search that {DOORS} says is closed")
    text = pictures = None
    if doors.search.closed is None:
        text = TextPart.load(folder, _matrix(folder, ITEM_TEXT), *vectors.shape)
    if doors.pictures.closed is None:
        pictures = PicturePart.load(folder, _matrix(folder, PICTURE_VECTORS), len(vectors))
    return Bundle(folder, digest, vectors, inputs, popularity, table, item_ids, rows, tombstones, unavailable,
                  hidden, _index_config(folder), doors,
                  text, _index_config(folder, TEXT_INDEX) if text else None,
                  pictures, _index_config(folder, PICTURE_INDEX) if pictures else None,
                  spec, read_json(folder / "provenance.json"))
