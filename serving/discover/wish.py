"""What a shopper asks for at one moment of a conversation, and which items that lets through."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from pipelines.contracts import Document
from serving.catalogue import Bools, Catalogue


class Wish(Document):
    """Conditions, and what to rank by.

    Attributes:
        text: words for the text search.
        wanted: item column -> labels, at least one of which the item has.
        unwanted: item column -> labels, none of which it has.
        low, high: bounds of the price, both inclusive; an item without a price is outside.
        like: an item to be like.
    """

    text: str = ""
    wanted: Mapping[str, tuple[str, ...]] = {}
    unwanted: Mapping[str, tuple[str, ...]] = {}
    low: float | None = None
    high: float | None = None
    like: str | None = None


class Relaxed(Document):
    """A condition that was given up or widened, because nothing met all of them.

    Attributes:
        column: of the items.
        labels: that were asked for, for a column of labels.
        low, high: the bounds that were asked for, for the price.
        now_low, now_high: the bounds that hold instead.
    """

    column: str
    labels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    now_low: float | None = None
    now_high: float | None = None


def met(wish: Wish, catalogue: Catalogue, base: Bools, k: int) -> tuple[Bools, tuple[Relaxed, ...]]:
    """Mask [items] of what meets a wish, and what had to be given up so that something does.

    What is not wanted is never given up, nor is `base`. Of the rest, the first single condition goes whose loss leaves
    something: the price (which is widened to what lies nearest), then columns, brand and category last. Where none is
    enough by itself they go one after another.

    Args:
        wish: its columns are all of the catalogue.
        catalogue: of the release.
        base: mask [items] of what may be shown at all.
        k: items to answer with.
    """
    allowed = base.copy()
    for column, labels in wish.unwanted.items():
        allowed &= ~catalogue.labels(column).having(labels)
    conditions = dict(_conditions(wish, catalogue))
    mask = _and(allowed, conditions.values())
    if mask.any() or not allowed.any():
        return mask, ()
    order = list(conditions)
    single = next((name for name in order
                   if _and(allowed, (one for other, one in conditions.items() if other != name)).any()), None)
    gone = [single] if single is not None else []
    while single is None and not _and(allowed, (conditions[name] for name in order[len(gone) :])).any():
        gone = order[: len(gone) + 1]
    mask = _and(allowed, (one for name, one in conditions.items() if name not in gone))
    told = []
    for name in gone:
        if name == catalogue.price:
            mask, relaxed = _nearest(wish, catalogue.numbers(name), mask, k)
            told.append(relaxed.model_copy(update={"column": name}))
        else:
            told.append(Relaxed(column=name, labels=wish.wanted[name]))
    return mask, tuple(told)


def _conditions(wish: Wish, catalogue: Catalogue) -> Iterator[tuple[str, Bools]]:
    """Column and mask of each condition, the one that is given up first before the others."""
    if catalogue.price is not None and (wish.low is not None or wish.high is not None):
        price = catalogue.numbers(catalogue.price)
        yield catalogue.price, _outside(wish, price) == 0
    last = [name for name in (catalogue.brand, catalogue.category) if name is not None]
    for name in [*(name for name in wish.wanted if name not in last), *(name for name in last if name in wish.wanted)]:
        yield name, catalogue.labels(name).having(wish.wanted[name])


def _outside(wish: Wish, price: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each price [items] lies outside the bounds; infinite where there is none."""
    low, high = wish.low if wish.low is not None else -np.inf, wish.high if wish.high is not None else np.inf
    far = np.maximum(np.maximum(low - price, price - high), 0.0)
    return np.where(np.isnan(price), np.inf, far)


def _nearest(
    wish: Wish, price: npt.NDArray[np.float64], mask: Bools, k: int
) -> tuple[Bools, Relaxed]:
    """The k items of `mask` whose price lies nearest to the bounds; without a price among them, all of it."""
    far = _outside(wish, price)
    known = np.sort(far[mask & np.isfinite(far)])[:k]
    asked = Relaxed(column="", low=wish.low, high=wish.high)
    if not len(known):
        return mask, asked
    near = mask & (far <= known[-1])
    return near, asked.model_copy(update={"now_low": float(price[near].min()), "now_high": float(price[near].max())})


def _and(allowed: Bools, masks: Iterable[Bools]) -> Bools:
    result = allowed
    for mask in masks:
        result = result & mask
    return result
