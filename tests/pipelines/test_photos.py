"""Pictures to show: small, in one file, out of the table that is read into memory."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.artifacts import read_json, write_json
from pipelines.errors import CorruptArtifact, DataError
from pipelines.photos import pack_photos, photo
from serving.photos import MOST_BYTES, PHOTO_OFFSETS, PHOTOS, Photos


def encoded(kind: str, size: tuple[int, int], colour: tuple[int, ...], mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize(("size", "expected"), [
    ((2000, 1000), (640, 320)), ((1000, 2000), (320, 640)), ((300, 200), (300, 200)), ((641, 641), (640, 640)),
])
def test_a_photo_is_bounded_and_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    small = opened(photo(encoded("JPEG", size, (200, 30, 40)), "here"))
    assert small.size == expected
    assert small.convert("RGB").getpixel((5, 5)) == pytest.approx((200, 30, 40), abs=10)


def test_what_is_transparent_becomes_white() -> None:
    assert opened(photo(encoded("PNG", (50, 50), (0, 0, 0, 0), "RGBA"), "here")).convert("RGB").getpixel(
        (25, 25)) == pytest.approx((255, 255, 255), abs=3)


def write(folder: Path, images: list, column: str | None = "picture") -> None:
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(len(images))], "picture": images}),
                   folder / "items.parquet")
    write_json(folder / "spec.json", {"display": {"title": None, "image": column}, "visits": 5})


def test_pictures_go_from_the_table_into_one_file(tmp_path: Path) -> None:
    reds = [encoded("PNG", (40, 60), (red, 0, 0)) for red in (50, 250)]
    write(tmp_path, [reds[0], None, reds[1], None])
    assert pack_photos(tmp_path) == 2
    assert pq.read_schema(tmp_path / "items.parquet").names == ["item_id"]
    spec = read_json(tmp_path / "spec.json")
    assert spec == {"display": {"title": None, "image": None}, "visits": 5}
    photos = Photos.load(tmp_path, 4)
    assert [photos.has(row) for row in range(4)] == [True, False, True, False]
    assert [photos.of(row) for row in (1, 3)] == [None, None]
    for row, red in ((0, 50), (2, 250)):
        assert opened(photos.of(row)).convert("RGB").getpixel((20, 30))[0] == pytest.approx(red, abs=6)
    # Once done it changes nothing more.
    assert pack_photos(tmp_path) == 0


@pytest.mark.parametrize(("images", "column"), [(["https://shop.example/1.jpg"], "picture"), ([b"x"], None)])
def test_addresses_and_other_bytes_stay_where_they_are(tmp_path: Path, images: list, column: str | None) -> None:
    write(tmp_path, images, column)
    before = (tmp_path / "items.parquet").read_bytes()
    assert pack_photos(tmp_path) == 0
    assert (tmp_path / "items.parquet").read_bytes() == before
    assert not (tmp_path / PHOTOS).exists()


def test_bytes_that_are_no_picture_are_named(tmp_path: Path) -> None:
    write(tmp_path, [encoded("PNG", (9, 9), (0, 0, 0)), b"no picture"])
    with pytest.raises(DataError, match=r"items\.picture, row 1: 10 bytes are no readable image"):
        pack_photos(tmp_path)


@pytest.mark.parametrize(("offsets", "fault"), [
    ([0, 3, 5], "does not cut the 6 bytes"), ([1, 3, 6], "does not cut"), ([0, 7, 6], "does not cut"),
    ([0, 6], "any|3"), ([0, 3, 4, 6], "4"),
])
def test_offsets_that_do_not_fit_are_refused(tmp_path: Path, offsets: list[int], fault: str) -> None:
    (tmp_path / PHOTOS).write_bytes(b"abcdef")
    np.save(tmp_path / PHOTO_OFFSETS, np.array(offsets, np.int64))
    with pytest.raises(ValueError, match=fault):
        Photos.load(tmp_path, 2)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / PHOTOS).write_bytes(bytes(MOST_BYTES + 1))
    np.save(tmp_path / PHOTO_OFFSETS, np.array([0, MOST_BYTES + 1], np.int64))
    with pytest.raises(ValueError, match=r"a picture of 1,048,577 bytes"):
        Photos.load(tmp_path, 1)


def test_a_file_that_is_cut_short_later_is_an_error_and_not_half_a_picture(tmp_path: Path) -> None:
    (tmp_path / PHOTOS).write_bytes(b"abcdef")
    np.save(tmp_path / PHOTO_OFFSETS, np.array([0, 3, 6], np.int64))
    photos = Photos.load(tmp_path, 2)
    (tmp_path / PHOTOS).write_bytes(b"abcd")
    assert photos.of(0) == b"abc"
    with pytest.raises(CorruptArtifact, match="ends before the picture of row 1"):
        photos.of(1)
