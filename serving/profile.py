"""A shopper's history in the terms of one release, from the session store and from what a request brings along."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DataError
from pipelines.moments import microseconds
from serving import questions
from serving.encoding import History
from serving.retriever import NONE, Rows, distinct
from serving.sessions.contract import Event
from serving.view import ReleaseView

MAX_AHEAD_US = 300_000_000  # clocks differ; what is further ahead is a mistake


@dataclass(frozen=True)
class Profile:
    """What is known of a shopper at the time of asking."""

    history: History
    left_out: tuple[str, ...]  # what the release does not know, as sentences


def profile_of(
    view: ReleaseView, stored: Sequence[Event], recent: Sequence[questions.Event], now_us: int, is_now: bool
) -> Profile:
    """The history of a shopper.

    Items and event types that the release was not trained with are left out: it cannot tell what they are a sign of.

    Args:
        view: the release.
        stored: what the session store knows, in time order.
        recent: what the request brings along; an event that is stored too counts once.
        now_us: moment of asking, microseconds.
        is_now: the clock's own moment. Events a little ahead of it are then taken as of now, by whose clock they are
            wrong; with a moment that was asked for, what is at or after it has not happened yet.

    Raises:
        DataError: a recent event lies far ahead of the clock.
    """
    items, types, times = [e.item_id for e in stored], [e.event_type for e in stored], [e.time_us for e in stored]
    for place, event in enumerate(recent):
        time_us = now_us if event.time is None else microseconds(event.time)
        if is_now and time_us > now_us + MAX_AHEAD_US:
            raise DataError(f"events.{place}.time: {event.time} lies {(time_us - now_us) / 60e6:.0f} minutes ahead of "
                            f"the clock, at most {MAX_AHEAD_US / 60e6:.0f} are allowed")
        kind = event.event_type or view.look_type
        if not _is_stored(stored, event, kind, time_us):
            items.append(event.item_id)
            types.append(kind)
            times.append(time_us)
    return _of(view, items, types, times, now_us, is_now)


def _is_stored(stored: Sequence[Event], event: questions.Event, kind: str, time_us: int) -> bool:
    """Whether an event of a request is among the stored ones, by its id or else by all that it says."""
    if event.event_id is not None:
        return any(one.event_id == event.event_id for one in stored)
    if not stored or time_us > stored[-1].time_us:
        return False
    return any(one.time_us == time_us and one.item_id == event.item_id and one.event_type == kind for one in stored)


def _of(
    view: ReleaseView, items: list[str], types: list[str], times: list[int], now_us: int, is_now: bool
) -> Profile:
    """The history of events of these items, types and times, and what is left out of it."""
    row_of, code_of = view.bundle.rows.get, view.type_codes.get
    rows, codes = [row_of(item, -1) for item in items], [code_of(kind, -1) for kind in types]
    row, code, time = np.array(rows, np.int32), np.array(codes, np.int16), np.array(times, np.int64)
    notices = []
    if -1 in rows or -1 in codes or (not is_now and times and max(times) >= now_us):
        has_happened = np.full(len(row), True) if is_now else time < now_us
        if strange := int(np.count_nonzero(has_happened & (row < 0))):
            notices.append(f"{strange} events of items that this release does not know were left out")
        if names := {types[place] for place in np.flatnonzero(has_happened & (row >= 0) & (code < 0))}:
            notices.append(f"events of type {', '.join(sorted(names))} were left out: this release knows "
                           f"{', '.join(view.event_types)}")
        kept = has_happened & (row >= 0) & (code >= 0)
        row, code, time = row[kept], code[kept], time[kept]
    time = np.minimum(time, now_us)
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
        row, code, time = row[order], code[order], time[order]
    return Profile(History(row, time, code, view.type_weights[code]), tuple(notices))


def seen(view: ReleaseView, history: History, event_types: Sequence[str] | None) -> Rows:
    """Distinct rows of the items that a shopper has had an event of one of these types with (default: purchases)."""
    names = view.purchase_types if event_types is None else event_types
    codes = [code for name in names if (code := view.type_codes.get(name)) is not None]
    if not codes or not len(history.item):
        return NONE
    return distinct(history.item[np.logical_or.reduce([history.type == code for code in codes])])
