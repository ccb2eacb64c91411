"""Product feeds against the platforms' specifications; expected rows are written out by hand."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from pydantic import ValidationError

from pipelines.errors import DataError, SettingsError
from pipelines.product_feed import GOOGLE, META, Products, ProductSettings, stock

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DISPLAY = {"title": "title", "category": "category", "price": "price", "image": None}
SETTINGS = ProductSettings(currency="EUR", link="https://shop.example/p/{item_id}",
                           image_link="https://cdn.example/{item_id}.jpg", brand="Maison")


def items(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"item_id": ["b/1", "b2"], "title": ["Red  bag\n", "Blue bag"], "category": ["bags", None],
                         "price": [1290.0, 99.5]} | columns)


def test_a_row_for_google_and_for_meta_by_hand() -> None:
    table = items(description=["Calf leather, \"hand-sewn\"", None], colour=["red", "blue"], available=[True, False])
    products = Products(table, DISPLAY, SETTINGS, AS_OF)
    google = products.table(GOOGLE)
    assert list(google) == ["id", "title", "description", "link", "image_link", "availability", "availability_date",
                            "price", "condition", "brand", "product_type", "color"]
    assert {name: values[0] for name, values in google.items()} == {
        "id": "b/1", "title": "Red bag", "description": 'Calf leather, "hand-sewn"',
        "link": "https://shop.example/p/b%2F1", "image_link": "https://cdn.example/b%2F1.jpg",
        "availability": "in_stock", "availability_date": None, "price": "1290.00 EUR", "condition": "new",
        "brand": "Maison", "product_type": "bags", "color": "red"}
    assert (google["availability"][1], google["product_type"][1]) == ("out_of_stock", None)
    assert google["description"][1] == "Blue bag"  # both platforms want a description: the title is one
    meta = products.table(META)
    assert list(meta)[:9] == ["id", "title", "description", "availability", "condition", "price", "link", "image_link",
                              "brand"]
    assert meta["availability"] == ["in stock", "out of stock"]


def test_columns_of_the_shop_are_taken_and_options_stand_above_them() -> None:
    table = items(url=["https://a.example/1", "https://a.example/2"], image_url=["https://i/1", "https://i/2"],
                  designer=["Arc", None])
    own = Products(table, DISPLAY, ProductSettings(currency="CHF", brand="House"), AS_OF).table(GOOGLE)
    assert (own["link"], own["image_link"]) == (["https://a.example/1", "https://a.example/2"],
                                                ["https://i/1", "https://i/2"])
    assert own["brand"] == ["Arc", "House"]
    assert own["price"] == ["1290.00 CHF", "99.50 CHF"]
    given = Products(table, DISPLAY, SETTINGS, AS_OF).table(GOOGLE)
    assert given["link"][1] == "https://shop.example/p/b2"


def test_texts_are_cut_at_each_platform_s_limit_and_ids_are_refused() -> None:
    table = items(title=["t" * 300, "u"], description=["d" * 12_000, "e"])
    google, meta = (Products(table, DISPLAY, SETTINGS, AS_OF).table(target) for target in (GOOGLE, META))
    assert (len(google["title"][0]), len(google["description"][0])) == (150, 5000)
    assert (len(meta["title"][0]), len(meta["description"][0])) == (200, 9999)
    long = items(item_id=["i" * 51, "b2"])
    assert len(Products(long, DISPLAY, SETTINGS, AS_OF).table(META)["id"]) == 2
    with pytest.raises(DataError, match="51 characters, google_products accepts 50"):
        Products(long, DISPLAY, SETTINGS, AS_OF).table(GOOGLE)


@pytest.mark.parametrize("change", [{"price": [None, 5.0]}, {"price": [0.0, 5.0]}, {"title": [None, "Bag"]},
                                    {"title": ["  ", "Bag"]}])
def test_what_a_platform_would_refuse_is_not_listed(change: dict) -> None:
    assert Products(items(**change), DISPLAY, SETTINGS, AS_OF).table(GOOGLE)["id"] == ["b2"]


@pytest.mark.parametrize(("settings", "display", "fault"), [
    (ProductSettings(currency="EUR"), DISPLAY, "--link, --image-link, --brand"),
    (SETTINGS, DISPLAY | {"price": None}, "an items column 'price'"),
    (SETTINGS, DISPLAY | {"title": None}, "an items column 'title'"),
])
def test_what_nobody_says_is_named(settings: ProductSettings, display: dict, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        Products(items(), display, settings, AS_OF)


@pytest.mark.parametrize("change", [{"currency": "euro"}, {"link": "https://shop.example/p"}, {"condition": "fine"},
                                    {"image_link": "javascript:{item_id}"}])
def test_settings_that_no_platform_takes_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        ProductSettings.model_validate(SETTINGS.model_dump() | change)


@pytest.mark.parametrize(("columns", "expected"), [
    ({}, ["in_stock", "in_stock"]),
    ({"available": [True, False]}, ["in_stock", "out_of_stock"]),
    ({"available": [None, False]}, ["in_stock", "out_of_stock"]),  # null says nothing against a product
    ({"available": ["from May", "soon"]}, ["in_stock", "in_stock"]),  # says something else
    ({"available_from": pd.to_datetime(["2026-05-31", "2026-06-02"], utc=True)}, ["in_stock", "preorder"]),
    ({"available_from": pd.to_datetime(["2026-05-31", "2026-06-02"], utc=True), "available": [True, False]},
     ["in_stock", "out_of_stock"]),
])
def test_stock(columns: dict, expected: list[str]) -> None:
    assert stock(items(**columns), AS_OF).tolist() == expected
