"""What the online process can be asked, each field with its bounds; an unknown field is refused by name."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from pipelines.contracts import Document, UtcTime
from serving.filters import Filters, Id
from serving.rules import Rules

MAX_K, MAX_EVENTS, MAX_TEXT, MAX_FEATURES, MAX_BASKET, MAX_CHANGES = 200, 200, 512, 50, 100, 1000
FIRST_YEAR, LAST_YEAR = 1990, 2100


def _written(value: object) -> object:
    """Text alone: a bare number would be taken for seconds, or for milliseconds, by its size."""
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("write the time as ISO 8601 with its zone, such as 2026-11-21T14:00:00Z")


def _in_range(value: datetime) -> datetime:
    if not FIRST_YEAR <= value.year < LAST_YEAR:
        raise ValueError(f"the year {value.year} is not within {FIRST_YEAR} to {LAST_YEAR - 1}")
    return value


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")
Moment = Annotated[UtcTime, BeforeValidator(_written), AfterValidator(_in_range)]
K = Annotated[int, Field(ge=1, le=MAX_K, strict=True, description="How many items to answer with.")]
Share = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
EventType = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
FeatureText = Annotated[str, StringConstraints(max_length=256)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Feature = bool | int | Number | FeatureText | None


class Event(Document):
    """Something that a shopper did in this session.

    Attributes:
        item_id: with what.
        event_type: how; without one, the release's sign of a look at something.
        time: when; without one, now.
        event_id: the same id a second time is the same event.
    """

    item_id: Id
    event_type: EventType | None = None
    time: Moment | None = None
    event_id: Id | None = None


class Shopper(Document):
    """Who asks, as far as it is known; each field may be left out.

    Attributes:
        user_id: of a customer, or of an anonymous session; what the session store knows of it counts.
        events: what happened of late; what the session store has too counts once.
        user_features: as in the users table of the shop; other names say nothing.
        time: the moment of asking; later events do not count. Now, unless given.
    """

    user_id: Id | None = None
    events: Annotated[tuple[Event, ...], Field(max_length=MAX_EVENTS)] = ()
    user_features: Annotated[Mapping[FeatureName, Feature], Field(max_length=MAX_FEATURES)] = {}
    time: Moment | None = None


class Recommend(Shopper):
    """What for this shopper?

    Attributes:
        k: number of items.
        filters: conditions that each item meets.
        exclude_seen: event types whose items are left out; without it purchases, or where the shop's log has no such
            type, all that count as a sign of taste.
        diversity: 0 ranks by score alone, 1 by difference from what stands above alone; in place of what `rules` say.
        rules: of merchandising; without them those of the shop hold, with {} none.
        explain: whether each item says what speaks for it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "user_id": "C-00042", "k": 5, "events": [{"item_id": "P-00007", "event_type": "view"}],
        "filters": {"price": {"max": 500}}, "diversity": 0.2, "explain": True}]})

    k: K = 20
    filters: Filters = Filters()
    exclude_seen: Annotated[tuple[EventType, ...], Field(max_length=20)] | None = None
    diversity: Share = 0.0
    rules: Rules | None = None
    explain: Flag = False


class Similar(Document):
    """What is like this item?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "P-00007", "k": 5}]})

    item_id: Id
    k: K = 20
    filters: Filters = Filters()


class Search(Shopper):
    """What do these words ask for?

    Attributes:
        text: as typed; misspelt and unknown words are read by their parts.
        k, filters: as in `Recommend`.
        personal: weight of the shopper's taste beside the words, 0 for the words alone.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "black evening bag", "k": 5}]})

    text: Text
    k: K = 20
    filters: Filters = Filters()
    personal: Share = 0.0


class Discover(Shopper):
    """What do these words ask for, with prices, labels and exclusions among them?

    Attributes:
        user_id: also names the conversation that a follow-up refines; without it each question stands alone.
        text: as a shopper says it: "black evening clutch under 500, not leather"; then "cheaper", "in red", "more like
            the second", "not this brand".
        k, filters: as in `Recommend`; these conditions are never relaxed.
        personal: weight of the shopper's taste beside the words.
        item_id: the item that "this" means, where the text is typed beside one.
        follow_up: whether it may refine what was asked before.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"user_id": "session-9", "text": "black evening clutch under 500, not leather", "k": 5}]})

    text: Text
    k: K = 20
    filters: Filters = Filters()
    personal: Share = 0.3
    item_id: Id | None = None
    follow_up: Flag = True


class Basket(Document):
    """What goes with these items?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_ids": ["P-00007", "P-00012"], "k": 5}]})

    item_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_BASKET)]
    k: K = 20
    filters: Filters = Filters()


class NewEvent(Document):
    """An event to be kept; the same `event_id` again changes nothing."""

    event_id: Id
    user_id: Id
    item_id: Id
    event_type: EventType
    time: Moment | None = None


class NewEvents(Document):
    """Events to be kept, for the next answers and for the next retrain."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [
        {"event_id": "e-1", "user_id": "session-9", "item_id": "P-00007", "event_type": "view"}]}]})

    events: Annotated[tuple[NewEvent, ...], Field(min_length=1, max_length=MAX_EVENTS)]


class Identify(Document):
    """An anonymous session, store card or CRM id is found to be a known customer.

    Attributes:
        merge_id: names the merge, so that it can be undone; the same again changes nothing.
        alias: the id that is found to be somebody.
        user_id: who that is.
        time: since when that is known; now, unless given.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"merge_id": "login-1", "alias": "session-9", "user_id": "C-00042"}]})

    merge_id: Id
    alias: Id
    user_id: Id
    time: Moment | None = None

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.alias == self.user_id:
            raise ValueError(f"alias and user_id are both {self.alias!r}: nothing is to be merged")
        return self


class NewAvailability(Document):
    """Which items can be bought from now on, whatever their release says."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": {"P-00007": False}}]})

    items: Annotated[Mapping[Id, Flag], Field(min_length=1, max_length=MAX_CHANGES)]

