"""What a shop may say about its own tables: names, feature kinds, event weights. All of it is optional."""

import difflib
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field as Setting
from pydantic import ValidationError, field_validator, model_validator

from pipelines import columns as c
from pipelines.contracts import Document
from pipelines.errors import SettingsError

SPEC_FILE = "vitrine.toml"

FeatureKind = Literal["categorical", "multi", "text", "numeric", "image", "vector"]
Kind = Literal["categorical", "multi", "text", "numeric", "image", "vector", "ignore"]
Weight = Annotated[float, Setting(ge=0, allow_inf_nan=False)]

# Every place of a specification where a key may stand, for messages about keys that may not.
_PLACES = ("columns.events", "columns.items", "columns.users", "items.kinds", "users.kinds",
           "events.weights", "events.count", "events.naive_times")
EventColumn = Literal["user_id", "item_id", "timestamp", "event_type", "session_id"]
ItemColumn = Literal["item_id", "title", "category", "price", "image", "available"]
UserColumn = Literal["user_id"]


class ColumnNames(Document):
    """Vitrine's column name -> the shop's, where they differ.

    Attributes:
        events: of user_id, item_id, timestamp, event_type, session_id.
        items: of item_id, title, category, price, image, available.
        users: of user_id.
    """

    events: dict[EventColumn, str] = Setting(default_factory=dict)
    items: dict[ItemColumn, str] = Setting(default_factory=dict)
    users: dict[UserColumn, str] = Setting(default_factory=dict)


class FeatureKinds(Document):
    """Kinds of feature columns that are to be another than the one found by type.

    Attributes:
        kinds: column (under Vitrine's name) -> kind; `ignore` leaves the column out.
    """

    kinds: dict[str, Kind] = Setting(default_factory=dict)


class EventRules(Document):
    """How events are read.

    Attributes:
        weights: event type -> weight as a sign of taste; 1 where not given, 0 for "seen, but no sign of taste".
        count: event types that count as positives; all but returns where not given.
        naive_times: "utc" takes date-times without a time zone in typed columns as UTC; "refuse" refuses them.
    """

    weights: dict[str, Weight] = Setting(default_factory=dict)
    count: tuple[str, ...] | None = None
    naive_times: Literal["refuse", "utc"] = "refuse"

    @field_validator("weights")
    @classmethod
    def _return_is_no_taste(cls, weights: dict[str, float]) -> dict[str, float]:
        if weights.get(c.RETURN, 0) != 0:
            raise ValueError(f"events of type {c.RETURN!r} are never positives: remove its weight or set it to 0")
        return weights

    @model_validator(mode="after")
    def _count_agrees(self) -> "EventRules":
        if self.count is None:
            return self
        if not self.count:
            raise ValueError("count is empty, so nothing could be learned: name at least one type or remove the key")
        if c.RETURN in self.count:
            raise ValueError(f"events of type {c.RETURN!r} are never positives: remove it from count")
        lost = sorted(t for t, w in self.weights.items() if w > 0 and t not in self.count)
        if lost:
            raise ValueError(f"{', '.join(lost)} has a weight above 0 but is not in count: add it there or "
                             "set the weight to 0")
        return self


class ShopSpec(Document):
    """A shop's specification, as read from TOML; every part has a default."""

    columns: ColumnNames = ColumnNames()
    items: FeatureKinds = FeatureKinds()
    users: FeatureKinds = FeatureKinds()
    events: EventRules = EventRules()

    def names_of(self, table: str) -> dict[str, str]:
        """Vitrine's column name -> the shop's, of one table."""
        return dict(getattr(self.columns, table))

    def kinds_of(self, id_column: str) -> dict[str, Kind]:
        """Column -> kind for the table that `id_column` identifies."""
        return dict(self.items.kinds if id_column == c.ITEM else self.users.kinds)

    def weight(self, event_type: str) -> float:
        """Weight of an event as a sign of taste; 0 for returns and for what does not count."""
        is_counted = event_type != c.RETURN if self.events.count is None else event_type in self.events.count
        return self.events.weights.get(event_type, 1.0) if is_counted else 0.0


def load_spec(source: str, path: str | Path | None = None, as_of: datetime | None = None) -> ShopSpec:
    """The specification in `path`, else in `vitrine.toml` of the folder `source`, else the default.

    A lake has the one that its last day, or the last one known as of a moment, was published with.

    Raises:
        SettingsError: the file is missing, is no TOML, or holds a key or value that means nothing.
        DataError: a lake has no day that was known by then.
    """
    from pipelines.lake import Lake, is_lake  # its records hold specifications

    if path is None and is_lake(source):
        return Lake(Path(source)).partitions(as_of)[-1].spec
    if path is None:
        path = Path(source) / SPEC_FILE
        if not path.is_file():
            return ShopSpec()
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the specification {path} cannot be read ({error.strerror}): check the path") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML in UTF-8: {error}") from error
    try:
        return ShopSpec.model_validate(document)
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(tuple(map(str, e['loc'])), e['type'], e['msg'])}" for e in error.errors())
        raise SettingsError(f"{path} is refused:\n{faults}") from error


def _explain(location: tuple[str, ...], kind: str, message: str) -> str:
    if location[-1:] == ("[key]",):  # how pydantic marks a fault in the key of a mapping
        location = location[:-1]
    key = ".".join(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(key, _PLACES, 1)
        return f"unknown key {key}: " + (f"did you mean {close[0]}?" if close else f"keys are {', '.join(_PLACES)}")
    return f"{key}: {message.removeprefix('Value error, ')}"
