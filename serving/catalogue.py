"""A release's items column by column, in the shape that filters, explanations and rules ask for.

Labels are compared with case folded, as shoppers and shops write them differently; a missing value has no label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipelines import columns as c
from pipelines.errors import DataError
from serving.bundle import Bundle

Bools = npt.NDArray[np.bool_]

LABEL_KINDS = ("categorical", "multi")


@dataclass(frozen=True)
class Labels:
    """A categorical or multi-valued column: its labels, and which rows have which.

    `row` and `code` are [pairs] in the order of rows: an item of two labels has two pairs.
    """

    values: tuple[str, ...]  # as the shop writes them, in order of first appearance
    codes: Mapping[str, int]  # folded label -> code; two spellings of one label share a code
    row: npt.NDArray[np.int32]
    code: npt.NDArray[np.int32]
    items: int

    def having(self, labels: Any) -> Bools:
        """Mask [items] of the items with at least one of `labels`; labels that no item has let nothing through."""
        wanted = [code for label in labels if (code := self.codes.get(fold(label))) is not None]
        mask = np.zeros(self.items, bool)
        mask[self.row[np.isin(self.code, wanted)]] = True
        return mask

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Items of each label [labels]."""
        return np.bincount(self.code, minlength=len(self.values)).astype(np.int64)

    @cached_property
    def indptr(self) -> npt.NDArray[np.int64]:
        """Where each item's pairs begin [items + 1]."""
        return np.searchsorted(self.row, np.arange(self.items + 1)).astype(np.int64)

    def of(self, row: int) -> list[int]:
        """Codes of one item."""
        found: list[int] = self.code[self.indptr[row] : self.indptr[row + 1]].tolist()
        return found


class Catalogue:
    """Columns of a bundle's items; each is read when it is first asked for."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.items = bundle.num_items
        display: Mapping[str, str | None] = bundle.spec["display"]
        self._table = bundle.items
        held = set(self._table.column_names)
        kinds = {field["name"]: field["kind"] for field in bundle.spec["item_fields"] if field["name"] in held}
        self.title, self.image = display.get("title"), display.get("image")
        self.category, self.price = display.get("category"), display.get("price")
        self.brand = next((name for name in c.BRAND if name in kinds), None)
        if self.category:
            kinds.setdefault(self.category, "categorical")
        if self.price:
            kinds.setdefault(self.price, "numeric")
        self.label_columns = tuple(name for name, kind in kinds.items() if kind in LABEL_KINDS)
        self.number_columns = tuple(name for name, kind in kinds.items() if kind == "numeric")
        self._text_columns = tuple(name for name, kind in kinds.items() if kind == "text")
        self._labels: dict[str, Labels] = {}
        self._numbers: dict[str, npt.NDArray[np.float64]] = {}
        self._lock = Lock()

    def labels(self, name: str) -> Labels:
        """A categorical or multi-valued column.

        Raises:
            DataError: this release has no such column; the message names those that it has.
        """
        if name not in self.label_columns:
            raise DataError(f"{name!r} is no categorical column of this release; it has "
                            f"{', '.join(self.label_columns) or 'none'}")
        with self._lock:
            if name not in self._labels:
                self._labels[name] = _labels(self._table.column(name))
            return self._labels[name]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A numeric column [items], NaN where the value is missing.

        Raises:
            DataError: this release has no such column; the message names those that it has.
        """
        if name not in self.number_columns:
            raise DataError(f"{name!r} is no numeric column of this release; it has "
                            f"{', '.join(self.number_columns) or 'none'}")
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = _filled(pc.cast(self._table.column(name), pa.float64(), safe=False), np.nan)
            return self._numbers[name]

    def shown(self, row: int) -> dict[str, Any]:
        """What people read of an item, by column: strings, numbers and lists of strings; no pictures, no nulls."""
        names = [*dict.fromkeys(name for name in (self.title, self.category, self.price) if name),
                 *(n for n in (*self.label_columns, *self.number_columns, *self._text_columns)
                   if n not in (self.title, self.category, self.price))]
        values = {name: _plain(self._table.column(name)[row].as_py()) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def picture_url(self, row: int) -> str | None:
        """The address of an item's picture, where the shop gives one."""
        value = self._table.column(self.image)[row].as_py() if self.image else None
        return value if isinstance(value, str) and value else None


def fold(label: Any) -> str:
    """A label as it is compared."""
    return str(label).strip().casefold()


def _labels(column: pa.ChunkedArray) -> Labels:
    items = len(column)
    if pt.is_list(column.type) or pt.is_large_list(column.type) or pt.is_fixed_size_list(column.type):
        row = _filled(pc.list_parent_indices(column), -1).astype(np.int32)
        flat = pc.list_flatten(column)
    else:
        row, flat = np.arange(items, dtype=np.int32), column
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    encoded = flat if pt.is_dictionary(flat.type) else pc.dictionary_encode(flat)
    codes: dict[str, int] = {}
    values: list[str] = []
    renamed = []
    for value in encoded.dictionary.to_pylist():
        folded = fold(value) if value is not None else ""
        if folded and folded not in codes:
            codes[folded] = len(values)
            values.append(str(value))
        renamed.append(codes.get(folded, -1))
    raw = _filled(encoded.indices, -1).astype(np.int64)
    code = np.array([*renamed, -1], np.int32)[raw]
    known = code >= 0
    return Labels(tuple(values), codes, row[known], code[known], items)


def _filled(column: pa.Array | pa.ChunkedArray, missing: float) -> npt.NDArray[Any]:
    """A column of numbers, with `missing` for nulls.

    By DLPack and without Arrow's scalars: `to_numpy` and `fill_null` import pandas wherever it is installed, which
    takes a second and 60 MB.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    known: npt.NDArray[Any] = np.from_dlpack(pc.drop_null(whole))
    if len(known) == len(whole):
        return known
    numbers = np.full(len(whole), missing, known.dtype)
    numbers[np.from_dlpack(pc.indices_nonzero(pc.is_valid(whole)))] = known
    return numbers


def _plain(value: Any) -> Any:
    """A value as JSON holds it; None where it says nothing."""
    if isinstance(value, str | bool | int):
        return value if value != "" else None
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, list):
        return [str(member) for member in value if member is not None] or None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return None if value is None or isinstance(value, bytes) else str(value)
