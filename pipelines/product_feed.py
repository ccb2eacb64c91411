"""The catalogue as Google Merchant Center and Meta's catalogues expect it, column by column.

Names, limits and accepted values are those of Google's product data specification
(https://support.google.com/merchants/answer/7052112) and of Meta's catalogue fields
(https://developers.facebook.com/docs/commerce-platform/catalog/fields).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from urllib.parse import quote

import pandas as pd
from pydantic import Field, model_validator

from pipelines import columns as c
from pipelines.contracts import Document
from pipelines.encode import is_availability
from pipelines.errors import DataError, SettingsError

IN_STOCK, OUT_OF_STOCK, PREORDER = "in_stock", "out_of_stock", "preorder"
_PLACEHOLDER = "{item_id}"

# Attribute -> columns of a shop that may hold it, the first that exists.
COLUMNS: Mapping[str, Sequence[str]] = {
    "link": ("link", "url", "product_url"),
    "image_link": ("image_link", "image_url", "picture_url"),
    "description": ("description", "details"),
    "brand": c.BRAND,
    "gtin": ("gtin", "ean", "upc"), "mpn": ("mpn",),
    "google_product_category": ("google_product_category",),
    "color": ("color", "colour"), "material": ("material",), "size": ("size",), "gender": ("gender",),
    "age_group": ("age_group",), "item_group_id": ("item_group_id",),
}


@dataclass(frozen=True)
class Target:
    """What one platform accepts: longest texts in characters, and its words for our availability."""

    name: str
    id_length: int
    title_length: int
    description_length: int
    brand_length: int
    availability: Mapping[str, str]
    required: tuple[str, ...]  # columns of the file before the optional ones, in order


GOOGLE = Target("google_products", 50, 150, 5000, 70,
                {IN_STOCK: IN_STOCK, OUT_OF_STOCK: OUT_OF_STOCK, PREORDER: PREORDER},
                ("id", "title", "description", "link", "image_link", "availability", "availability_date", "price",
                 "condition", "brand", "product_type"))
META = Target("meta_products", 100, 200, 9999, 100,
              {IN_STOCK: "in stock", OUT_OF_STOCK: "out of stock", PREORDER: "preorder"},
              ("id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand",
               "product_type"))
OPTIONAL = ("gtin", "mpn", "google_product_category", "color", "material", "size", "gender", "age_group",
            "item_group_id")


class ProductSettings(Document):
    """What a catalogue does not say of its products and both platforms ask for.

    Attributes:
        currency: ISO 4217 code of the prices, such as EUR.
        link: address of a product's page with {item_id} in it, where no column holds it.
        image_link: address of its picture, likewise.
        brand: of every product, where no column holds it.
        condition: of every product.
    """

    currency: str = Field(pattern="^[A-Z]{3}$")
    link: str | None = None
    image_link: str | None = None
    brand: str | None = Field(None, min_length=1)
    condition: Literal["new", "refurbished", "used"] = "new"

    @model_validator(mode="after")
    def _templates(self) -> Self:
        for name in ("link", "image_link"):
            template = getattr(self, name)
            if template is not None and (_PLACEHOLDER not in template or not re.match("https?://", template)):
                raise ValueError(f"{name} is {template!r}: write an address such as https://shop.example/p/{_PLACEHOLDER}")
        return self


def stock(items: pd.DataFrame, as_of: datetime) -> pd.Series:
    """Availability [rows] of an ingested item table, in Google's words.

    Everything is in stock but what `available` says is not; what is `available_from` a day after `as_of` can be
    ordered before.
    """
    state = pd.Series(IN_STOCK, items.index, dtype=object)
    if c.AVAILABLE in items and is_availability(items[c.AVAILABLE]):
        state[items[c.AVAILABLE].eq(False)] = OUT_OF_STOCK
    if c.ARRIVES in items and isinstance(items[c.ARRIVES].dtype, pd.DatetimeTZDtype):
        state[(items[c.ARRIVES] > as_of) & (state == IN_STOCK)] = PREORDER
    return state


class Products:
    """The products that can be advertised, with everything that both platforms take."""

    def __init__(
        self, items: pd.DataFrame, display: Mapping[str, str | None], settings: ProductSettings, as_of: datetime
    ) -> None:
        """Read an item table.

        Args:
            items: [rows], ids in `item_id`.
            display: role (title, category, price, image) -> column, or None.
            settings: what the table does not say.
            as_of: the moment that the feed tells of.

        Raises:
            SettingsError: neither the table nor the settings say what both platforms ask for.
        """
        self.items, self.settings = items, settings
        self.columns = {name: _first(items, names) for name, names in COLUMNS.items()}
        self.columns |= {"title": display["title"], "product_type": display["category"]}
        image = display["image"]
        if self.columns["image_link"] is None and image and isinstance(items[image].dropna().head(1).squeeze(), str):
            self.columns["image_link"] = image
        price = display["price"]
        missing = [f"--{name.replace('_', '-')}" for name in ("link", "image_link", "brand")
                   if self.columns[name] is None and getattr(settings, name) is None]
        if missing or price is None or self.columns["title"] is None:
            lacks = missing or [f"an items column {name!r}" for name in ("title", "price")]
            raise SettingsError(f"a product feed needs {', '.join(lacks)}: the item table has none; give it, or leave "
                                "the product feeds out with --no-products")
        self.availability = stock(items, as_of)
        self.price = [f"{number:.2f} {settings.currency}" if number > 0 else None for number in items[price]]
        titles = [_text(title) for title in items[self.columns["title"]]]
        # Both platforms refuse a product without a price or a title.
        self.listed = [row for row in range(len(items)) if titles[row] and self.price[row]]

    def table(self, target: Target) -> dict[str, list[str | None]]:
        """Columns [listed products] of one platform's file; values that a product does not have are None.

        Raises:
            DataError: an item id is longer than the platform accepts.
        """
        names = [*target.required, *(name for name in OPTIONAL if self.columns[name] is not None)]
        rows = [self._product(row, target) for row in self.listed]
        return {name: [row[name] for row in rows] for name in names}

    def card(self, row: int) -> dict[str, str | None]:
        """What an e-mail shows of the product in a row: title, price, link and image_link."""
        product = self._product(row, GOOGLE)
        return {name: product[name] for name in ("title", "price", "link", "image_link")}

    def _product(self, row: int, target: Target) -> dict[str, str | None]:
        item_id = str(self.items[c.ITEM].iloc[row])
        if len(item_id) > target.id_length:
            raise DataError(f"item id {item_id!r} has {len(item_id)} characters, {target.name} accepts "
                            f"{target.id_length}; give items shorter ids, or use --no-products")
        found: dict[str, str | None] = {
            name: _text(self.items[column].iloc[row]) if column else None for name, column in self.columns.items()}
        for name in ("link", "image_link"):
            template: str | None = getattr(self.settings, name)
            # What the caller gives stands above what the table says: feeds are made for several sites.
            found[name] = template.replace(_PLACEHOLDER, quote(item_id, safe="")) if template else found[name]
        title = found["title"] or ""
        state = self.availability.iloc[row]
        return found | {
            "id": item_id, "title": title[: target.title_length],
            "description": (found["description"] or title)[: target.description_length],
            "brand": (found["brand"] or self.settings.brand or "")[: target.brand_length] or None,
            "availability": target.availability[state],
            "availability_date": self.items[c.ARRIVES].iloc[row].isoformat() if (
                state == PREORDER and c.ARRIVES in self.items) else None,
            "price": self.price[row], "condition": self.settings.condition,
        }


def _first(items: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in items), None)


def _text(value: Any) -> str | None:
    """A value in one line, None where there is none."""
    if value is None or (not isinstance(value, list | tuple) and pd.isna(value)):
        return None
    return " ".join(str(value).split()) or None
