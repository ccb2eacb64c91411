"""`vitrine similar`, `search` and `basket`: what a shop's live release answers, as a table.

What answers is imported when a command runs: `vitrine --help` need not wait for it.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import SettingsError

Shop = Annotated[str | None, typer.Option(
    help="Name of the shop: the last part of its --data. Default: the only one that has a release.")]
Number = Annotated[int, typer.Option("--number", "-n", min=1, help="Products to show.")]
Item = Annotated[str, typer.Argument(metavar="ITEM", help="An item_id.")]


def similar(item: Item, number: Number = 10, shop: Shop = None) -> None:
    """Show products like one product, by what customers do with them.

    Example: `vitrine similar 000123`
    """
    from pipelines.live_release import live_recommender, name_of, row_of, show

    recommender = live_recommender(shop)
    row = row_of(recommender.bundle, item)
    show(recommender.bundle, f"Similar to {name_of(recommender.bundle, row)}", recommender.similar(row, number))


def search(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Words, misspelt ones too.")] = None,
    image: Annotated[Path | None, typer.Option(
        help="A picture (PNG, JPEG) to search by instead of words.", exists=True, dir_okay=False)] = None,
    number: Number = 10, shop: Shop = None,
) -> None:
    """Find products by words, or by a picture.

    Example: `vitrine search "red evening clutch"`

    Example: `vitrine search --image photo.jpg`
    """
    if (text is None) == (image is None):
        raise SettingsError("search takes words or --image, one of them")
    from pipelines.live_release import live_recommender, show

    recommender = live_recommender(shop)
    if image is not None:
        found, title = recommender.search_image(image.read_bytes(), number), f"Products that look like {image.name}"
    else:
        found, title = recommender.search(str(text), number), f'Products for "{text}"'
    show(recommender.bundle, title, found)


def basket(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="The item_ids in the basket.")],
    number: Number = 10, shop: Shop = None,
) -> None:
    """Show what goes with the products in a basket.

    Example: `vitrine basket 000123 000777`
    """
    from pipelines.live_release import live_recommender, name_of, row_of, show

    recommender = live_recommender(shop)
    rows = [row_of(recommender.bundle, item) for item in items]
    names = ", ".join(name_of(recommender.bundle, row) for row in rows)
    show(recommender.bundle, f"Goes with {names}", recommender.basket(rows, number))


COMMANDS = (similar, search, basket)
