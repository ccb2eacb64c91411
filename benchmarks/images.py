"""Do pictures find products of the same kind? Precision@10 of an encoder that never saw the queries' products.

A share of the products, chosen by a hash of their ids, is held out: neither their pictures nor their words and
categories are trained on, and the vocabulary comes from the others alone. Their pictures then are the queries, as
a shopper's photograph would be.
"""

import logging
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.contact_sheet import contact_sheet
from models.neighbours import Floats, K, is_held_out, nearest, precision, unit
from pipelines import columns as c
from pipelines.encode import TOKEN_KINDS
from pipelines.errors import DataError, SettingsError, VitrineError
from pipelines.image_settings import ImageSettings
from pipelines.pictures import pictures
from pipelines.schema import infer_fields, kinds
from pipelines.shop_spec import load_spec
from pipelines.vocabulary import fit_fields, token_bags
from serving.image_encoder import ImageEncoder
from serving.pictures import HEIGHT, WIDTH, Pixels

_COARSE = 8  # pixels a side of the coarse baseline
_SHEET_ROWS = 24
console = Console()


def measure(
    items: pd.DataFrame, category: str, labels: list[tuple[str, str]], settings: ImageSettings, share: float
) -> tuple[list[dict[str, Any]], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Train on the products that are not held out, and ask with the pictures of those that are.

    Args:
        items: item_id, image and the other columns.
        category: the column whose agreement counts.
        labels: (column, kind) pairs that are trained on.
        settings: of the training.
        share: part of the products that is held out.

    Returns:
        One entry a method with its precisions and seconds; the held-out rows; and their neighbours [held out, K]
        among all products, by the exported encoder.

    Raises:
        DataError: too few products have a picture and a category.
    """
    from models.image_encoder import fit
    from models.token_bags import TokenBags

    images, has_picture = pictures(items["image"])
    usable = has_picture & items[category].notna().to_numpy(bool)
    held_out = is_held_out(items[c.ITEM].tolist(), share)
    train, queries, pool = (np.flatnonzero(rows) for rows in (usable & ~held_out, usable & held_out, usable))
    if min(len(train), len(queries)) <= K:
        raise DataError(f"{len(train)} products to train on and {len(queries)} held out have a picture and a "
                        f"{category}: more than {K} of each are needed")
    truth = np.asarray(pd.factorize(items[category])[0], np.intp)
    fields = fit_fields(items, labels, usable & ~held_out, 0)
    encoder = fit(images[train], TokenBags(*token_bags(items, fields)).take(train), settings)
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder:
        # What is measured is the exported file, as it serves.
        vectors = ImageEncoder(encoder.export(Path(folder)), threads=2).vectors(images)
    figures = []
    methods = ((f"pixels {_COARSE} x {_COARSE}", _coarse(images), None),
               (f"pixels {WIDTH} x {HEIGHT}", _fine(images), None), ("encoder", vectors, encoder.seconds))
    for name, matrix, seconds in methods:
        found = nearest(matrix, queries, pool)
        figures.append({"method": name, "all": precision(found, queries, truth),
                        "held_out": precision(nearest(matrix, queries, queries), queries, truth), "seconds": seconds})
    return figures, queries, found


def _fine(images: Pixels) -> Floats:
    """Pixels as darkness, so that the white ground counts for nothing."""
    return unit((255.0 - images.reshape(len(images), -1)).astype(np.float32))


def _coarse(images: Pixels) -> Floats:
    cells = images.reshape(len(images), _COARSE, HEIGHT // _COARSE, _COARSE, WIDTH // _COARSE, 3)
    return unit(255.0 - cells.mean(axis=(2, 4)).reshape(len(images), -1))


def _labels(items: pd.DataFrame, folder: Path, names: str | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = [
        (n, k) for n, k in kinds(infer_fields(items, c.ITEM, load_spec(str(folder)))) if k in TOKEN_KINDS
    ]
    if names is None:
        return found
    asked = [name.strip() for name in names.split(",")]
    unknown = [name for name in asked if name not in dict(found)]
    if unknown:
        raise SettingsError(f"--labels names {unknown[0]!r}; {folder}/items.parquet has "
                            f"{', '.join(n for n, _ in found)}")
    return [(n, k) for n, k in found if n in asked]


def _read(data: Path, category: str) -> pd.DataFrame:
    path = data / "items.parquet"
    if not path.is_file():
        raise DataError(f"{data} has no items.parquet: give a folder with item_id, image and other columns")
    items = pd.read_parquet(path)
    missing = [name for name in (c.ITEM, "image", category) if name not in items.columns]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(items.columns)}")
    return items


def main(
    data: Annotated[Path, typer.Option(help="Folder with items.parquet: item_id, image bytes, other columns.")],
    category: Annotated[str, typer.Option(help="Column whose agreement counts.")] = "category",
    labels: Annotated[str | None, typer.Option(
        help="Columns to train on, by comma. Default: all that become tokens.")] = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.9, help="Part of the products that is held out.")] = 0.2,
    seed: Annotated[int | None, typer.Option(help="Of the training.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: held-out pictures and their neighbours.")] = None,
) -> None:
    """Precision@10 of same-category neighbours of pictures of products that were never trained on.

    Example: `python -m benchmarks.images --data ../shared/datasets/fashion_images --sheet neighbours.png`
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = ImageSettings() if seed is None else ImageSettings(seed=seed)
    try:
        items = _read(data, category)
        chosen = _labels(items, data, labels)
        figures, queries, neighbours = measure(items, category, chosen, settings, share)
    except VitrineError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(error.exit_status) from error
    table = Table(title=f"precision@{K} by {category}, trained on {', '.join(n for n, _ in chosen)}")
    for heading in ("method", "among all others", "among held-out", "training"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in figures:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f} s"
        table.add_row(row["method"], f"{row['all']:.4f}", f"{row['held_out']:.4f}", seconds)
    console.print(table)
    if sheet is not None:
        spread = np.linspace(0, len(queries) - 1, min(_SHEET_ROWS, len(queries))).astype(np.intp)
        contact_sheet(items["image"].tolist(), queries[spread], neighbours[spread], sheet)
        console.print(f"neighbours of {len(spread)} held-out pictures: {sheet}")


if __name__ == "__main__":
    typer.run(main)
