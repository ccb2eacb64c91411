"""Columns of a release as arrays: what filters and rules read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.catalogue import Catalogue, _labels
from tests.serving.shop import make_shop


@pytest.mark.parametrize("chunks", [1, 2])
def test_labels_of_each_item_and_of_none(chunks: int) -> None:
    parts = [pa.array(["red", None, "Red "]), pa.array(["blue", "red"])]
    column = pa.chunked_array(parts if chunks == 2 else [pa.concat_arrays(parts)])
    labels = _labels(column)
    assert labels.values == ("red", "blue")
    # Row 1 has no label; "Red " is another spelling of the first one.
    assert (labels.row.tolist(), labels.code.tolist()) == ([0, 2, 3, 4], [0, 0, 1, 0])
    many = _labels(pa.chunked_array([pa.array([["red", "blue"], [], None, ["blue", None]])]))
    assert (many.row.tolist(), many.code.tolist()) == ([0, 0, 3], [0, 1, 1])


def test_numbers_are_nan_where_they_are_missing(tmp_path: Path) -> None:
    catalogue = Catalogue(make_shop(tmp_path))
    prices = [10.0, None, 30.0]
    for kind in (pa.float64(), pa.float32(), pa.int32()):
        catalogue._table = pa.table({"price": pa.array(prices, kind)})
        catalogue._numbers.clear()
        found = catalogue.numbers("price")
        assert found.dtype == np.float64 and found[[0, 2]].tolist() == [10, 30] and np.isnan(found[1])


def test_columns_are_read_without_pandas(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": ["a", None], "labels": [["a"], None], "number": [1.5, None]}), tmp_path / "t")
    code = ("import sys, numpy as np; from serving.catalogue import _filled, _labels; "
            "from serving.strict_read import read_table; from pathlib import Path; "
            f"table = read_table(Path({str(tmp_path / 't')!r}), 2); _labels(table.column('label')); "
            "_labels(table.column('labels')); _filled(table.column('number'), np.nan); "
            "assert 'pandas' not in sys.modules")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
