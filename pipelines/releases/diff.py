"""What changed from one release to another, read from the two bundles alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.artifacts import read_json
from pipelines.contracts import Document
from pipelines.releases.asking import ask, items_of
from serving.bundle_files import FIGURES, INDEX_CONFIG
from serving.panel import Panel
from serving.store import Release, ReleaseStore

Value = str | float | int | bool | None
LIST = 10
EXAMPLES = 10


class Change(Document):
    """A named value in the one and in the other; None where it has none."""

    name: str
    before: Value
    after: Value


class Items(Document):
    """Items that came and went: how many, and the first of them by id."""

    added: int
    removed: int
    kept: int
    added_examples: tuple[str, ...]
    removed_examples: tuple[str, ...]


class Churn(Document):
    """How much of a list of the best `k` another bundle replaces, for the same histories.

    Attributes:
        shoppers: histories that were asked with, of both panels, with an event that both bundles know.
        mean: mean share of the first k items that are not among the other's.
        most: the largest such share.
        unchanged: lists of the same items.
    """

    k: int
    shoppers: int
    mean: float
    most: float
    unchanged: int


class Diff(Document):
    """What changed between two releases; data, metrics and index whole, the rest where it differs."""

    before: int
    after: int
    data: tuple[Change, ...]
    features: tuple[Change, ...]
    model: tuple[Change, ...]
    index: tuple[Change, ...]
    metrics: tuple[Change, ...]
    items: Items
    churn: Churn | None


def diff(store: ReleaseStore, before: int, after: int) -> Diff:
    """Compare the bundles of two releases.

    Raises:
        CorruptArtifact: there is no such release, or its record is damaged.
        BundleRefused: a bundle is no longer there, is damaged, or does not answer.
    """
    a, b = (_Side(store, store.get(number)) for number in (before, after))
    ids_a, ids_b = set(a.items), set(b.items)
    added, removed = sorted(ids_b - ids_a), sorted(ids_a - ids_b)
    return Diff(
        before=before, after=after,
        data=_changes(a.data, b.data), features=_differing(a.features, b.features),
        model=_differing(a.model, b.model), index=_changes(a.index, b.index), metrics=_changes(a.metrics, b.metrics),
        items=Items(added=len(added), removed=len(removed), kept=len(ids_a & ids_b),
                    added_examples=tuple(added[:EXAMPLES]), removed_examples=tuple(removed[:EXAMPLES])),
        churn=_churn(a, b))


class _Side:
    """What is compared of one release."""

    def __init__(self, store: ReleaseStore, release: Release) -> None:
        self.folder = store.bundle_path(release.bundle)
        self.items = items_of(self.folder)
        self.panel = Panel.load(self.folder).without(store.erasures.read().hides)
        registered = read_json(self.folder / "provenance.json").get("registered", {})
        trained = registered.get("evaluated", {}).get("trained", {})
        snapshot = trained.get("snapshot", {})
        measured = read_json(self.folder / FIGURES) if (self.folder / FIGURES).exists() else {}
        window = snapshot.get("window", {})
        counts = ("events", "users", "items", "train_events", "valid_targets", "test_targets")
        self.data = {"as_of": window.get("as_of"), "start": window.get("start")} | {
            name: snapshot.get(name) for name in counts}
        self.features = _features(self.folder)
        self.model = dict(_flat({name: value for name, value in trained.items()
                                 if name not in ("snapshot", "digest", "valid_recall_at_10")}
                                | {"settings": measured.get("settings", {})}))
        self.index = dict(_flat(read_json(self.folder / INDEX_CONFIG) | measured.get("index", {})))
        slices = {f"{name} {metric}": value for name, figures in measured.get("slices", {}).items()
                  for metric, value in figures.items()}
        self.metrics = {**(measured.get("metrics") or release.metrics), **slices}


def _features(folder: Path) -> dict[str, Value]:
    """Features by name, with the size of each vocabulary."""
    spec = read_json(folder / "spec.json")
    found = {name: spec.get(name) for name in ("visits", "user_slots", "dense")}
    found |= {"event_types": ", ".join(spec.get("event_types", ()))}
    found |= {f"{side} {entry['name']}": entry["kind"] for side in ("item", "user")
              for entry in spec.get(f"{side}_fields", ())}
    path = folder / "vocabulary.json"
    for side, fields in (read_json(path) if path.exists() else {}).items():
        if side in ("items", "users"):
            found |= {f"{side[:-1]} {entry['name']} values": len(entry["values"]) for entry in fields
                      if entry.get("values")}
    return found


def _churn(a: _Side, b: _Side) -> Churn | None:
    """Churn of the panels of both, by the events that both know; None where there is nobody to ask."""
    known = set(a.items) & set(b.items)
    own = set(a.panel.shoppers)
    shoppers = (*a.panel.shoppers, *(shopper for shopper in b.panel.shoppers if shopper not in own))
    panel = Panel(shoppers=shoppers).known_to(known)
    if not panel.shoppers:
        return None
    lists = zip(ask(a.folder, panel, LIST), ask(b.folder, panel, LIST), strict=True)
    shares = [1 - len(set(one) & set(other)) / max(len(one), len(other)) for one, other in lists][1:]  # without nobody
    return Churn(k=LIST, shoppers=len(shares), mean=sum(shares) / len(shares), most=max(shares),
                 unchanged=sum(share == 0 for share in shares))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Nested settings as dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            is_many = isinstance(value, Sequence) and not isinstance(value, str)
            yield f"{prefix}{name}", str(value) if is_many else value


def _changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> tuple[Change, ...]:
    return tuple(Change(name=name, before=before.get(name), after=after.get(name))
                 for name in dict.fromkeys((*before, *after)))


def _differing(before: Mapping[str, Value], after: Mapping[str, Value]) -> tuple[Change, ...]:
    return tuple(change for change in _changes(before, after) if change.before != change.after)
