"""What a request lets through, as rows of one release."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints, model_validator

from pipelines.contracts import Document
from pipelines.errors import DataError
from serving.bundle import Bundle
from serving.catalogue import Bools, Catalogue, fold

MAX_LABELS, MAX_COLUMNS, MAX_LISTED, MAX_ID = 50, 10, 1000, 256
MAX_ALIKE = 5

# No control characters; pydantic refuses what is no Unicode text by itself.
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00-\x1f\x7f]+$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Labels = Annotated[tuple[Label, ...], Field(max_length=MAX_LABELS)]
Listed = Annotated[tuple[Id, ...], Field(max_length=MAX_LISTED)]
Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Range(Document):
    """Bounds of a number, both inclusive; an item without the number is outside."""

    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Filters(Document):
    """Conditions that an item must all meet.

    Attributes:
        category: at least one of these, where any are given.
        brand: at least one of these.
        price: its bounds.
        columns: categorical or multi-valued item column -> labels, at least one of which the item has.
        without: the same, none of which the item has.
        ranges: numeric item column -> bounds.
        include: only these items.
        exclude: none of these items.
        sold_out: whether what cannot be bought now may be shown.
    """

    category: Labels = ()
    brand: Labels = ()
    price: Range | None = None
    columns: Annotated[Mapping[Id, Labels], Field(max_length=MAX_COLUMNS)] = {}
    without: Annotated[Mapping[Id, Labels], Field(max_length=MAX_COLUMNS)] = {}
    ranges: Annotated[Mapping[Id, Range], Field(max_length=MAX_COLUMNS)] = {}
    include: Listed | None = None
    exclude: Listed = ()
    sold_out: Annotated[bool, Field(strict=True)] = False

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Nothing of it changes; pydantic copies it as the default of every question that brings none.
        return self


def allowed(filters: Filters, catalogue: Catalogue) -> Bools | None:
    """Mask [items] of what the filters let through but for `exclude` and `sold_out`; None where that is everything.

    Raises:
        DataError: a column is not in this release, or not of the kind asked for.
    """
    masks: list[Bools] = []
    for role, name, labels in (("category", catalogue.category, filters.category),
                               ("brand", catalogue.brand, filters.brand)):
        if labels:
            masks.append(catalogue.labels(_named(role, name)).having(labels))
    if filters.price is not None:
        masks.append(_between(catalogue.numbers(_named("price", catalogue.price)), filters.price))
    masks += [catalogue.labels(name).having(labels) for name, labels in filters.columns.items()]
    masks += [~catalogue.labels(name).having(labels) for name, labels in filters.without.items()]
    masks += [_between(catalogue.numbers(name), bounds) for name, bounds in filters.ranges.items()]
    if filters.include is not None:
        listed = np.zeros(catalogue.items, bool)
        listed[rows_of(filters.include, catalogue.bundle)] = True
        masks.append(listed)
    return np.logical_and.reduce(masks) if masks else None


def unheard_of(filters: Filters, catalogue: Catalogue) -> list[str]:
    """Labels that the filters name and no item has, each as a sentence with what the shop calls alike.

    To let nothing through by a misspelt label, or to leave nothing out by one, is what was asked for and not what was
    meant.
    """
    named = [(catalogue.category, filters.category), (catalogue.brand, filters.brand),
             *filters.columns.items(), *filters.without.items()]
    told = []
    for name, wanted in named:
        if name is None or not wanted:
            continue
        known = catalogue.labels(name)
        for label in (label for label in wanted if fold(label) not in known.codes):
            alike = [known.values[code] for folded, code in known.codes.items() if fold(label) in folded][:MAX_ALIKE]
            told.append(f"no item has the {name} {label!r}" + (f"; there is {', '.join(alike)}" if alike else ""))
    return told


def rows_of(item_ids: tuple[str, ...], bundle: Bundle) -> npt.NDArray[np.int64]:
    """Rows of those items that the release knows."""
    return np.array([row for item_id in item_ids if (row := bundle.rows.get(item_id)) is not None], np.int64)


def _named(role: str, name: str | None) -> str:
    if name is None:
        raise DataError(f"the items of this release have no column that says their {role}")
    return name


def _between(numbers: npt.NDArray[np.float64], bounds: Range) -> Bools:
    mask: Bools = ~np.isnan(numbers)
    if bounds.min is not None:
        mask &= numbers >= bounds.min
    if bounds.max is not None:
        mask &= numbers <= bounds.max
    return mask
