"""The files of a bundle folder: which there may be, how large, and whether they are those of the manifest.

Everything here is decided by names, sizes and SHA-256. No file but the manifest is parsed, so that nothing of an
unknown folder is interpreted before every byte of it is accounted for. Names come from the tables below and never
from the folder or its manifest: there is no path to confine.
"""

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pipelines.artifacts import CONTRACT, MANIFEST, TIMINGS
from pipelines.contracts import Document
from pipelines.errors import BundleRefused, CorruptArtifact
from serving.doors import DOORS, PICTURE_FILES, TEXT_FILES
from serving.item_tower_files import FILES as TOWER_FILES
from serving.photos import PHOTO_FILES
from serving.strict_read import DOCUMENT_BYTES, read_document

ITEM_VECTORS = "item_vectors.npy"
INDEX, TEXT_INDEX, PICTURE_INDEX = "index", "text_index", "picture_index"
INDEXES = (INDEX, TEXT_INDEX, PICTURE_INDEX)
CONFIG = "index.json"
INDEX_CONFIG = f"{INDEX}/{CONFIG}"
REQUIRED = frozenset({
    ITEM_VECTORS, "item_inputs.npy", "items.parquet", INDEX_CONFIG, "user_tower.tflite", "spec.json",
    "popularity.npy", "tombstones.json", "provenance.json",
})
PANEL, FIGURES = "panel.json", "figures.json"
OPTIONAL = frozenset({
    "vocabulary.json", PANEL, FIGURES, DOORS, *TEXT_FILES, *PICTURE_FILES, *PHOTO_FILES, *TOWER_FILES,
})
# What ScaNN 1.4 writes for the one kind of index that the index stage builds. Its searcher unpickles a
# scann_docids.pkl wherever it finds one, so that such a name stands in no table.
SCANN_PARTS = frozenset({
    "scann_assets.pbtxt", "scann_config.pb", "ah_codebook.pb", "serialized_partitioner.pb", "datapoint_to_token.npy",
    "hashed_dataset.npy", "dataset.npy",
})
KNOWN = REQUIRED | OPTIONAL | {f"{index}/{part}" for index in INDEXES for part in (CONFIG, *SCANN_PARTS)}
_FOLDERS = frozenset(name.rpartition("/")[0] for name in KNOWN) - {""}
# Of the stage that made the folder: they may lie there, and nobody who serves reads them.
_BESIDE = frozenset({MANIFEST, CONTRACT, TIMINGS})
_MANIFEST_BYTES = 1 << 20
_MOST_ENTRIES = 1000  # of a folder: who fills it with millions of names is not to keep us listing them
REMEDY = "what serves now goes on serving; run the index stage again and promote its result"

_READERS = 2
_GIB = 1 << 30


class Bounds(Document):
    """How large a bundle may be; settings may only tighten it, so that no reader refuses what another must accept.

    Attributes:
        bundle_bytes: all files together. A bundle is read into memory, all but what ScaNN keeps on disk.
        file_bytes: any one file.
        model_bytes: a LiteRT model or a protocol buffer of ScaNN.
        document_bytes: a JSON or text file.
    """

    bundle_bytes: int = Field(64 * _GIB, ge=1, le=64 * _GIB)
    file_bytes: int = Field(16 * _GIB, ge=1, le=16 * _GIB)
    model_bytes: int = Field(1 * _GIB, ge=1, le=1 * _GIB)
    document_bytes: int = Field(DOCUMENT_BYTES, ge=1, le=DOCUMENT_BYTES)

    def of(self, name: str) -> int:
        """Most bytes of the file `name`."""
        by_kind = {".json": self.document_bytes, ".pbtxt": self.document_bytes, ".pb": self.model_bytes,
                   ".tflite": self.model_bytes}
        return min(by_kind.get(Path(name).suffix, self.file_bytes), self.file_bytes)


DEFAULT_BOUNDS = Bounds()


class _Entry(Document):
    """A file's line in the manifest."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, strict=True)


def check_files(folder: Path, bounds: Bounds = DEFAULT_BOUNDS) -> dict[str, dict[str, Any]]:
    """The manifest's files (path -> {"sha256", "bytes"}) of a folder that agrees with it to the byte.

    Links, foreign names and sizes are refused before any content is read.

    Raises:
        BundleRefused: the first disagreement, by file.
        OSError: the disk could not be read; that says nothing about the bundle.
    """
    if not folder.is_dir():
        raise refusal(folder, "there is no such folder")
    found = _plain_files(folder)
    files = _manifest(folder)
    foreign, missing = sorted(files.keys() - KNOWN), sorted((REQUIRED | files.keys()) - found)
    surplus, unnamed = sorted(found - files.keys() - _BESIDE), sorted(REQUIRED - files.keys())
    for names, fault in ((foreign, f"stands in {MANIFEST}, but no bundle holds such a file"),
                         (surplus, f"is not in {MANIFEST}"),
                         (missing + unnamed, f"is missing, or missing in {MANIFEST}")):
        if names:
            raise refusal(folder, f"{_shown(names[0])} {fault}")
    for name, entry in files.items():
        if entry.bytes > bounds.of(name):
            raise refusal(folder, f"{name} has {entry.bytes:,} bytes, at most {bounds.of(name):,} are read")
    if (total := sum(entry.bytes for entry in files.values())) > bounds.bundle_bytes:
        raise refusal(folder, f"its files have {total:,} bytes, at most {bounds.bundle_bytes:,} are read")
    with ThreadPoolExecutor(_READERS) as pool:  # SHA-256 lets other threads run
        largest = sorted(files, key=lambda name: (-files[name].bytes, name))
        checked = {name: pool.submit(_check_content, folder, name, files[name]) for name in largest}
        for name in sorted(files):
            checked[name].result()
    return {name: entry.model_dump() for name, entry in files.items()}


def stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """File -> what changes when somebody writes it or puts another in its place, without reading it."""
    return {
        name: (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        for name in sorted(_plain_files(folder) - _BESIDE) for found in [(folder / name).lstat()]
    }


def size_bytes(folder: Path) -> int:
    """Bytes of the files of a bundle folder, as they are now."""
    return sum(size for _, _, size, _, _ in stamps(folder).values())


def refusal(folder: Path, fault: str) -> BundleRefused:
    """The error that says what is wrong with the bundle in `folder`."""
    return BundleRefused(f"bundle {folder}: {fault}; {REMEDY}")


def _manifest(folder: Path) -> dict[str, _Entry]:
    try:
        files = read_document(folder / MANIFEST, _MANIFEST_BYTES)["files"]
        return {str(name): _Entry.model_validate(entry) for name, entry in dict(files).items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise refusal(folder, f"{MANIFEST} cannot be read ({first['loc']}: {first['msg']})") from error
    except (CorruptArtifact, KeyError, TypeError, ValueError) as error:
        raise refusal(folder, f"{MANIFEST} cannot be read ({error!r})") from error


def _plain_files(folder: Path) -> set[str]:
    """Relative paths of the files in `folder` and in the folders of a bundle below it, none of them a link."""
    files: set[str] = set()
    folders = [""]
    for inner in folders:
        with os.scandir(folder / inner) as entries:
            for count, entry in enumerate(entries):
                name = f"{inner}/{entry.name}" if inner else entry.name
                if count == _MOST_ENTRIES:
                    raise refusal(folder, f"{inner or 'the folder'} holds more than {_MOST_ENTRIES} names")
                if entry.is_file(follow_symlinks=False):
                    files.add(name)
                elif entry.is_dir(follow_symlinks=False) and name in _FOLDERS:
                    folders.append(name)
                else:
                    raise refusal(folder, f"{_shown(name)} is a link, a device or a foreign folder, a bundle "
                                          "holds plain files only")
    return files


def _shown(name: str) -> str:
    """A foreign name as it may stand in a log: on one line, and not without end."""
    return (name if name.isprintable() else repr(name))[:200]


def _check_content(folder: Path, name: str, entry: _Entry) -> None:
    try:
        # A link or a pipe that was put there since the folder was listed is neither followed nor waited for.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise refusal(folder, f"{name} went away while it was checked") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.bytes:
            raise refusal(folder, f"{name} has {found.st_size:,} bytes where {MANIFEST} says {entry.bytes:,}")
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != entry.sha256:
        raise refusal(folder, f"{name} has SHA-256 {sha256[:12]} where {MANIFEST} says {entry.sha256[:12]}")
