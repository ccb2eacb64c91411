"""What the online process answers with."""

from typing import Any, Literal

from pydantic import ConfigDict

from pipelines.contracts import Document


class Reason(Document):
    """Something that speaks for an item, by likeness of vectors: not a cause, and not what the model looked at.

    Attributes:
        kind: "event" of the shopper's history, or "feature" of the item.
        item_id, event_type: of the event.
        column, label: of the feature.
        strength: cosine of the two items; for a feature, what it adds to the shopper's score over the average item.
    """

    kind: Literal["event", "feature"]
    item_id: str | None = None
    event_type: str | None = None
    column: str | None = None
    label: str | None = None
    strength: float


class Item(Document):
    """An item of an answer.

    Attributes:
        score: inner product of the question's and the item's vector, a cosine where likeness was asked for.
        is_fallback: a best-seller in a place for which the model had no item left.
        is_pinned: put there by a rule.
        title, category, brand, price, image_url: where the shop's table says so.
        reasons: strongest first; only where they were asked for.
    """

    item_id: str
    score: float
    is_fallback: bool = False
    is_pinned: bool = False
    title: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    image_url: str | None = None
    reasons: tuple[Reason, ...] | None = None


class Filtered(Document):
    """What the conditions let through.

    Attributes:
        catalogue: items of the release.
        allowed: of these, the items that could have been answered with.
        search: "exact" compared with all that were allowed, "approximate" asked the index.
    """

    catalogue: int
    allowed: int
    search: Literal["exact", "approximate"]


class Slate(Document):
    """An answer, all of one release.

    Attributes:
        release: its number.
        model_version: of the model in the registry.
        items: best first; fewer than k only where the conditions let no more through.
        is_fallback: none of the items is the model's own choice.
        fallback_reason: why items are best-sellers, where some are.
        variant: of a running experiment.
        known_events: of the shopper, that the answer was made from.
        filtered: what the conditions let through.
        notices: what the caller should know, such as a session store that does not answer.
        latency_ms: within this process.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "release": 42, "model_version": "17", "known_events": 3, "is_fallback": False, "latency_ms": 0.8,
        "filtered": {"catalogue": 2000, "allowed": 312, "search": "exact"},
        "items": [{"item_id": "P-00012", "score": 7.3, "title": "Evening clutch", "category": "Bags", "price": 480.0}],
    }]})

    release: int
    model_version: str
    items: tuple[Item, ...]
    is_fallback: bool = False
    fallback_reason: str | None = None
    variant: str | None = None
    known_events: int = 0
    filtered: Filtered
    notices: tuple[str, ...] = ()
    latency_ms: float


class Detail(Document):
    """All that the release says of one item; `attributes` by column of the shop's table."""

    release: int
    item_id: str
    is_available: bool
    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    image_url: str | None
    attributes: dict[str, Any]


class Category(Document):
    """A category and how many items it has."""

    name: str
    items: int


class Categories(Document):
    """Categories of a release, the largest first."""

    release: int
    categories: tuple[Category, ...]


class Accepted(Document):
    """What became of some events: `repeated` were known by their id, or older than what is kept."""

    accepted: int
    repeated: int
    notices: tuple[str, ...] = ()


class Merged(Document):
    """What became of a merge; `is_new` is false where the same was done before."""

    merge_id: str
    is_new: bool


class Forgotten(Document):
    """What was erased of a user, under all ids of the profile.

    Attributes:
        deleted_events: of the session store.
        erasure: number of the record that keeps the user out of every release, feed and answer from now on.
    """

    deleted_events: int
    erasure: int | None


class AvailabilityChanged(Document):
    """Version of what is known about availability; items that no release knows are kept for the next one."""

    version: int
    changed: int
    unknown: tuple[str, ...]


class LiveReleaseInfo(Document):
    """The release that answers.

    Attributes:
        release: its number.
        bundle: digest of its bundle.
        model_version: of its model in the registry.
        as_of: it was made from events before this time; None where the bundle does not say.
        items: number of items.
        event_types: that its model knows.
        label_columns, number_columns: of the items, that can be filtered by.
        search, pictures: whether words and pictures are answered; None, or why not.
    """

    release: int
    bundle: str
    model_version: str
    as_of: str | None
    items: int
    event_types: tuple[str, ...]
    label_columns: tuple[str, ...]
    number_columns: tuple[str, ...]
    search: str | None
    pictures: str | None
