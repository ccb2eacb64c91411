"""Feeds as one call, from the shop's tables to the sealed folder: for a DAG."""

from datetime import timedelta

from pydantic import Field

from pipelines.contracts import Document, Feeds, Origin, UtcTime, Window
from pipelines.errors import SettingsError
from pipelines.feeds import FeedSettings, export_feeds
from pipelines.ingest import ingest
from pipelines.product_feed import ProductSettings
from pipelines.progress import log
from pipelines.releases.opening import open_store
from pipelines.retrain import shop_of
from pipelines.settings import Settings
from pipelines.shop_spec import load_spec


class ExportParams(Document):
    """What a person or a schedule decides about an export.

    Attributes:
        source: folder, lake or URL of the shop's tables; a URL may hold a password.
        as_of: customers and histories before this moment; None for the end of the live release's data.
        window_days: only events of so many days before it; None for the whole log.
        spec: TOML file that overrides names, kinds and weights.
        k: items a customer.
        similar: items like each item; 0 for none.
        currency: ISO 4217 code of the prices; None leaves the product feeds out.
        link, image_link: addresses of a product's page and picture, with {item_id} in them.
        brand: of every product, where the catalogue has no column.
        condition: new, refurbished or used.
        reason: for the log.
    """

    source: str
    as_of: UtcTime | None = None
    window_days: int | None = Field(None, ge=1)
    spec: str | None = None
    k: int = Field(20, ge=1, le=1000)
    similar: int = Field(20, ge=0, le=1000)
    currency: str | None = None
    link: str | None = None
    image_link: str | None = None
    brand: str | None = None
    condition: str = "new"
    reason: str = Field("feeds", min_length=1)

    @property
    def shop(self) -> str:
        """Name of the shop; see `shop_of`."""
        return shop_of(self.source)


def export(params: ExportParams, origin: Origin, places: Settings) -> Feeds:
    """Take in the customers of a window, found where they were taken in before, and export what is live to them.

    Raises:
        SettingsError: nothing is live, or the product feeds lack what they need.
        DataError: the source breaks the data contract.
    """
    own = places.of_shop(shop_of(params.source))
    store = open_store(own)
    live = store.live()
    if live is None:
        raise SettingsError(f"{store.root} has no release whose recommendations could be exported")
    products = None if params.currency is None else ProductSettings.model_validate(
        params.model_dump(include={"currency", "link", "image_link", "brand", "condition"}))
    as_of = params.as_of or live.as_of
    window = Window(as_of=as_of, start=as_of - timedelta(days=params.window_days) if params.window_days else None)
    log.info("feeds: of release %d as of %s, asked for by %s: %s", live.number, as_of, origin.actor, params.reason)
    lake = ingest(params.source, window, load_spec(params.source, params.spec, as_of), own.artifacts, store.erasures)
    return export_feeds(lake, FeedSettings(k=params.k, similar=params.similar, products=products), store, own.artifacts)
