"""What the live release recommends, as files for e-mail, ads and shopping catalogues.

A feed is a sealed folder: whole or not there at all, done once for a release, a window and settings. Each table
lies in it as Parquet and as CSV:

    user_items       user_id, rank, item_id, score, is_fallback, release       top-k of every customer
    next_best        user_id, item_id, title, price, link, image_link, release  the first of them, with what a
                     message shows (without product feeds: only the ids)
    similar_items    item_id, rank, similar_item_id, score, release            by cosine of the item vectors
    google_products, meta_products   the catalogue, see pipelines/product_feed.py

Every customer of the window or of its user table is asked for once, with the whole history, at the window's end.
What is buried, out of stock or no longer in the item table is never recommended, and who was erased since the window
was ingested is left out.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import Field

from pipelines import columns as c
from pipelines.artifacts import seal, stage_key, verify
from pipelines.contracts import Document, Feeds, Ingested
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import DataError
from pipelines.feed_files import FeedFile
from pipelines.product_feed import GOOGLE, IN_STOCK, META, Products, ProductSettings, stock
from pipelines.progress import Progress
from pipelines.schema import read_shop
from pipelines.shoppers import Block, shoppers
from serving.bundle import Bundle
from serving.encoding import Floats
from serving.recommender import Recommendation, Recommender, Request
from serving.release import Release
from serving.retriever import NOTHING, ExactRetriever
from serving.store import ReleaseStore

STAGE = "feeds"
FORMAT = 1
_ITEMS_PER_BLOCK = 256  # whose similar items are searched at once
_REQUESTS_AT_ONCE = 128  # of a block

_USER_ITEMS = pa.schema([(c.USER, pa.string()), ("rank", pa.int16()), (c.ITEM, pa.string()), ("score", pa.float32()),
                         ("is_fallback", pa.bool_()), ("release", pa.int32())])
_SIMILAR = pa.schema([(c.ITEM, pa.string()), ("rank", pa.int16()), ("similar_item_id", pa.string()),
                      ("score", pa.float32()), ("release", pa.int32())])
_CARD = ("title", "price", "link", "image_link")


class FeedSettings(Document):
    """What is exported.

    Attributes:
        k: items a customer.
        similar: items like each item; 0 leaves them out. Every item is compared with every other.
        products: how the product feeds name what the catalogue does not; None leaves them out.
        users_per_block: customers that are held and asked for at once.
    """

    k: int = Field(20, ge=1, le=1000)
    similar: int = Field(20, ge=0, le=1000)
    products: ProductSettings | None = None
    users_per_block: int = Field(1024, ge=1)


def export_feeds(lake: Ingested, settings: FeedSettings, releases: ReleaseStore, root: Path) -> Feeds:
    """Ask the live release for every customer of an ingested window, and seal the answers.

    Args:
        lake: the window whose customers are asked for, as new as the newest event that counts.
        settings: what is exported.
        releases: serving store of the shop.
        root: artefact root; the folder lies at `root/feeds/KEY`.

    Raises:
        DataError: nothing is live, the window ends before that of the release, or the item table has nothing to sell.
        SettingsError: the product feeds lack something that their platforms ask for.
        CorruptArtifact: the window or the bundle is not what was sealed.
        ErasedMeanwhile: somebody was erased while customers were asked for; another try leaves them out.
    """
    exclusion = Exclusion(releases.erasures)
    live = releases.live()
    if live is None:
        raise DataError(f"{releases.root} has no release to export: run `vitrine retrain` first")
    if lake.window.as_of < live.as_of:
        raise DataError(f"the window of {lake.path} ends at {lake.window.as_of}, before that of release {live.number} "
                        f"({live.as_of}): ingest a window that reaches as far")
    key = stage_key(STAGE, FORMAT, live.number, live.bundle, lake.digest, lake.window, settings, exclusion.digest)
    folder = releases.bundle_path(live.bundle)
    return seal(Feeds, root, STAGE, key, lambda out: _build(lake, settings, live, folder, exclusion, out),
                exclusion.require_unchanged)


def _build(
    lake: Ingested, settings: FeedSettings, live: Release, folder: Path, exclusion: Exclusion, out: Path
) -> dict[str, Any]:
    verify(Path(lake.path))
    bundle = Bundle.load(folder, live.bundle)
    items = pd.read_parquet(Path(lake.path) / "items.parquet")
    sold = items.loc[stock(items, lake.window.as_of) == IN_STOCK, c.ITEM]
    rows = np.array([bundle.rows[item] for item in sold if item in bundle.rows], np.int64)
    hidden = np.union1d(np.setdiff1d(np.arange(bundle.num_items), rows), bundle.tombstones)
    if len(hidden) == bundle.num_items:
        raise DataError(f"none of the {bundle.num_items:,} items of release {live.number} is in stock in {lake.path}: "
                        "check the item table")
    buried = {bundle.item_ids[row] for row in bundle.tombstones}
    # The window knows better what is in stock than the release, which may be older.
    bundle = replace(bundle, hidden=hidden)
    stamp = {"release": str(live.number), "bundle": live.bundle, "model_version": live.model_version,
             "as_of": lake.window.as_of.isoformat()}
    counts: dict[str, Any] = {"listed": 0}
    cards: dict[str, Mapping[str, str | None]] | None = None
    if settings.products is not None:
        items = items[~items[c.ITEM].isin(buried)].reset_index(drop=True)
        products = Products(items, read_shop(lake.path).display, settings.products, lake.window.as_of)
        counts["listed"] = _write_products(products, stamp, out)
        cards = {item: products.card(row) for row, item in enumerate(items[c.ITEM]) if item in bundle.rows}
    counts |= _write_users(lake, bundle, settings, exclusion, cards, stamp, out)
    counts["similar"] = _write_similar(bundle, settings.similar, stamp, out) if settings.similar else 0
    return {"ingested": lake, "release": live.number, "bundle": live.bundle, "as_of": lake.window.as_of,
            "k": settings.k, **counts}


def _write_products(products: Products, stamp: Mapping[str, str], out: Path) -> int:
    for target in (GOOGLE, META):
        table = products.table(target)
        schema = pa.schema([(name, pa.string()) for name in table])
        with FeedFile(out, target.name, schema, stamp) as file:
            file.write(table)
    return len(products.listed)


def _write_users(
    lake: Ingested, bundle: Bundle, settings: FeedSettings, exclusion: Exclusion,
    cards: Mapping[str, Mapping[str, str | None]] | None, stamp: Mapping[str, str], out: Path,
) -> dict[str, int]:
    """user_items and next_best, block by block; how many users and how many places a best-seller had to fill."""
    recommender, release = Recommender(bundle), int(stamp["release"])
    shown = _CARD if cards is not None else ()
    next_best = pa.schema([(name, pa.string()) for name in (c.USER, c.ITEM, *shown)] + [("release", pa.int32())])
    progress, users, filled = Progress("feeds", lake.users, "customers"), 0, 0
    with ExitStack() as files:
        every = files.enter_context(FeedFile(out, "user_items", _USER_ITEMS, stamp))
        first = files.enter_context(FeedFile(out, "next_best", next_best, stamp))
        for block in shoppers(lake, bundle, settings.users_per_block, exclusion):
            columns = _answers(recommender, block, settings.k) | {"release": None}
            columns["release"] = np.full(len(columns[c.ITEM]), release)
            every.write(columns)
            best = np.flatnonzero(np.asarray(columns["rank"]) == 1)
            items = [columns[c.ITEM][row] for row in best]
            first.write({c.USER: [columns[c.USER][row] for row in best], c.ITEM: items,
                         "release": np.full(len(best), release)}
                        | {name: [(cards or {})[item][name] for item in items] for name in shown})
            users, filled = users + len(block.user_ids), filled + int(np.sum(columns["is_fallback"]))
            progress.advance(len(block.user_ids))
    progress.finish()
    return {"users": users, "fallbacks": filled}


def _answers(recommender: Recommender, block: Block, k: int) -> dict[str, Any]:
    """Columns of user_items, without the release."""
    answers, ids = _recommended(recommender, block.requests, k), recommender.bundle.item_ids
    found = [one for answer in answers for one in answer]
    return {
        c.USER: [user for user, answer in zip(block.user_ids, answers, strict=True) for _ in answer],
        "rank": [rank for answer in answers for rank in range(1, len(answer) + 1)],
        c.ITEM: [ids[one.row] for one in found], "score": [one.score for one in found],
        "is_fallback": [one.is_fallback for one in found],
    }


def _recommended(recommender: Recommender, requests: Sequence[Request], k: int) -> list[list[Recommendation]]:
    """Answers [requests]. Asked together are histories of like length: all of a call are padded to the longest."""
    answers: dict[int, list[Recommendation]] = {}
    order = np.argsort([len(request.history.item) for request in requests], kind="stable").tolist()
    for first in range(0, len(order), _REQUESTS_AT_ONCE):
        rows = order[first : first + _REQUESTS_AT_ONCE]
        answers |= zip(rows, recommender.recommend_many([requests[row] for row in rows], k), strict=True)
    return [answers[row] for row in range(len(requests))]


def _write_similar(bundle: Bundle, k: int, stamp: Mapping[str, str], out: Path) -> int:
    """similar_items: as `Recommender.similar` answers, for every item that may be shown."""
    plain: Floats = bundle.item_vectors[:, :-1]
    directions = plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)
    retriever, ids = ExactRetriever(directions), np.array(bundle.item_ids, object)
    asked = np.setdiff1d(np.arange(bundle.num_items), bundle.hidden)
    progress = Progress("similar items", len(asked), "items")
    with FeedFile(out, "similar_items", _SIMILAR, stamp) as file:
        for first in range(0, len(asked), _ITEMS_PER_BLOCK):
            rows = asked[first : first + _ITEMS_PER_BLOCK]
            found, scores = retriever.search(directions[rows], k, [np.append(bundle.hidden, row) for row in rows])
            kept = found != NOTHING
            file.write({c.ITEM: np.repeat(ids[rows], kept.sum(axis=1)), "rank": kept.cumsum(axis=1)[kept],
                        "similar_item_id": ids[found[kept]], "score": scores[kept],
                        "release": np.full(int(kept.sum()), int(stamp["release"]))})
            progress.advance(len(rows))
        progress.finish()
        return file.rows
