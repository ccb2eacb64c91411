"""Reading files that somebody else may have written: bounded in bytes and depth, and never unpickled.

Every reader looks at the header before it reads what the header announces. Faults of content are ValueErrors (of
documents: CorruptArtifact) that name the file; an OSError is the disk's and says nothing about the file.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import CorruptArtifact

DOCUMENT_BYTES = 1 << 28  # a vocabulary of some millions of words
_DEPTH = 32  # the contract chain in provenance.json is the deepest that is written: below 16
_HEADER_CHARACTERS = 10_000
_TABLE_COLUMNS = 1000
_TABLE_ROWS_AT_ONCE = 1024
_TABLE_BYTES = 1 << 33


def read_document(path: Path, most_bytes: int = DOCUMENT_BYTES) -> Any:
    """Parsed JSON of `path`: strict (no NaN, no name twice), and bounded in bytes and depth.

    Raises:
        CorruptArtifact: it is missing, too large or too deep, or is not such JSON.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise ValueError(f"it has more than {most_bytes:,} bytes")
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_name_twice)
        _check_depth(value)
    except RecursionError as error:
        raise CorruptArtifact(f"{path} cannot be read as JSON: it is nested too deep") from error
    except (FileNotFoundError, ValueError) as error:
        raise CorruptArtifact(f"{path} cannot be read as JSON: {error}") from error
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of such an object might each take another of the two.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEPTH):
        level = [inner for outer in level if isinstance(outer, dict | list)
                 for inner in (outer.values() if isinstance(outer, dict) else outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {_DEPTH}")


def read_array(path: Path, dtype: npt.DTypeLike, shape: Sequence[int | None]) -> npt.NDArray[Any]:
    """The array of a .npy file, in memory; its header is checked before anything is allocated for it.

    Not memory-mapped: a mapped file that is cut short later ends the process with SIGBUS.

    Args:
        path: of the file.
        dtype: that it must have.
        shape: that it must have; None where any length will do.

    Raises:
        ValueError: another type or shape, bytes missing or left over, or numbers that are not finite.
    """
    with path.open("rb") as file:
        _check_header(file, path.name, dtype, shape)
        file.seek(0)
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        broken = (~np.isfinite(array).reshape(len(array), -1).all(axis=1)).sum()
        raise ValueError(f"{path.name} has numbers that are not finite in {broken:,} rows")
    return array


def array_blocks(
    path: Path, dtype: npt.DTypeLike, shape: Sequence[int], rows: int = 1 << 16
) -> Iterator[npt.NDArray[Any]]:
    """The array of a .npy file in blocks of `rows`, for what is looked at once: it never lies in memory as a whole.

    Args:
        path: of the file.
        dtype, shape: that it must have.
        rows: of a block; the last may be shorter.

    Raises:
        ValueError: another type or shape, bytes missing or left over, or an array that lies column by column.
    """
    with path.open("rb") as file:
        if _check_header(file, path.name, dtype, shape) and len(shape) > 1:
            raise ValueError(f"{path.name} lies column by column, which nobody writes")
        width = math.prod(shape[1:])
        for first in range(0, shape[0], rows):
            count = min(rows, shape[0] - first)
            yield np.fromfile(file, dtype, count * width).reshape(count, *shape[1:])


def _check_header(file: BinaryIO, name: str, dtype: npt.DTypeLike, shape: Sequence[int | None]) -> bool:
    """Read the header of a .npy file; whether the array lies column by column.

    Raises:
        ValueError: it is not what was asked for, or the file has another size.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        found = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER_CHARACTERS)
    elif version == (2, 0):
        found = np.lib.format.read_array_header_2_0(file, max_header_size=_HEADER_CHARACTERS)
    else:
        raise ValueError(f"{name} is in version {version} of the .npy format, (1, 0) or (2, 0) is read")
    found_shape, is_by_column, found_type = found
    fits = len(found_shape) == len(shape) and all(
        want in (None, have) for have, want in zip(found_shape, shape, strict=True))
    if found_type != np.dtype(dtype) or not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} is {found_type} {list(found_shape)} where {np.dtype(dtype)} [{wanted}] "
                         "is needed")
    announced = file.tell() + math.prod(found_shape) * found_type.itemsize
    if (size := os.fstat(file.fileno()).st_size) != announced:
        raise ValueError(f"{name} has {size:,} bytes where its header announces {announced:,}")
    return bool(is_by_column)


def read_table(path: Path, rows: int) -> pa.Table:
    """A Parquet table of plain columns.

    Args:
        path: of the file.
        rows: that it must have.

    Raises:
        ValueError: it is no Parquet file, has other columns than text, bytes, numbers, times, truth values and
            lists of them, another number of rows, or is far larger than its file.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if len(schema) > _TABLE_COLUMNS:
                raise ValueError(f"{path.name} has {len(schema):,} columns, at most {_TABLE_COLUMNS:,} are read")
            for column in schema:
                if not _is_plain(column.type):
                    raise ValueError(f"{path.name}: column {column.name!r} is {column.type}, which no bundle holds")
            if file.metadata.num_rows != rows:
                raise ValueError(f"{path.name} has {file.metadata.num_rows:,} rows where {rows:,} are needed")
            # By small batches: repeated values take no room in the file, and all of it in memory.
            batches, size = [], 0
            for batch in file.iter_batches(_TABLE_ROWS_AT_ONCE):
                size += batch.nbytes
                if size > _TABLE_BYTES:
                    raise ValueError(f"{path.name} has more than {_TABLE_BYTES:,} bytes when it is unpacked")
                batches.append(batch)
            # One chunk a column: a value is found at once, and what the batches took goes back to the system.
            table = pa.Table.from_batches(batches, schema).combine_chunks()
            del batches
        pa.default_memory_pool().release_unused()
    except (pa.ArrowException, OSError) as error:
        # Arrow says OSError of damaged content too; one of the disk has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path.name} is no readable Parquet file: {error}") from error
    if len(table) != rows:
        raise ValueError(f"{path.name} gave {len(table):,} rows where its footer announces {rows:,}")
    return table


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_plain(kind.value_type)
    plain = (types.is_primitive, types.is_string, types.is_large_string, types.is_binary, types.is_large_binary,
             types.is_decimal, types.is_null)
    return any(is_kind(kind) for is_kind in plain)
