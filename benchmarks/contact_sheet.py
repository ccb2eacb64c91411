"""A picture of neighbours, to be judged by eye."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.neighbours import Rows

_CELL = (72, 96)  # pixels of a picture on the sheet, width and height


def contact_sheet(images: Sequence[bytes], queries: Rows, neighbours: Rows, path: Path) -> None:
    """Write a PNG: a row a query, the query first, then its neighbours [queries, k], nearest first."""
    width, height = _CELL
    gap = width // 4  # between a query and its neighbours
    sheet = Image.new("RGB", ((neighbours.shape[1] + 1) * width + gap, len(queries) * height), "white")
    for row, (query, others) in enumerate(zip(queries.tolist(), neighbours.tolist(), strict=True)):
        for column, item in enumerate([query, *others]):
            with Image.open(io.BytesIO(images[item])) as image:
                picture = image.convert("RGB").resize((width - 4, height - 4), Image.Resampling.LANCZOS)
            sheet.paste(picture, (column * width + (gap if column else 0) + 2, row * height + 2))
    sheet.save(path)
