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
    events = [(e.item_id, e.event_type, e.time_us) for e in stored]
    ids, known = {e.event_id for e in stored}, set(events)
    for place, event in enumerate(recent):
        time_us = now_us if event.time is None else microseconds(event.time)
        if is_now and time_us > now_us + MAX_AHEAD_US:
            raise DataError(f"events.{place}.time: {event.time} lies {(time_us - now_us) / 60e6:.0f} minutes ahead of "
                            f"the clock, at most {MAX_AHEAD_US / 60e6:.0f} are allowed")
        one = (event.item_id, event.event_type or view.look_type, time_us)
        if (event.event_id in ids) if event.event_id is not None else (one in known):
            continue
        events.append(one)
    return _of(view, events, now_us, is_now)


def _of(view: ReleaseView, events: Sequence[tuple[str, str, int]], now_us: int, is_now: bool) -> Profile:
    rows, codes, weights = view.bundle.rows, view.type_codes, view.weights
    kept: list[tuple[int, int, int, float]] = []
    strange_items, strange_types = 0, set()
    for item_id, event_type, time_us in events:
        if time_us >= now_us and not is_now:
            continue
        row, code = rows.get(item_id), codes.get(event_type)
        if row is None:
            strange_items += 1
        elif code is None:
            strange_types.add(event_type)
        else:
            kept.append((min(time_us, now_us), row, code, weights.get(event_type, 1.0)))
    kept.sort(key=lambda event: event[0])
    time, row_, code_, weight = (list(column) for column in zip(*kept, strict=True)) if kept else ([], [], [], [])
    notices = []
    if strange_items:
        notices.append(f"{strange_items} events of items that this release does not know were left out")
    if strange_types:
        notices.append(f"events of type {', '.join(sorted(strange_types))} were left out: this release knows "
                       f"{', '.join(view.event_types)}")
    return Profile(History(np.array(row_, np.int32), np.array(time, np.int64), np.array(code_, np.int16),
                           np.array(weight, np.float32)), tuple(notices))


def seen(view: ReleaseView, history: History, event_types: Sequence[str] | None) -> Rows:
    """Distinct rows of the items that a shopper has had an event of one of these types with (default: purchases)."""
    names = view.purchase_types if event_types is None else event_types
    codes = [code for name in names if (code := view.type_codes.get(name)) is not None]
    if not codes or not len(history.item):
        return NONE
    return distinct(history.item[np.logical_or.reduce([history.type == code for code in codes])])
