"""Stage: an ingested window becomes a snapshot, with histories in order and the split drawn by time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from pipelines import columns as c
from pipelines.artifacts import seal, stage_key, write_json
from pipelines.contracts import Document, Ingested, Snapshot
from pipelines.encode import Shop, encode, in_rows
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import DataError
from pipelines.histories import first_meetings
from pipelines.identities import Identities
from pipelines.item_texts import write_texts
from pipelines.pictures import picture_columns, picture_digests, write_pictures
from pipelines.progress import log
from pipelines.schema import kinds, read_shop
from pipelines.snapshot import TEST, TRAIN, VALID
from serving.erased import ErasureLog
from serving.item_tower_files import PICTURE_DIGESTS

STAGE = "features"
# Of the folder: the first had neither words nor pictures, the second no settings, the third no times of arrival, the
# fourth no digests of pictures.
FORMAT = 5


class FeatureSettings(Document):
    """How a window is cut and encoded.

    Attributes:
        valid_share: part of the events, latest but one in time, that choose the best epoch.
        test_share: part of the events, latest in time, that judge the model.
        visits: slots of the user tower's sequence; what is older is pooled into the first.
    """

    valid_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.1, gt=0, lt=0.5)
    visits: int = Field(50, ge=2, le=512)


def features(
    ingested: Ingested, settings: FeatureSettings, root: Path, erasures: ErasureLog | None = None
) -> Snapshot:
    """Encode an ingested window, without who was erased since it was ingested.

    Raises:
        DataError: too few events to split.
        ErasedMeanwhile: somebody was erased while the window was read; another try leaves them out.
    """
    exclusion = Exclusion(erasures)
    key = stage_key(STAGE, FORMAT, ingested.digest, ingested.window, settings, exclusion.digest)
    return seal(Snapshot, root, STAGE, key, lambda out: _build(ingested, settings, exclusion, out),
                exclusion.require_unchanged)


def _build(ingested: Ingested, settings: FeatureSettings, exclusion: Exclusion, out: Path) -> dict[str, Any]:
    shop = read_shop(ingested.path)
    events, items, users = read_window(Path(ingested.path), ingested)
    events = events[~exclusion.events(events)].reset_index(drop=True)
    identities = Identities.read(Path(ingested.path), exclusion)
    if users is not None:
        users = users[~users[c.USER].isin({*exclusion.erased.among(users[c.USER]), *identities.customer})]
        users = users.reset_index(drop=True)
    is_positive = events[c.TYPE].map(shop.weights).to_numpy(np.float64) > 0
    time = events[c.TIME].to_numpy("datetime64[us]").astype(np.int64)
    split, valid_from, test_from = split_by_time(time, is_positive, settings)
    known = identities.known(events[c.USER], time)
    events[c.USER] = identities.united(events[c.USER])
    # A customer's first positive meeting with an item is what a recommendation could have brought about.
    user, item = (pd.factorize(events[name])[0].astype(np.int32) for name in (c.USER, c.ITEM))
    is_first = first_meetings(user, item)
    target = is_first & is_positive & known & (split != TRAIN)
    counts = encode(
        Shop(events, items, users, kinds(shop.item_fields), kinds(shop.user_fields), shop.weights, shop.display,
             split, target, np.arange(len(events), dtype=np.int64)),
        settings.visits, out,
    )
    # What search by words and by picture learns from; only the release needs it, so that it is no part of `encode`.
    rows, fields = in_rows(items), kinds(shop.item_fields)
    worded = write_texts(rows, fields, shop.display["title"], out)
    pictured = write_pictures(rows, fields, shop.display["image"], out)
    log.info("of %s items %s have words and %s a picture", f"{len(rows):,}", f"{worded:,}", f"{pictured:,}")
    columns = picture_columns(rows, fields, shop.display["image"])
    np.save(out / PICTURE_DIGESTS, picture_digests(rows, columns), allow_pickle=False)
    write_json(out / "settings.json", settings)
    log.info("split: train until %s, valid until %s, test until %s", valid_from, test_from, ingested.window.as_of)
    return {
        "ingested": ingested, "window": ingested.window, **counts, "valid_from": valid_from, "test_from": test_from,
        "valid_targets": int((target & (split == VALID)).sum()), "test_targets": int((target & (split == TEST)).sum()),
    }


def read_window(folder: Path, ingested: Ingested) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Events of the window in time order, items and users (None where there are none) of an ingested folder."""
    engine = ibis.duckdb.connect()
    events = engine.read_parquet(str(folder / "events" / "*" / "*.parquet"))
    time = events[c.TIME]
    inside = time < ibis.literal(ingested.window.as_of)
    if ingested.window.start is not None:
        inside &= time >= ibis.literal(ingested.window.start)
    # Day partitions hold their events in time order, so reading them by name is reading them by time.
    frame = events.filter(inside).select(c.USER, c.ITEM, c.TIME, c.TYPE).to_pandas()
    frame = frame.sort_values(c.TIME, kind="stable", ignore_index=True)
    users = folder / "users.parquet"
    return frame, pd.read_parquet(folder / "items.parquet"), pd.read_parquet(users) if users.exists() else None


def split_by_time(
    time: npt.NDArray[np.int64], is_positive: npt.NDArray[np.bool_], settings: FeatureSettings
) -> tuple[npt.NDArray[np.uint8], datetime, datetime]:
    """Split [events] at two instants: no event of an earlier part is at or after one of a later part.

    Args:
        time: [events] microseconds, ascending.

    Returns:
        the split, and the first instants of valid and test.

    Raises:
        DataError: a part has no positive event, because there are too few instants.
    """
    positive = time[is_positive]
    shares = (1 - settings.valid_share - settings.test_share, 1 - settings.test_share)
    if not len(positive):
        raise DataError("no event of the window counts as a positive: see event weights in docs/bring-your-own-data.md")
    cuts = [int(positive[int(share * len(positive))]) for share in shares]
    split = np.searchsorted(np.array(cuts), time, side="right").astype(np.uint8)
    sizes = np.bincount(split[is_positive], minlength=3)
    if not sizes.all():
        names: Mapping[str, int] = dict(zip(("train", "valid", "test"), sizes.tolist(), strict=True))
        raise DataError(f"{len(positive):,} positive events cannot be cut in time into train, valid and test "
                        f"({names}): give a longer window or more events")
    valid_from, test_from = (datetime.fromtimestamp(cut / 1e6, UTC) for cut in cuts)
    return split, valid_from, test_from


