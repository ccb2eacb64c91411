"""The sample shop: deterministic, consistent in time, and with tastes that follow features."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.artifacts import file_digest, read_json
from pipelines.errors import SettingsError
from pipelines.sample import render_contact_sheet, write_sample
from pipelines.sample.behaviour import Demand, Session
from pipelines.sample.catalogue import ENDS, Catalogue
from pipelines.sample.truth import predict
from pipelines.sample.words import OCCASIONS

FILES = ("events.parquet", "items.parquet", "users.parquet", "truth.json")
TINY = {"products": 60, "customers": 30, "events": 300, "weeks": 3}


class Shop:
    """A written shop, read back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events, self.items, self.users = (
            pd.read_parquet(folder / f"{name}.parquet") for name in ("events", "items", "users"))
        self.truth: dict[str, Any] = read_json(folder / "truth.json")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    returned = write_sample(folder, seed=3, products=500, customers=800, events=10_000, weeks=26)
    result = Shop(folder)
    assert returned == result.truth
    return result


def check_consistent(shop: Shop) -> None:
    """What must hold of any shop, whatever its seed."""
    events, items, users = shop.events, shop.items, shop.users
    assert items["item_id"].is_unique
    assert users["user_id"].is_unique
    assert set(events["item_id"]) <= set(items["item_id"])
    assert set(events["user_id"]) == set(users["user_id"])
    assert events["timestamp"].is_monotonic_increasing
    arrival = items.set_index("item_id")["available_from"]
    assert (events["timestamp"] >= events["item_id"].map(arrival)).all()
    end = pd.Timestamp(shop.truth["ends"])
    assert (events["timestamp"] < end).all()
    assert (events["timestamp"] >= end - pd.Timedelta(weeks=shop.truth["weeks"])).all()
    purchases = events[events["event_type"] == "purchase"]
    assert not purchases.duplicated(["user_id", "item_id"]).any()
    returns = events[events["event_type"] == "return"]
    pairs = returns.merge(purchases, on=["user_id", "item_id"], suffixes=("", "_bought"))
    assert len(pairs) == len(returns)
    assert (pairs["timestamp"] > pairs["timestamp_bought"]).all()
    baskets = events[(events["channel"] == "store") & (events["event_type"] != "return")]
    assert set(baskets["event_type"]) <= {"purchase"}
    assert (baskets.groupby("session_id")["timestamp"].nunique() == 1).all()
    carts = events[events["event_type"] == "add_to_cart"]
    views = events[events["event_type"] == "view"]
    viewed = carts.merge(views, on=["session_id", "item_id"], suffixes=("", "_viewed"))
    assert len(viewed) == len(carts)
    assert (viewed["timestamp"] > viewed["timestamp_viewed"]).all()


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_any_seed_makes_a_consistent_shop(seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_sample(Path(name), seed=seed, **TINY)
        check_consistent(Shop(Path(name)))


def test_shop_is_consistent(shop: Shop) -> None:
    check_consistent(shop)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        write_sample(tmp_path / name, seed=seed, **TINY)
    digests = {name: [file_digest(tmp_path / name / file) for file in FILES] for name in ("one", "two", "other")}
    assert digests["one"] == digests["two"]
    assert not set(digests["one"]) & set(digests["other"])


def test_counts(shop: Shop) -> None:
    assert (len(shop.items), len(shop.users)) == (500, 800)
    assert len(shop.events) == pytest.approx(10_000, rel=0.1)
    assert shop.events["event_type"].value_counts().to_dict() == shop.truth["event_types"]
    assert set(shop.truth["event_types"]) == {"view", "add_to_cart", "purchase", "return"}
    begins = pd.Timestamp(shop.truth["ends"]) - pd.Timedelta(weeks=26)
    # A fifth of 500 products arrives while the log runs.
    assert (shop.items["available_from"] > begins).sum() == 100
    # Customers go on arriving, in every week.
    first = shop.events.groupby("user_id")["timestamp"].min()
    assert (((first - begins).dt.days // 7).value_counts().reindex(range(26)) > 0).all()
    # Few customers make much of the log: the busiest tenth far more than a tenth of it.
    activity = shop.events["user_id"].value_counts()
    assert activity.head(80).sum() > 0.25 * len(shop.events)
    unknown = shop.users.isna().mean()
    assert unknown["segment"] == pytest.approx(0.1, abs=0.04)
    assert unknown["channel"] == 0


def test_texts_and_pictures(shop: Shop, tmp_path: Path) -> None:
    assert shop.items["description"].str.count(r"\.(?: |$)").between(3, 3).all()
    assert not shop.items["description"].str.contains(r"  |\ba [aeiou]|\{|\}", regex=True).any()
    pictures = [Image.open(io.BytesIO(image)) for image in shop.items["image"]]
    assert {(p.format, p.size, p.mode) for p in pictures} == {("JPEG", (256, 256), "RGB")}
    # The middle of a knit shows its colour: scarlet has far more red than blue, cobalt the reverse.
    seen = shop.items.assign(rgb=[np.asarray(p)[112:144, 112:144].mean(axis=(0, 1)) for p in pictures])
    for colour, strong, weak in (("scarlet", 0, 2), ("cobalt", 2, 0)):
        one = seen[(seen["category"] == "knitwear") & (seen["colour"] == colour)]["rgb"].tolist()
        assert one
        assert all(rgb[strong] > 1.5 * rgb[weak] for rgb in one)
    render_contact_sheet(shop.folder, tmp_path / "sheet.png", count=25, columns=10)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (1280, 384)


def test_tastes_follow_features(shop: Shop) -> None:
    events = shop.events[shop.events["event_type"] == "view"].merge(shop.items, on="item_id").merge(
        shop.users, on="user_id")
    # Collectors lean to watches and jewellery and look for the dearest tier.
    is_collector = events["segment"] == "collector"
    is_precious = events["category"].isin(["watches", "jewellery"])
    assert is_precious[is_collector].mean() > 1.5 * is_precious[~is_collector].mean()
    price = events["price_y"]
    assert price[is_collector].median() > 2 * price[events["segment"] == "aspirant"].median()
    # Within a session one theme: what the description says of the occasion agrees more often between neighbours of one
    # session than between the last of one and the first of the next.
    theme = np.array([[any(phrase in text for phrase in occasion.phrases) for occasion in OCCASIONS.values()]
                      for text in events["description"]])
    assert theme.any(axis=1).all()
    order = np.lexsort((events["timestamp"], events["user_id"]))
    theme, user, session = theme[order], events["user_id"].to_numpy()[order], events["session_id"].to_numpy()[order]
    agrees = (theme[1:] & theme[:-1]).any(axis=1)
    within, across = session[1:] == session[:-1], (user[1:] == user[:-1]) & (session[1:] != session[:-1])
    assert agrees[within].mean() > 1.5 * agrees[across].mean()


def test_season_turns(shop: Shop) -> None:
    events = shop.events.merge(shop.items[["item_id", "category"]], on="item_id")
    is_late = events["timestamp"] > pd.Timestamp(shop.truth["ends"]) - pd.Timedelta(weeks=5)
    early, late = (events.loc[part, "category"].value_counts(normalize=True) for part in (~is_late, is_late))
    assert late["outerwear"] < 0.5 * early["outerwear"]
    assert late["swimwear"] > 1.2 * early["swimwear"]


def test_truth_lies_between_popularity_and_one(shop: Shop) -> None:
    best = shop.truth["best"]
    assert best["popularity"]["recall@10"] < best["segment_only"]["recall@10"] < best["recall@10"] < 1
    # What the probabilities promise is what happens, within four standard errors.
    online = best["slices"]["online"]
    error = (online["expected_recall@10"] * (1 - online["expected_recall@10"]) / online["events"]) ** 0.5
    assert online["recall@10"] == pytest.approx(online["expected_recall@10"], abs=4 * error)


def test_predictions_by_hand() -> None:
    """Three products, two themes equally likely; theme 0 makes product 0 three times as likely, theme 1 product 1."""
    nothing, old = np.zeros(3, np.int64), np.full(3, ENDS - 10**15)
    catalogue = Catalogue(nothing, nothing, nothing, nothing, nothing, nothing, nothing, np.zeros((3, 2), np.int64),
                          nothing, np.ones(3), old, ["", "", ""], ["", "", ""])
    three = np.log(3)
    demand = Demand(catalogue, np.zeros(3), np.array([[three, 0, 0], [0, three, 0]]), np.zeros(2), np.full(3, np.nan),
                    np.zeros(3), np.zeros(3))
    none = np.zeros(0, np.int64)
    online = Session(0, ENDS - 10**9, False, np.array([0, 1]), none, none)
    (first, one), (second, two) = predict(online, np.zeros(3), demand, np.zeros(2))
    assert (first, second) == (0, 1)
    # 1/2 * 3/5 + 1/2 * 1/5 = 2/5 for products 0 and 1, 1/5 for product 2.
    assert one == pytest.approx([0.4, 0.4, 0.2])
    # Product 0 was chosen: P(theme 0) = (3/5) / (3/5 + 1/5) = 3/4. Left are products 1 and 2 with odds 1:1 in theme 0
    # and 3:1 in theme 1: 3/4 * 1/2 + 1/4 * 3/4 = 9/16.
    assert two == pytest.approx([0, 9 / 16, 7 / 16])
    # In a store both were chosen at one instant: nothing is learnt, nothing removed, the answers are the same.
    store = Session(0, ENDS - 10**9, True, np.array([0, 1]), none, none)
    assert [list(chance) for _, chance in predict(store, np.zeros(3), demand, np.zeros(2))] == [
        pytest.approx([0.4, 0.4, 0.2])] * 2
    # Who owns product 2 and has met product 0 can meet product 1 only; meeting product 0 again is no answer.
    known = Session(0, ENDS - 10**9, False, np.array([0, 1]), np.array([2]), np.array([0, 2]))
    ((item, chance),) = predict(known, np.zeros(3), demand, np.zeros(2))
    assert item == 1
    assert chance == pytest.approx([0, 1, 0])


@pytest.mark.parametrize(("size", "value"), [("products", 10), ("customers", 3), ("weeks", 2), ("events", 100)])
def test_too_small_is_refused(tmp_path: Path, size: str, value: int) -> None:
    with pytest.raises(SettingsError, match=f"{size} is {value}, it must be at least"):
        write_sample(tmp_path / "none", **{**TINY, size: value})
    assert not (tmp_path / "none").exists()
