"""Product pictures as small arrays: the one preparation that training, the catalogue and a shopper's upload share."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipelines.errors import DataError

HEIGHT, WIDTH = 64, 48  # pixels: products are shown upright more often than lying
SHAPE = (HEIGHT, WIDTH, 3)
MAX_PIXELS = 50_000_000  # a photograph of today's telephones; beyond it decoding is a danger to the process

Pixels = npt.NDArray[np.uint8]


def thumbnail(data: bytes, where: str) -> Pixels:
    """RGB thumbnail uint8 [HEIGHT, WIDTH, 3] of an image file, whole and undistorted on a white ground.

    Args:
        data: bytes of PNG, JPEG, or what else Pillow reads.
        where: what the message of an error calls them, such as "items.image, row 3".

    Raises:
        DataError: the bytes are no image that Pillow reads, or one of more than MAX_PIXELS pixels.
    """
    # Twice the size is kept for quality.
    return _letter_box(upright(data, where, 2 * HEIGHT))


def upright(data: bytes, where: str, size: int) -> Image.Image:
    """An image file in RGB, turned as its EXIF orientation says, with white for what was transparent.

    Args:
        data: bytes of PNG, JPEG, or what else Pillow reads.
        where: what the message of an error calls them.
        size: what is needed, in pixels; a larger JPEG is decoded at 1/2, 1/4 or 1/8 where that is still as large.

    Raises:
        DataError: the bytes are no image that Pillow reads, or one of more than MAX_PIXELS pixels.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: the image has {image.width} x {image.height} pixels, at most "
                                f"{MAX_PIXELS:,} are read; give a smaller one")
            image.draft("RGB", (size, size))
            turned = ImageOps.exif_transpose(image)
            if turned.has_transparency_data:
                ground = Image.new("RGBA", turned.size, "white")
                turned = Image.alpha_composite(ground, turned.convert("RGBA"))
            return turned.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError,
            Image.DecompressionBombWarning) as error:
        # A damaged PNG is a SyntaxError or a ValueError to Pillow.
        raise DataError(f"{where}: {len(data)} bytes are no readable image ({error}); "
                        "give PNG or JPEG bytes, or null") from error


def _letter_box(image: Image.Image) -> Pixels:
    """The greatest size that fits, centred on white."""
    scale = min(WIDTH / image.width, HEIGHT / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    sheet.paste(image.resize(size, Image.Resampling.LANCZOS), ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    return np.asarray(sheet, np.uint8)
