"""One table of a feed, written in blocks as Parquet and as CSV at once."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv


class FeedFile:
    """`NAME.parquet` and `NAME.csv` (UTF-8, comma, quotes where needed, a line of names) with the same rows."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, stamp: Mapping[str, str]) -> None:
        """Open both files.

        Args:
            folder: that is being built.
            name: of the table.
            schema: of every block.
            stamp: stands in the Parquet file's own metadata.
        """
        self.schema, self.rows = schema.with_metadata(dict(stamp)), 0
        self._open = ExitStack()
        self._parquet = self._open.enter_context(pq.ParquetWriter(folder / f"{name}.parquet", self.schema,
                                                                  compression="zstd"))
        self._csv = self._open.enter_context(csv.CSVWriter(folder / f"{name}.csv", schema,
                                                           write_options=csv.WriteOptions(quoting_style="needed")))

    def write(self, columns: Mapping[str, object]) -> None:
        """Append rows: column name -> values, for every name of the schema."""
        table = pa.table([pa.array(columns[field.name], field.type) for field in self.schema], schema=self.schema)
        self._parquet.write_table(table)
        self._csv.write_table(table.replace_schema_metadata(None))
        self.rows += len(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.__exit__(kind, error, at)
