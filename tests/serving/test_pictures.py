"""Thumbnails, derived by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DataError
from serving import pictures
from serving.pictures import thumbnail
from tests.picture_world import png


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def red(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (width, height), "red").convert(mode)


def test_an_upright_picture_of_the_right_proportions_fills_the_thumbnail() -> None:
    small = thumbnail(png(red(60, 80)), "it")
    assert (small.shape, small.dtype) == ((64, 48, 3), np.uint8)
    assert (small == [255, 0, 0]).all()


@pytest.mark.parametrize(("size", "rows", "columns"), [
    ((96, 96), slice(8, 56), slice(0, 48)),   # a square: 48 x 48, with (64 - 48) / 2 = 8 white rows above and below
    ((32, 128), slice(0, 64), slice(16, 32)),  # a tall one: 16 x 64, with (48 - 16) / 2 = 16 columns either side
    ((12, 16), slice(0, 64), slice(0, 48)),   # a small one grows
])
def test_the_whole_picture_stands_undistorted_on_white(size: tuple[int, int], rows: slice, columns: slice) -> None:
    small = thumbnail(png(red(*size)), "it")
    expected = np.full((64, 48, 3), 255, np.uint8)
    expected[rows, columns] = [255, 0, 0]
    assert (small == expected).all()


def test_a_line_is_still_a_pixel_wide() -> None:
    small = thumbnail(png(red(2, 4000)), "it")
    assert (small[:, 23] == [255, 0, 0]).all()
    assert (small[:, :23] == 255).all()


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (48, 64), (0, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 48, 32))
    small = thumbnail(png(image), "it").astype(int)
    assert (small[:32] == [0, 0, 255]).all()
    assert (small[32:] == 255).all()


def test_a_photograph_is_turned_as_its_camera_says() -> None:
    """Orientation 6: the camera was held upright, so the stored picture is to be turned by 90 degrees clockwise."""
    lying = Image.new("RGB", (640, 480), "white")
    lying.paste("black", (0, 0, 320, 480))  # the left half, which clockwise comes to lie on top
    exif = Image.Exif()
    exif[0x0112] = 6
    small = thumbnail(saved(lying, "JPEG", exif=exif, quality=95), "it")
    assert small[:30].max() < 20
    assert small[34:].min() > 235


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16"])
def test_other_colour_modes_are_read(mode: str) -> None:
    image = Image.new("I;16", (48, 64), 0) if mode == "I;16" else Image.new("RGB", (48, 64), "black").convert(mode)
    data = saved(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG")
    assert thumbnail(data, "it").max() < 3


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"not an image", png(red(60, 80))[:80]])
def test_bytes_that_are_no_image_are_named(data: bytes) -> None:
    with pytest.raises(DataError, match=rf"items\.image, row 3: {len(data)} bytes are no readable image .*PNG or JPEG"):
        thumbnail(data, "items.image, row 3")


def test_every_kind_of_damage_is_a_data_error() -> None:
    whole = bytearray(png(Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))))
    for at in range(len(whole)):
        damaged = whole.copy()
        damaged[at] ^= 0xFF
        try:
            assert thumbnail(bytes(damaged), "it").shape == (64, 48, 3)
        except DataError:
            continue


def test_an_enormous_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 4799)
    with pytest.raises(DataError, match=r"row 1: the image has 60 x 80 pixels, at most 4,799"):
        thumbnail(png(red(60, 80)), "row 1")
