"""Product pictures of the sample shop: a shape by category, a fill by colour, a texture by material."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

from pipelines.sample.catalogue import CATEGORY_NAMES, COLOUR_NAMES, MATERIAL_NAMES, Catalogue
from pipelines.sample.shapes import SHAPES
from pipelines.sample.sketch import Sketch
from pipelines.sample.words import COLOURS

Floats = npt.NDArray[np.float32]
SIZE = 256  # pixels
_UNIT = SIZE / 64  # a shadow or a rim as wide as on a picture of 64 pixels
_FINE = 2 * SIZE  # textures are computed on a finer grid, then reduced, so that they never flicker
_METALS = {"yellow gold": (206, 162, 74), "white gold": (200, 200, 206), "rose gold": (208, 150, 126),
           "sterling silver": (182, 186, 194), "steel": (166, 172, 180), "titanium": (140, 146, 156)}
_GILT, _DARK = (198, 158, 84), (38, 34, 36)
# Which way a material catches the light.
_TEXTURES = {
    "grained leather": "grain", "suede": "nap", "velvet": "nap", "mohair": "nap", "embossed leather": "scales",
    "canvas": "weave", "linen": "weave", "gabardine": "twill", "silk twill": "twill", "silk satin": "sheen",
    "cashmere": "knit", "fine wool": "knit", "ribbed jersey": "rib", "technical jersey": "gloss", "acetate": "gloss",
    "calf leather": "gloss", "cotton poplin": "plain",
}


def _grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:_FINE, 0:_FINE].astype(np.float32) / _FINE
    return y, x


def _reduce(fine: Floats) -> Floats:
    """[_FINE, _FINE] to [SIZE, SIZE] by means of 2 x 2 cells."""
    return np.asarray(fine.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3)), np.float32)


@cache
def _texture(kind: str) -> Floats:
    """Brightness factor [SIZE, SIZE] around 1."""
    y, x = _grid()
    turn = np.float32(2 * np.pi)
    if kind in ("grain", "nap"):
        cells = 52 if kind == "grain" else 28
        noise = np.random.default_rng(0).normal(0, 1, (cells, cells)).astype(np.float32)
        fine = np.asarray(Image.fromarray(noise).resize((_FINE, _FINE), Image.Resampling.BICUBIC))
        wave = (0.10 if kind == "grain" else 0.06) * fine
    elif kind == "scales":
        wave = 0.18 * np.cos(turn * (x * 12 + 0.5 * (np.floor(y * 14) % 2))) * np.cos(turn * y * 14)
    elif kind == "weave":
        wave = 0.07 * np.sign(np.sin(turn * x * 13) * np.sin(turn * y * 13))
    elif kind == "twill":
        wave = 0.08 * np.sin(turn * (x + y) * 12)
    elif kind == "sheen":
        wave = 0.24 * np.sin(turn * (1.1 * x + 0.5 * y + 0.08 * np.sin(turn * y * 1.5)))
    elif kind == "knit":
        wave = 0.10 * np.sin(turn * (y * 15 + 0.35 * np.abs(np.sin(turn * x * 7))))
    elif kind == "rib":
        wave = 0.12 * np.sin(turn * x * 14)
    elif kind == "gloss":
        wave = 0.30 * np.exp(-(((x + y - 0.72) / 0.10) ** 2))
    else:
        wave = np.zeros_like(x)
    return _reduce(np.asarray(1 + wave, np.float32))


def _weave_of(material: str, category: str) -> str:
    # The same wool is knitted into a sweater and felted into a coat.
    if material in ("cashmere", "fine wool") and category not in ("knitwear", "scarves"):
        return "nap"
    return _TEXTURES.get(material, "plain")


@cache
def _light() -> Floats:
    """Light from the upper left, [SIZE, SIZE, 1]."""
    y, x = _grid()
    return np.asarray(_reduce(1.16 - 0.22 * y - 0.12 * x)[..., None], np.float32)


@cache
def _metal(colour: tuple[int, int, int]) -> Floats:
    """Polished metal [SIZE, SIZE, 3]: bright and dark bands."""
    y, x = _grid()
    bands = _reduce(np.asarray(1 + 0.28 * np.sin(2 * np.pi * (3.5 * x + 4.5 * y)), np.float32))
    return np.asarray(np.array(colour, np.float32) * bands[..., None], np.float32)


@cache
def _backdrop(tint: int) -> Floats:
    """Studio paper [SIZE, SIZE, 3] in one of a few whites, darker towards the lower edge."""
    y = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    white = np.array([(247, 244, 239), (243, 243, 244), (246, 241, 236), (241, 243, 240)][tint], np.float32)
    return np.asarray(np.broadcast_to(white * (1.01 - 0.07 * y**2), (SIZE, SIZE, 3)), np.float32)


def _mask(layer: Image.Image) -> Floats:
    """Coverage [SIZE, SIZE, 1], 0 to 1."""
    return np.asarray(np.asarray(layer, np.float32)[..., None] / 255, np.float32)


def draw(rng: np.random.Generator, category: str, noun: int, material: str, colour: str) -> bytes:
    """One product as JPEG bytes, SIZE x SIZE, RGB."""
    sketch = Sketch(rng)
    SHAPES[category](sketch, noun)
    body, dark, metal, stone, seam, glint = (
        layer.reduce(layer.width // SIZE)
        for layer in (sketch.body, sketch.dark, sketch.metal, sketch.stone, sketch.seam, sketch.glint))
    whole = sketch.outline().reduce(sketch.body.width // SIZE)
    # A little lighter than it is, or black loses its texture.
    cloth = (np.array(COLOURS[colour], np.float32) * 0.93 + 16) * _light()
    falls = (1, 0, -_UNIT, 0, 1, -2 * _UNIT)
    shadow = whole.transform(whole.size, Image.Transform.AFFINE, falls).filter(ImageFilter.BoxBlur(2 * _UNIT))
    picture = _backdrop(int(rng.integers(4))) * (1 - 0.30 * _mask(shadow))
    for layer, paint in (
        (body, cloth * _texture(_weave_of(material, category))[..., None]),
        (dark, np.array(_DARK, np.float32)),
        (metal, _metal(_METALS.get(material, _GILT))),
        (stone, cloth),
    ):
        alpha = _mask(layer)
        picture = picture * (1 - alpha) + paint * alpha
    # A rim of shade rounds the form.
    rim = np.clip(_mask(whole) - _mask(whole.filter(ImageFilter.BoxBlur(1.5 * _UNIT))), 0, 1)
    picture = picture * (1 - 0.5 * rim) * (1 - 0.45 * _mask(seam) * _mask(whole))
    shine = 0.6 * _mask(glint)
    picture = picture * (1 - shine) + 255 * shine
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def draw_products(rng: np.random.Generator, catalogue: Catalogue) -> list[bytes]:
    """JPEG bytes of every product, in row order."""

    def one(row: int, own: np.random.Generator) -> bytes:
        return draw(own, CATEGORY_NAMES[catalogue.category[row]], int(catalogue.noun[row]),
                    MATERIAL_NAMES[catalogue.material[row]], COLOUR_NAMES[catalogue.colour[row]])

    # Each picture has a generator of its own, so that threads may draw them in any order.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, range(len(catalogue)), rng.spawn(len(catalogue))))


def render_contact_sheet(folder: Path, path: Path, count: int = 40, columns: int = 10) -> None:
    """Write a PNG with the first `count` products of the shop in `folder`, side by side, to look at them."""
    table = pq.read_table(folder / "items.parquet", columns=["image"]).slice(0, count)
    pictures = table.column("image").to_pylist()
    cell = SIZE // 2
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), "white")
    for n, picture in enumerate(pictures):
        image = Image.open(io.BytesIO(picture)).resize((cell, cell), Image.Resampling.LANCZOS)
        sheet.paste(image, (n % columns * cell, n // columns * cell))
    sheet.save(path)
