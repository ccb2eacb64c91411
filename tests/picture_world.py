"""Pictures whose right neighbours are obvious: discs, squares and crosses in three colours, anywhere on white."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw

SHAPES = ("cross", "disc", "square")
COLOURS = {"blue": (30, 60, 200), "green": (20, 150, 60), "red": (200, 30, 40)}


def draw(shape: str, colour: str, rng: np.random.Generator) -> Image.Image:
    """A 60 x 80 picture of one shape of radius 16 to 22, near the middle."""
    image = Image.new("RGB", (60, 80), "white")
    pen, fill = ImageDraw.Draw(image), COLOURS[colour]
    x, y, r = 30 + rng.integers(-5, 6), 40 + rng.integers(-8, 9), rng.integers(16, 23)
    if shape == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill)
    elif shape == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill)
    else:
        pen.rectangle((x - r, y - 4, x + r, y + 4), fill)
        pen.rectangle((x - 4, y - r, x + 4, y + r), fill)
    return image


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def products(count: int, seed: int) -> tuple[list[bytes], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """`count` pictures as PNG bytes, and of each the number of its shape and of its colour."""
    rng = np.random.default_rng(seed)
    shape, colour = rng.integers(0, 3, count), rng.integers(0, 3, count)
    names = list(COLOURS)
    return ([png(draw(SHAPES[s], names[c], rng)) for s, c in zip(shape, colour, strict=True)],
            shape.astype(np.intp), colour.astype(np.intp))


def add_pictures(shop: Path) -> Path:
    """Give the toy shop of tests/world.py pictures: apples are discs, bears squares, in their colour.

    Yellow ones have none.
    """
    rng, path = np.random.default_rng(3), shop / "items.parquet"
    items = pd.read_parquet(path)
    shapes = {"apple": "disc", "bear": "square"}
    items["image"] = [png(draw(shapes[category], colour, rng)) if colour in COLOURS else None
                      for category, colour in zip(items["category"], items["colour"], strict=True)]
    items.to_parquet(path, index=False)
    return shop
