"""The pictures that people see, made small for a bundle."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.artifacts import read_json, write_json
from pipelines.progress import Progress
from serving.photos import PHOTO_OFFSETS, PHOTOS, SIDE
from serving.pictures import upright

_QUALITY = 82
_ROWS = 64  # read at once: a row may hold a whole photograph


def photo(data: bytes, where: str) -> bytes:
    """An image file as WebP, its longer side SIDE pixels at most; never enlarged.

    Raises:
        DataError: the bytes are no image that Pillow reads, or too large a one; `where` begins the message.
    """
    image = upright(data, where, SIDE)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=4)
    return file.getvalue()


def pack_photos(folder: Path) -> int:
    """Move the pictures out of a bundle's items.parquet into photos.bin, and return how many there are.

    The table's column goes, and spec.json shows none: what is read into memory holds no pictures. Where the shop
    gives addresses of pictures, or none, nothing changes.

    Args:
        folder: of a bundle that is being built, with items.parquet and spec.json.

    Raises:
        DataError: the bytes of a row are no image that Pillow reads.
    """
    spec, path = read_json(folder / "spec.json"), folder / "items.parquet"
    column = spec["display"]["image"]
    if column is None or not _is_bytes(pq.read_schema(path).field(column).type):
        return 0
    offsets = [0]
    with pq.ParquetFile(path) as table, (folder / PHOTOS).open("wb") as packed:
        progress = Progress("pictures to show", table.metadata.num_rows, "products")
        for batch in table.iter_batches(_ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                small = photo(value, f"items.{column}, row {len(offsets) - 1}") if value is not None else b""
                packed.write(small)
                offsets.append(offsets[-1] + len(small))
            progress.advance(len(batch))
        progress.finish()
    np.save(folder / PHOTO_OFFSETS, np.array(offsets, np.int64), allow_pickle=False)
    kept = [name for name in pq.read_schema(path).names if name != column]
    pq.write_table(pq.read_table(path, columns=kept), path)
    write_json(folder / "spec.json", spec | {"display": spec["display"] | {"image": None}})
    return int(np.count_nonzero(np.diff(offsets)))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
