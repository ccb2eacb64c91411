"""The command `vitrine export-feeds`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from pipelines.artifacts import load_contract
from pipelines.contracts import Feeds, Ingested
from pipelines.errors import SettingsError
from pipelines.releases.opening import open_store
from pipelines.retrain import RetrainParams
from pipelines.settings import load_settings
from pipelines.validation import faults_of


def export_feeds(
    window: Annotated[Path, typer.Argument(help="Folder that `vitrine ingest` printed.", exists=True, file_okay=False)],
    k: Annotated[int, typer.Option(help="Items a customer.")] = 20,
    similar: Annotated[int, typer.Option(help="Items like each item; 0 for none.")] = 20,
    products: Annotated[bool, typer.Option(help="Also write the catalogue for Google and for Meta.")] = True,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code of the prices, such as EUR.")] = None,
    link: Annotated[str | None, typer.Option(help="Address of a product's page, with {item_id} in it.")] = None,
    image_link: Annotated[str | None, typer.Option(help="Address of its picture, likewise.")] = None,
    brand: Annotated[str | None, typer.Option(help="Of every product, where the catalogue has no column.")] = None,
    condition: Annotated[str, typer.Option(help="new, refurbished or used.")] = "new",
) -> None:
    """Write what the live release recommends to every customer, as files for e-mail, ads and shopping catalogues.

    The customers and their histories are those of an ingested window, which may be newer than the release.

    Example: `vitrine export-feeds .vitrine/artifacts/ingest/KEY --no-products`

    Example: `vitrine export-feeds .vitrine/artifacts/ingest/KEY --currency EUR --link https://shop.example/p/{item_id}`
    """
    from pipelines.feeds import FeedSettings
    from pipelines.feeds import export_feeds as run
    from pipelines.product_feed import ProductSettings

    if products and currency is None:
        raise SettingsError("product feeds need the currency of the prices: give --currency, or leave them out with "
                            "--no-products")
    try:
        own = ProductSettings.model_validate(
            {"currency": currency, "link": link, "image_link": image_link, "brand": brand, "condition": condition}
        ) if products else None
        settings = FeedSettings(k=k, similar=similar, products=own)
    except ValidationError as error:
        raise SettingsError(faults_of(error)) from error
    lake = load_contract(Ingested, window)
    shop = RetrainParams(source=lake.source, as_of=lake.window.as_of).shop
    places = load_settings().of_shop(shop)
    say(run(lake, settings, open_store(places), places.artifacts))


def say(feeds: Feeds) -> None:
    """Tell what was exported and where it lies."""
    typer.echo(f"release {feeds.release}: {feeds.users:,} customers x {feeds.k}, {feeds.similar:,} similar items, "
               f"{feeds.listed:,} products; {feeds.fallbacks:,} places filled with best-sellers")
    typer.echo(f"  {feeds.path}")
