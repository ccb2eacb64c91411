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

    Pictures are turned as their EXIF orientation says, and transparent parts become white.

    Args:
        data: bytes of PNG, JPEG, or what else Pillow reads.
        where: what the message of an error calls them, such as "items.image, row 3".

    Raises:
        DataError: the bytes are no image that Pillow reads, or one of more than MAX_PIXELS pixels.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: the image has {image.width} x {image.height} pixels, at most "
                                f"{MAX_PIXELS:,} are read; give a smaller one")
            # A JPEG decoder reduces by 2, 4 or 8 for less than a whole decoding; twice the size is kept for quality.
            image.draft("RGB", (2 * HEIGHT, 2 * HEIGHT))
            upright = ImageOps.exif_transpose(image)
            return _on_white(upright)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError,
            Image.DecompressionBombWarning) as error:
        # A damaged PNG is a SyntaxError or a ValueError to Pillow.
        raise DataError(f"{where}: {len(data)} bytes are no readable image ({error}); "
                        "give PNG or JPEG bytes, or null") from error


def _on_white(image: Image.Image) -> Pixels:
    """Letter-box: the greatest size that fits, centred."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    scale = min(WIDTH / image.width, HEIGHT / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    sheet.paste(small, ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    return np.asarray(sheet, np.uint8)
