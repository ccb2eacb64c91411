"""A toy shop whose right answers are obvious, shared by all tests.

What is obvious about it:

- Items fall into two halves: ids below items / 2 are of the category "apple", the others of "bear". Each half is a
  ring in the order of ids: with 24 items 000 -> 001 -> ... -> 011 -> 000 and 012 -> ... -> 023 -> 012.
- Users with even numbers live in Arcadia and touch apples only, those with odd numbers live in Borea and touch bears
  only (every tenth user's country is unknown).
- A user begins somewhere on the ring and goes on by one item a day, never all the way round. So what follows item i
  is always `right_answer(i)`, it is always an item that the user has not met, and a model that knows the last item
  answers every question, one that knows the country knows the half, and one that counts knows next to nothing.
- Every third step, the first included, is a purchase, the others are views. Users whose number is a multiple of 5
  return their first purchase twelve hours later: a return is no answer, and no step on the ring.
- Ids have leading zeros: who makes numbers of them loses them.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

DAYS = 20
BEGINS = pd.Timestamp("2026-01-05", tz="UTC")
COLOURS = ("red", "green", "blue", "yellow")
VALID_DAY, TEST_DAY = 16, 18  # of the temporal protocol: 80 % and 90 % of the time


def item_id(number: int) -> str:
    """007 for the seventh."""
    return f"{number:03d}"


def right_answer(item: str, items: int = 24) -> str:
    """The id that follows `item` on its ring."""
    half, number = items // 2, int(item)
    return item_id(number // half * half + (number % half + 1) % half)


def _events(users: int, items: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    half = items // 2
    rows = []
    for user in range(users):
        steps = int(rng.integers(4, min(half, 16)))  # at most half - 1: the ring is never closed
        # The first two users are there at the end, or a small world would have nothing to ask.
        day = DAYS - steps if user < 2 else int(rng.integers(0, DAYS - steps + 1))
        place = int(rng.integers(half))
        for step in range(steps):
            item = item_id(user % 2 * half + (place + step) % half)
            time = BEGINS + pd.Timedelta(days=day + step, hours=9, minutes=user % 60, seconds=user // 60)
            event_type = "view" if step % 3 else "purchase"
            rows.append((f"u{user:03d}", item, time, event_type))
            if user % 5 == 0 and step == 0:
                rows.append((f"u{user:03d}", item, time + pd.Timedelta(hours=12), "return"))
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "event_type"])
    return events.sort_values(["timestamp", "user_id"], ignore_index=True)


def _items(items: int) -> pd.DataFrame:
    numbers = range(items)
    groups = ["apple" if n < items // 2 else "bear" for n in numbers]
    return pd.DataFrame({
        "item_id": [item_id(n) for n in numbers],
        "title": [f"{COLOURS[n % 4]} {group} number {n}" for n, group in zip(numbers, groups, strict=True)],
        "category": groups,
        "colour": [COLOURS[n % 4] for n in numbers],
        "price": [10.0 + n for n in numbers],
    })


def _users(users: int) -> pd.DataFrame:
    return pd.DataFrame({
        "user_id": [f"u{n:03d}" for n in range(users)],
        "country": [None if n % 10 == 9 else ("Borea" if n % 2 else "Arcadia") for n in range(users)],
    })


def _write(folder: Path, **tables: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def write_world(folder: Path, users: int = 60, items: int = 24, seed: int = 0) -> Path:
    """Write events, items and users of the toy shop as Parquet; `items` is even, at least 10."""
    return _write(folder, events=_events(users, items, seed), items=_items(items), users=_users(users))


def write_protocol_world(
    folder: Path, users: int = 60, items: int = 24, seed: int = 0,
    protocol: Literal["temporal", "leave_one_out"] = "temporal",
) -> Path:
    """The same shop as a data set of the measuring protocol: with row_id, split, eval and dataset.json.

    temporal: the last two days are test, the two before them valid. leave_one_out: each user's last step is test, the
    one before it valid. All steps of valid and test are evaluated, returns never are.
    """
    events = _events(users, items, seed)
    is_step = events["event_type"] != "return"
    if protocol == "temporal":
        days = (events["timestamp"] - BEGINS).dt.days
        split = np.select([days >= TEST_DAY, days >= VALID_DAY], ["test", "valid"], "train")
    else:
        # Steps that still follow, counted from each user's end.
        left = is_step[::-1].groupby(events["user_id"][::-1]).cumsum()[::-1]
        split = np.select([is_step & (left == 1), is_step & (left == 2)], ["test", "valid"], "train")
    events.insert(0, "row_id", np.arange(len(events), dtype=np.int64))
    events = events.assign(split=split, eval=is_step & (split != "train"))
    _write(folder, events=events, items=_items(items), users=_users(users))
    document: dict[str, Any] = {
        "name": "toy_world", "protocol": protocol, "timestamps": "second", "source": "tests/world.py",
        "licence": "as the project", "users": users, "items": items, "events": len(events),
        "split": {name: int((split == name).sum()) for name in ("train", "valid", "test")},
        "evaluated": {name: int((events["eval"] & (split == name)).sum()) for name in ("valid", "test")},
        "item_columns": ["title", "category", "colour", "price"], "user_columns": ["country"],
    }
    (folder / "dataset.json").write_text(json.dumps(document, indent=1))
    return folder
