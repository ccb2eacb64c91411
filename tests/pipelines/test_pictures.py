"""A catalogue's pictures as one array."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from pipelines.pictures import pictures
from serving.pictures import thumbnail
from tests.picture_world import products


@pytest.fixture
def column() -> pd.Series:
    first, second = products(2, seed=0)[0]
    return pd.Series([first, None, second], name="photo", dtype=object)


def test_each_row_has_the_thumbnail_of_its_bytes(column: pd.Series) -> None:
    images, has_picture = pictures(column)
    assert has_picture.tolist() == [True, False, True]
    assert not images[1].any()
    for row in (0, 2):
        assert (images[row] == thumbnail(column[row], "it")).all()


def test_a_file_holds_the_same_array(column: pd.Series, tmp_path: Path) -> None:
    images, has_picture = pictures(column, tmp_path / "images.npy")
    assert isinstance(images, np.memmap)
    assert (images == pictures(column)[0]).all()
    assert has_picture.tolist() == [True, False, True]
    assert (np.load(tmp_path / "images.npy", allow_pickle=False) == images).all()


@pytest.mark.parametrize("values", [[], [None, None]])
def test_there_may_be_none_at_all(values: list[None], tmp_path: Path) -> None:
    column = pd.Series(values, name="photo", dtype=object)
    for path in (None, tmp_path / "images.npy"):
        images, has_picture = pictures(column, path)
        assert images.shape == (len(values), 64, 48, 3)
        assert not has_picture.any()


def test_a_damaged_picture_is_named_by_column_and_row(column: pd.Series) -> None:
    column[2] = b"no picture"
    with pytest.raises(DataError, match=r"items\.photo, row 2: 10 bytes are no readable image"):
        pictures(column)
