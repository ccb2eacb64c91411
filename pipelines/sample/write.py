"""Write the sample shop in the source format."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import write_json
from pipelines.errors import SettingsError
from pipelines.sample.behaviour import Event, live, make_demand
from pipelines.sample.catalogue import (
    CATEGORY_NAMES,
    COLLECTION_NAMES,
    COLOUR_NAMES,
    DAY,
    DESIGNER_NAMES,
    ENDS,
    MATERIAL_NAMES,
    Catalogue,
    make_catalogue,
)
from pipelines.sample.customers import AGE_BANDS, CHANNELS, COUNTRIES, SEGMENTS, Customers, make_customers
from pipelines.sample.pictures import draw_products
from pipelines.sample.truth import LAST_DAYS, measure

_TIME = pa.timestamp("us", tz="UTC")
# Share of the customers about whom the shop does not know it.
_UNKNOWN = {"segment": 0.1, "country": 0.05, "age_band": 0.15}


def write_sample(
    folder: Path, seed: int = 7, *, products: int = 2000, customers: int = 5000, events: int = 60_000, weeks: int = 26,
) -> dict[str, Any]:
    """Generate a shop and write events.parquet, items.parquet, users.parquet and truth.json into `folder`.

    The same arguments give the same bytes. The log ends on 2026-06-28, at midnight UTC.

    Args:
        folder: made where it does not exist; files of these names in it are replaced.
        seed: of all randomness.
        products: at least 50.
        customers: each comes at least once.
        events: about so many; at least six a customer.
        weeks: at least 3, so that something lies before the two weeks that the truth is about.

    Returns:
        What truth.json holds: counts, the best reachable recall@10 and its slices (see `truth`).

    Raises:
        SettingsError: a size is too small to make a shop of it.
    """
    for name, value, least in (("products", products, 50), ("customers", customers, 20), ("weeks", weeks, 3),
                               ("events", events, 6 * customers)):
        if value < least:
            raise SettingsError(f"sample shop: {name} is {value}, it must be at least {least}")
    # Each part has its own generator: more products, say, leave the customers as they are.
    rngs = np.random.default_rng(seed).spawn(6)
    catalogue = make_catalogue(rngs[0], products, weeks)
    people = make_customers(rngs[1], customers)
    demand = make_demand(rngs[2], catalogue)
    log, sessions = live(rngs[3], people, demand, events, weeks)
    cut = ENDS - LAST_DAYS * DAY
    met = np.array([event.item for event in log if event.time < cut], np.int64)
    liked = np.array([event.item for event in log if event.time < cut and event.type != "return"], np.int64)
    truth = {
        "seed": seed,
        "products": products,
        "customers": customers,
        "weeks": weeks,
        "events": len(log),
        "event_types": dict(sorted(Counter(event.type for event in log).items())),
        "cut": datetime.fromtimestamp(cut / 1e6, UTC).isoformat(),
        "ends": datetime.fromtimestamp(ENDS / 1e6, UTC).isoformat(),
        "best": measure(people, demand, sessions, np.bincount(liked, minlength=products),
                        np.bincount(met, minlength=products)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(_events(log, catalogue), folder / "events.parquet")
    pq.write_table(_items(catalogue, draw_products(rngs[4], catalogue)), folder / "items.parquet")
    pq.write_table(_users(rngs[5], people), folder / "users.parquet")
    write_json(folder / "truth.json", truth)
    return truth


def _names(names: tuple[str, ...], codes: npt.NDArray[np.int64]) -> list[str]:
    return [names[code] for code in codes]


def _events(log: list[Event], catalogue: Catalogue) -> pa.Table:
    user, item, time, event_type, channel, session, quantity = zip(*log, strict=True)
    return pa.table({
        "user_id": [f"C-{u:05d}" for u in user],
        "item_id": [catalogue.item_id(i) for i in item],
        "timestamp": pa.array(time, _TIME),
        "event_type": list(event_type),
        "channel": list(channel),
        "session_id": list(session),
        "price": pa.array(catalogue.price[list(item)]),
        "quantity": pa.array(quantity, pa.int32()),
    })


def _items(catalogue: Catalogue, pictures: list[bytes]) -> pa.Table:
    return pa.table({
        "item_id": [catalogue.item_id(i) for i in range(len(catalogue))],
        "title": catalogue.title,
        "category": _names(CATEGORY_NAMES, catalogue.category),
        "designer": _names(DESIGNER_NAMES, catalogue.designer),
        "collection": _names(COLLECTION_NAMES, catalogue.collection),
        "material": _names(MATERIAL_NAMES, catalogue.material),
        "colour": _names(COLOUR_NAMES, catalogue.colour),
        "price": pa.array(catalogue.price),
        "description": catalogue.description,
        "available_from": pa.array(catalogue.available_from, _TIME),
        "image": pa.array(pictures, pa.binary()),
    })


def _users(rng: np.random.Generator, people: Customers) -> pa.Table:
    columns = {"segment": _names(tuple(SEGMENTS), people.segment), "country": _names(COUNTRIES, people.country),
               "channel": _names(CHANNELS, people.channel), "age_band": _names(AGE_BANDS, people.age_band)}
    table: dict[str, list[str] | list[str | None]] = {"user_id": [f"C-{u:05d}" for u in range(len(people))]}
    for name, values in columns.items():
        is_unknown = rng.random(len(values)) < _UNKNOWN.get(name, 0.0)
        table[name] = [None if gone else value for gone, value in zip(is_unknown, values, strict=True)]
    return pa.table(table)
