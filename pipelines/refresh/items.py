"""What becomes of each item: which stay as they are, which are embedded, and in which rows they stand.

A refresh always starts from the bundle that the live model was promoted with, and never from another refresh. So it is
a function of that bundle and of today's table alone: an item that was gone for an hour comes back as it was, and
nothing drifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.item_embedding import Embedded, ItemEmbedding, ItemFeatures, read_lengths
from models.token_bags import TokenBags
from pipelines import columns as c
from pipelines.artifacts import read_json
from pipelines.dense import dense_as_noted
from pipelines.encode import stock_columns
from pipelines.errors import CorruptArtifact, DataError, SettingsError
from pipelines.pictures import picture_digests
from pipelines.vocabulary import token_bags
from serving.bundle import Bundle
from serving.item_tower_files import CONFIG, PICTURE_DIGESTS
from serving.strict_read import read_array
from serving.tokens import TokenField, read_fields

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NEW = -1  # in the place of a row
STOCK = (c.AVAILABLE, c.ARRIVES)  # what changes from hour to hour without a product being another


@dataclass(frozen=True)
class Base:
    """The bundle that a model was promoted with, opened for embedding further items."""

    bundle: Bundle
    embedding: ItemEmbedding
    embedded: Embedded
    features: ItemFeatures
    digests: npt.NDArray[np.uint64]  # [items] of pictures
    fields: list[TokenField]
    dense_notes: list[dict[str, Any]]

    @classmethod
    def open(cls, bundle: Bundle) -> "Base":
        """Open what a bundle carries beside what it serves.

        Raises:
            SettingsError: it was made before there were refreshes.
            CorruptArtifact: its files do not belong together.
        """
        folder, items = bundle.path, bundle.num_items
        if not (folder / CONFIG).exists():
            raise SettingsError(f"bundle {bundle.digest[:12]} has no item tower: it was made before there were "
                                "refreshes of the catalogue; retrain once")
        embedding = ItemEmbedding.load(folder)
        lengths = read_lengths(folder, items, len(embedding.gains))
        vocabulary = read_json(folder / "vocabulary.json")
        try:
            digests = read_array(folder / PICTURE_DIGESTS, np.uint64, (items,))
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder} does not say which pictures it has: {error}; train again") from error
        return cls(bundle, embedding, Embedded(bundle.item_vectors, bundle.item_inputs, lengths),
                   ItemFeatures.load(folder, items), digests, read_fields(vocabulary["items"]), vocabulary["dense"])

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """(column, kind) pairs of the features."""
        return [(one["name"], one["kind"]) for one in self.bundle.spec["item_fields"]]

    @property
    def shown_picture(self) -> str | None:
        """The column whose pictures people are shown, which lie beside the table."""
        return "image" if self.bundle.photos is not None else None

    @property
    def picture_columns(self) -> list[str]:
        """The columns that hold pictures."""
        images = {name for name, kind in self.kinds if kind == "image"}
        return sorted(images | ({self.shown_picture} if self.shown_picture else set()))


@dataclass(frozen=True)
class Present:
    """Today's items, [n] rows in the order in which they will stand.

    Attributes:
        table: the catalogue's rows.
        base_row: row of the base, NEW for what it does not have.
        is_changed: bool, the base has it with other features.
        is_told_alike: bool, the base has it with the same labels, texts and numbers.
        has_its_picture: bool, the base has it with the same pictures, or none.
    """

    table: pd.DataFrame
    base_row: Rows
    is_changed: Flags
    is_told_alike: Flags
    has_its_picture: Flags
    features: ItemFeatures
    digests: npt.NDArray[np.uint64]
    embedded: Embedded

    @property
    def is_new(self) -> Flags:
        """Items that the base does not have [n]."""
        new: Flags = self.base_row == NEW
        return new

    def shown(self, base: Base) -> pd.DataFrame:
        """What a release carries of the items: the base's columns, and what says whether one can be bought."""
        kept = [name for name in base.bundle.items.column_names if name not in STOCK]
        return self.table[[*kept, *(name for name in stock_columns(self.table) if name not in kept)]]


    def is_of(self, base: Base) -> bool:
        """Whether the base has these very items, with what people read of them, and as they can be bought."""
        if len(self.base_row) != base.bundle.num_items or self.is_new.any() or self.is_changed.any():
            return False
        now, before = self.shown(base), base.bundle.items
        if not (self.is_told_alike.all() and self.has_its_picture.all()) or set(now) != set(before.column_names):
            return False
        return all(_is_same(*pair) for name in STOCK if name in now
                   for pair in zip(now[name].tolist(), before.column(name).to_pylist(), strict=True))


def arrange(base_ids: Sequence[str], present_ids: Sequence[str]) -> Rows:
    """Where today's items stand: for each row its place in `present_ids`.

    Rows stay where they were, so that an index changes little: what is gone gives its row to something new, in the
    order of the ids, or to the last item.
    """
    places = {item: place for place, item in enumerate(present_ids)}
    known = set(base_ids)
    rows = [places.get(item, NEW) for item in base_ids]
    waiting = [place for place, item in enumerate(present_ids) if item not in known]
    free = [row for row, place in enumerate(rows) if place == NEW]
    for row, place in zip(free, waiting, strict=False):
        rows[row] = place
    rows += waiting[len(free):]
    for row in free[len(waiting):]:
        while rows and rows[-1] == NEW:
            rows.pop()
        if row < len(rows):
            rows[row] = rows.pop()
    return np.array(rows, np.int64)


def present(base: Base, catalogue: pd.DataFrame) -> Present:
    """Embed what the base does not have, or has otherwise.

    Args:
        base: of the live model.
        catalogue: the item table, in the order of the ids.

    Raises:
        DataError: a column that the model was trained on is missing or of another kind.
    """
    _require_columns(base, catalogue)
    ids = catalogue[c.ITEM].astype(str).tolist()
    table = catalogue.iloc[arrange(base.bundle.item_ids, ids)].reset_index(drop=True)
    base_row = np.array([base.bundle.rows.get(item, NEW) for item in table[c.ITEM].astype(str)], np.int64)
    was = np.maximum(base_row, 0)  # of what is new, any row will do
    digests = picture_digests(table, base.picture_columns)
    has_its_picture = (base_row != NEW) & (digests == base.digests[was])
    alike = _told_alike(base, table, base_row)
    bags = _bags(base, table, alike, was)
    dense = dense_as_noted(table, base.dense_notes, np.asarray(base.features.dense[was]), has_its_picture)
    features, before = ItemFeatures(bags, dense), base.features.take(was)
    is_changed = (base_row != NEW) & features.differ(before)
    return Present(table, base_row, is_changed, alike, has_its_picture, features, digests,
                   _embed(base, features, before, base_row, is_changed))


def _embed(base: Base, features: ItemFeatures, before: ItemFeatures, base_row: Rows, is_changed: Flags) -> Embedded:
    was = np.maximum(base_row, 0)
    result = Embedded(*(array[was] for array in
                        (base.embedded.vectors, base.embedded.inputs, base.embedded.lengths)))
    new, changed = np.flatnonzero(base_row == NEW), np.flatnonzero(is_changed)
    known = Embedded(result.vectors[changed], result.inputs[changed], result.lengths[changed])
    for rows, found in (
            (new, base.embedding.new(features.take(new))),
            (changed, base.embedding.changed(known, before.take(changed), features.take(changed)))):
        result.vectors[rows], result.inputs[rows], result.lengths[rows] = found.vectors, found.inputs, found.lengths
    return result


def _bags(base: Base, table: pd.DataFrame, alike: Flags, was: Rows) -> TokenBags:
    """Token bags [n]; only rows that say something else than in the base are cut into tokens again."""
    others = np.flatnonzero(~alike)
    cut = TokenBags(*token_bags(table.iloc[others], base.fields))
    old = base.features.bags
    both = TokenBags(np.concatenate([old.indptr, old.indptr[-1] + cut.indptr[1:]]),
                     np.concatenate([old.tokens, cut.tokens]), np.concatenate([old.weights, cut.weights]))
    rows = was.copy()
    rows[others] = len(old) + np.arange(len(others))
    return both.take(rows)


def _told_alike(base: Base, table: pd.DataFrame, base_row: Rows) -> Flags:
    """Which rows [n] have the base's values in every column that the base tells of its items."""
    alike: Flags = base_row != NEW
    rows = np.flatnonzero(alike)
    for name in base.bundle.items.column_names:
        if name in (c.ITEM, *STOCK):
            continue
        before = base.bundle.items.column(name).to_pylist()
        now = table[name].tolist()
        alike[rows] &= np.array([_is_same(now[row], before[base_row[row]]) for row in rows], bool)
    return alike


def _is_same(now: Any, before: Any) -> bool:
    if isinstance(now, np.ndarray):
        now = now.tolist()
    if now is None or (isinstance(now, float) and np.isnan(now)):
        return before is None
    return bool(now == before)


def _require_columns(base: Base, catalogue: pd.DataFrame) -> None:
    """See that the table still has what the model reads and a release shows.

    Raises:
        DataError: with every column that is missing or of another kind.
    """
    needed = dict.fromkeys(name for name in base.bundle.items.column_names if name not in STOCK)
    needed |= dict(base.kinds) | dict.fromkeys(base.picture_columns, "image")
    faults = [f"{name} is missing" for name in needed if name not in catalogue]
    for name, kind in needed.items():
        if name in catalogue and (example := _strange(catalogue[name], kind)) is not None:
            faults.append(f"{name} was {kind}, and is now like {example!r}")
    if faults:
        raise DataError("the item table is no longer as the live model was trained on it: " + "; ".join(faults)
                        + "; give the columns as they were, or retrain")


def _strange(column: pd.Series, kind: str | None) -> str | None:
    """An example of a value that is not of the kind, or None."""
    known = column.dropna()
    if kind == "numeric":
        strange = known if not pd.api.types.is_numeric_dtype(column) else known.head(0)
    elif kind == "image":
        strange = known[~known.map(lambda value: isinstance(value, bytes)).astype(bool)]
    elif kind in ("multi", "vector"):
        strange = known[~known.map(lambda value: isinstance(value, np.ndarray | list)).astype(bool)]
    else:
        return None
    return str(strange.iloc[0])[:60] if len(strange) else None
