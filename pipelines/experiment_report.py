"""What an experiment has shown so far, from what the online process laid down: exposures, events, merges, erasures.

A user belongs to the variant of the first exposure. A click is a look at an item that the user was shown before it, a
purchase one of anything; both count from the first exposure on, for as long as the experiment's horizon. A user counts
when that time has passed, so that nobody's outcome changes after it was counted, which is what figures that may be
looked at at any time stand on (models/anytime.py).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from models.anytime import compared, proportion, shares_p_value
from pipelines import columns as c
from pipelines.contracts import Document, UtcTime
from pipelines.errors import DataError
from serving.experiments.spec import Record

CLICK, PURCHASE = "click", "purchase"
BROKEN = 0.001  # p-value below which the shares of the users are not those that were planned
_NO_CLICK = (c.PURCHASE, c.RETURN)


class Outcome(Document):
    """One kind of success of one variant.

    Attributes:
        users: with at least one.
        rate: their share of the variant's counted users; None before the first one counts.
        low, high: between which the true rate lies, at all looks together.
        ratio: the rate as a multiple of the control's; None of the control, and where that has no success.
        ratio_low, ratio_high: between which the true ratio lies, at all looks together; no upper end is None.
        p_value: always valid; None of the control.
        is_different: called different from the control at the experiment's level, corrected for the number of variants.
    """

    users: int
    rate: float | None
    low: float
    high: float
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = None
    is_different: bool = False


class Arm(Document):
    """What a variant has shown.

    Attributes:
        name: of the variant.
        share: of the users, as planned.
        exposed: users with an exposure.
        counted: of these, users whose horizon has passed.
        outcomes: by kind.
    """

    name: str
    share: float
    exposed: int
    counted: int
    outcomes: Mapping[str, Outcome]


class Report(Document):
    """What an experiment has shown.

    Attributes:
        record: of the experiment, its end where it has one.
        as_of: what was known at this time.
        arms: the control first.
        mixed: users who saw several variants, such as one who logged in meanwhile; they are left out.
        shares_p_value: always valid; small where users do not fall to the variants as planned.
        warnings: what speaks against believing the rest.
    """

    record: Record
    as_of: UtcTime
    arms: tuple[Arm, ...]
    mixed: int
    shares_p_value: float
    warnings: tuple[str, ...]


def report(landing: Path, record: Record, as_of: datetime) -> Report:
    """Judge an experiment.

    Args:
        landing: landing folder of the shop; what its processes have not sealed yet, the last minute, is not read.
        record: the experiment's last record.
        as_of: with zone; later exposures and events do not count.

    Raises:
        DataError: nothing of the experiment was laid down.
    """
    spec, control = record.spec, record.spec.variants[0]
    counts, mixed = _counts(landing, record, as_of)
    if not counts:
        raise DataError(f"{landing}/exposures has no exposure of experiment {spec.name!r} (record {record.version}): "
                        "is `vitrine serve` running on this store, with this landing folder, and a minute old?")
    strangers = sorted(set(counts) - set(spec.shares))
    if strangers:
        raise DataError(f"{landing}/exposures names the variants {', '.join(strangers)}, which experiment "
                        f"{spec.name!r} does not have: the landing folder is another store's")
    level = spec.level / (len(spec.variants) - 1)
    arms = tuple(_arm(name, counts, spec.shares, control.name, level) for name in spec.shares)
    p_value = shares_p_value([arm.exposed for arm in arms], [arm.share for arm in arms])
    warnings = []
    if p_value < BROKEN:
        fell = ", ".join(f"{arm.name} {arm.exposed:,}" for arm in arms)
        warnings.append(f"users fall to the variants as {fell}, which the planned shares do not explain (p "
                        f"{p_value:.1g}): find out why before believing the rest")
    return Report(record=record, as_of=as_of, arms=arms, mixed=mixed, shares_p_value=p_value, warnings=tuple(warnings))


Counts = Mapping[str, Mapping[str, int]]  # variant -> exposed, counted, click, purchase


def _arm(name: str, counts: Counts, shares: Mapping[str, float], control: str, level: float) -> Arm:
    own, theirs = counts.get(name, _NOBODY), counts.get(control, _NOBODY)
    outcomes = {}
    for kind in (CLICK, PURCHASE):
        low, high = proportion(own[kind], own["counted"] - own[kind], level)
        rate = own[kind] / own["counted"] if own["counted"] else None
        outcome = Outcome(users=own[kind], rate=rate, low=low, high=high)
        if name != control:
            found = compared(own[kind], theirs[kind], shares[name] / (shares[name] + shares[control]), level)
            outcome = outcome.model_copy(update={
                "ratio": found.ratio if theirs[kind] else None, "ratio_low": found.interval.low,
                "ratio_high": found.interval.high if found.interval.high != float("inf") else None,
                "p_value": found.p_value, "is_different": found.p_value < level})
        outcomes[kind] = outcome
    return Arm(name=name, share=shares[name], exposed=own["exposed"], counted=own["counted"], outcomes=outcomes)


_NOBODY = {"exposed": 0, "counted": 0, CLICK: 0, PURCHASE: 0}

_SQL = """
WITH RECURSIVE undone AS (SELECT merge_id FROM merges WHERE undone_at <= $as_of),
latest AS (SELECT alias, arg_max(user_id, timestamp) AS user_id FROM merges
           WHERE alias <> '' AND timestamp <= $as_of AND merge_id NOT IN (SELECT merge_id FROM undone) GROUP BY alias),
-- Who an id is found to be, through merges of merges; the store keeps them free of circles.
upwards AS (SELECT alias AS id, user_id AS found, 1 AS steps FROM latest
            UNION ALL SELECT u.id, l.user_id, u.steps + 1 FROM upwards u JOIN latest l ON l.alias = u.found
            WHERE u.steps < 20),
who AS (SELECT id, arg_max(found, steps) AS found FROM upwards GROUP BY id),
shown AS (SELECT coalesce(w.found, e.user_id) AS unit, e.variant, e.timestamp, e.item_ids
          FROM exposures e LEFT JOIN who w ON w.id = e.user_id
          WHERE e.version = $version AND e.timestamp <= $as_of
            AND e.user_id NOT IN (SELECT user_id FROM erasures WHERE timestamp <= $as_of)),
units AS (SELECT unit, min(timestamp) AS first, arg_min(variant, timestamp) AS variant,
                 count(DISTINCT variant) AS variants FROM shown GROUP BY unit),
counted AS (SELECT * FROM units WHERE variants = 1 AND first + $horizon <= $as_of),
did AS (SELECT u.unit, e.item_id, e.event_type, e.timestamp
        FROM events e LEFT JOIN who w ON w.id = e.user_id JOIN counted u ON u.unit = coalesce(w.found, e.user_id)
        WHERE e.timestamp > u.first AND e.timestamp <= u.first + $horizon),
items AS (SELECT unit, unnest(item_ids) AS item_id, timestamp FROM shown),
first_shown AS (SELECT unit, item_id, min(timestamp) AS timestamp FROM items GROUP BY unit, item_id),
clicked AS (SELECT DISTINCT d.unit FROM did d JOIN first_shown s USING (unit, item_id)
            WHERE d.timestamp > s.timestamp AND NOT list_contains($no_click, d.event_type)),
bought AS (SELECT DISTINCT unit FROM did WHERE event_type = $purchase)
SELECT CASE WHEN variants = 1 THEN variant END AS variant, count(*), count(c.unit), count(k.unit), count(b.unit)
FROM units LEFT JOIN (SELECT unit FROM counted) c USING (unit) LEFT JOIN clicked k USING (unit)
LEFT JOIN bought b USING (unit) GROUP BY 1 ORDER BY 1
"""
_EMPTY = {
    "events": "user_id VARCHAR, item_id VARCHAR, event_type VARCHAR, timestamp TIMESTAMPTZ",
    "merges": "merge_id VARCHAR, alias VARCHAR, user_id VARCHAR, timestamp TIMESTAMPTZ, undone_at TIMESTAMPTZ",
    "erasures": "user_id VARCHAR, timestamp TIMESTAMPTZ",
    "exposures": "version BIGINT, variant VARCHAR, user_id VARCHAR, timestamp TIMESTAMPTZ, item_ids VARCHAR[]",
}


def _counts(landing: Path, record: Record, as_of: datetime) -> tuple[Counts, int]:
    """Users by variant, and how many saw several."""
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'; SET threads = 2")
        for name, columns in _EMPTY.items():
            files = [str(path) for path in sorted((landing / name).glob("day=*/[!.]*.parquet"))]
            if files:
                db.read_parquet(files, hive_partitioning=False, union_by_name=True).create_view(name)
            else:
                db.execute(f"CREATE TABLE {name} ({columns})")
        rows = db.execute(_SQL, {
            "version": record.version, "as_of": as_of, "horizon": timedelta(hours=record.spec.horizon_hours),
            "no_click": list(_NO_CLICK), "purchase": c.PURCHASE}).fetchall()
    found = {variant: dict(zip(_NOBODY, numbers, strict=True)) for variant, *numbers in rows if variant is not None}
    return found, sum(numbers[0] for variant, *numbers in rows if variant is None)
