"""A catalogue's pictures as one array."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from pipelines.pictures import pictures, read_pictures, write_pictures
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


KINDS = (("photo", "image"), ("back", "image"), ("price", "numeric"))


@pytest.mark.parametrize(("shown", "column"), [("back", "back"), ("photo", "photo"), (None, "photo"), ("url", "photo")])
def test_a_snapshot_holds_the_picture_that_people_are_shown(tmp_path: Path, shown: str | None, column: str) -> None:
    files = products(4, seed=0)[0]
    items = pd.DataFrame({"photo": [None, files[0], None, files[1]], "back": [files[2], None, None, files[3]],
                          "price": 1.0, "url": "https://shop/1.jpg"})
    assert write_pictures(items, KINDS, shown, tmp_path) == 2
    found = read_pictures(tmp_path)
    assert found is not None and isinstance(found.images, np.memmap)
    assert found.rows.tolist() == {"photo": [1, 3], "back": [0, 3]}[column]
    for row, image in zip(found.rows, found.images, strict=True):
        assert (image == thumbnail(items[column][row], "it")).all()


def test_a_damaged_picture_of_a_catalogue_is_named_by_its_row(tmp_path: Path) -> None:
    items = pd.DataFrame({"photo": [None, None, b"no picture"]})
    with pytest.raises(DataError, match=r"items\.photo, row 2: 10 bytes"):
        write_pictures(items, KINDS[:1], None, tmp_path)


@pytest.mark.parametrize("kinds", [KINDS[2:], KINDS[:1]])
def test_a_shop_without_pictures_has_no_file(tmp_path: Path, kinds: tuple[tuple[str, str], ...]) -> None:
    items = pd.DataFrame({"photo": [None, None], "price": [1.0, 2.0]})
    assert write_pictures(items, kinds, "photo", tmp_path) == 0
    assert read_pictures(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
