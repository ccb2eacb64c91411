"""The products of the sample shop: features, prices, arrival and texts."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from pipelines.sample.words import (
    CATEGORIES,
    COLLECTIONS,
    COLOURS,
    DESIGNERS,
    MATERIALS,
    NAMES,
    OCCASIONS,
    STYLES,
    TIERS,
)

Ints = npt.NDArray[np.int64]
DAY = 86_400_000_000  # microseconds
ENDS = int(datetime(2026, 6, 28, tzinfo=UTC).timestamp()) * 1_000_000
NEW_SHARE = 0.2  # of the products that arrive while the log runs

CATEGORY_NAMES, STYLE_NAMES, OCCASION_NAMES = tuple(CATEGORIES), tuple(STYLES), tuple(OCCASIONS)
DESIGNER_NAMES, MATERIAL_NAMES, COLOUR_NAMES = tuple(DESIGNERS), tuple(MATERIALS), tuple(COLOURS)
COLLECTION_NAMES = tuple(COLLECTIONS)


@dataclass(frozen=True)
class Catalogue:
    """Products as indices into the word lists; all arrays are [products] unless said otherwise."""

    category: Ints
    designer: Ints
    material: Ints
    colour: Ints
    tier: Ints
    collection: Ints
    style: Ints  # hidden: told by the description only
    occasions: Ints  # [products, 2] main and second occasion, hidden likewise
    noun: Ints  # which of the category's nouns
    price: npt.NDArray[np.float64]  # EUR
    available_from: Ints  # microseconds since 1970, UTC
    title: list[str]
    description: list[str]

    def __len__(self) -> int:
        return len(self.category)

    def item_id(self, row: int) -> str:
        """The id that the tables hold, for example P-00042."""
        return f"P-{row:05d}"


def make_catalogue(rng: np.random.Generator, products: int, weeks: int) -> Catalogue:
    """Draw the products; a fifth of them arrive at 09:00 of a day within the `weeks` before `ENDS`."""
    category = rng.integers(len(CATEGORIES), size=products)
    designer = rng.integers(len(DESIGNERS), size=products)
    house = [DESIGNERS[DESIGNER_NAMES[d]] for d in designer]
    tier = np.clip(np.array([tier for tier, _ in house]) + rng.choice([-1, 0, 1], products, p=[0.2, 0.6, 0.2]), 0,
                   len(TIERS) - 1)
    own = rng.choice(2, products, p=[0.6, 0.4])
    style = np.array([STYLE_NAMES.index(styles[n]) for (_, styles), n in zip(house, own, strict=True)])
    is_stray = rng.random(products) < 0.15
    style = np.where(is_stray, rng.integers(len(STYLES), size=products), style)
    arrives = _arrivals(rng, products, weeks)
    collection = _collections(rng, arrives, ENDS - weeks * 7 * DAY)
    groups = [CATEGORIES[CATEGORY_NAMES[c]] for c in category]
    material = np.array([MATERIAL_NAMES.index(g.materials[rng.integers(len(g.materials))]) for g in groups])
    noun = np.array([rng.integers(len(g.nouns)) for g in groups])
    factor = np.exp(0.55 * (tier - 1) + rng.normal(0, 0.2, products))
    price = np.maximum(np.round(np.array([g.price for g in groups]) * factor / 10) * 10, 50.0)
    colour = rng.integers(len(COLOURS), size=products)
    occasions = np.array([_occasions(rng, CATEGORY_NAMES[c]) for c in category])
    title = [_title(rng, groups[i].nouns[noun[i]][0], MATERIAL_NAMES[material[i]], COLOUR_NAMES[colour[i]])
             for i in range(products)]
    description = [
        _description(rng, category=CATEGORY_NAMES[category[i]], noun=int(noun[i]), designer=DESIGNER_NAMES[designer[i]],
                     material=MATERIAL_NAMES[material[i]], colour=COLOUR_NAMES[colour[i]],
                     style=STYLE_NAMES[style[i]], occasions=[OCCASION_NAMES[o] for o in occasions[i]])
        for i in range(products)
    ]
    return Catalogue(category, designer, material, colour, tier, collection, style, occasions, noun, price, arrives,
                     title, description)


def _arrivals(rng: np.random.Generator, products: int, weeks: int) -> Ints:
    days_before = rng.integers(30, 700, products) + weeks * 7
    is_new = np.zeros(products, bool)
    is_new[rng.permutation(products)[: round(NEW_SHARE * products)]] = True
    days_before[is_new] = rng.integers(2, weeks * 7, int(is_new.sum()))
    return ENDS - days_before * DAY + 9 * 3_600_000_000


def _collections(rng: np.random.Generator, arrives: Ints, starts: int) -> Ints:
    """Old products belong to an earlier collection, new ones to that which the house was delivering."""
    old = rng.choice(len(COLLECTIONS), len(arrives), p=[0.3, 0.1, 0.35, 0.1, 0.15, 0.0])
    turns = [int(datetime(2026, month, day, tzinfo=UTC).timestamp()) * 1_000_000 for month, day in ((1, 25), (5, 5))]
    delivering = COLLECTION_NAMES.index("Resort 2026") + np.searchsorted(turns, arrives)
    return np.where(arrives < starts, old, delivering)


def _occasions(rng: np.random.Generator, category: str) -> tuple[int, int]:
    """Main and second occasion, nearly always such as the category is made for."""
    fits = np.array([1.0 if category in o.categories else 0.01 for o in OCCASIONS.values()])
    main, second = rng.choice(len(OCCASIONS), 2, replace=False, p=fits / fits.sum())
    return int(main), int(second)


def _title(rng: np.random.Generator, noun: str, material: str, colour: str) -> str:
    # "rose gold pendant" says enough; a scarf or a bag wants its colour.
    shade = "" if "gold" in material else f"{colour} "
    return f"{NAMES[rng.integers(len(NAMES))]} {shade}{material} {noun}"


def _article(words: str) -> str:
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _description(rng: np.random.Generator, *, category: str, noun: int, designer: str, material: str, colour: str,
                 style: str, occasions: list[str]) -> str:
    """Two or three sentences that tell style, material and occasions in changing words."""

    def pick(choices: tuple[str, ...]) -> str:
        return choices[rng.integers(len(choices))]

    group = CATEGORIES[category]
    name, is_plural = group.nouns[noun]
    adjectives, manners = STYLES[style]
    cloth, adjective, manner = pick(MATERIALS[material]), pick(adjectives), pick(manners)
    whole = f"{adjective} {name}"
    piece = _article(f"{adjective} pair of {name}") if is_plural and name != "trousers" else (
        whole if is_plural else _article(whole))
    this, it, comes, belongs, suits = (
        ("these", "they", "come", "belong", "suit") if is_plural else ("this", "it", "comes", "belongs", "suits"))
    one = pick((
        f"{_capital(piece)} in {cloth}, with {manner}.",
        f"{designer} makes {this} {whole} in {cloth}, with {manner}.",
        f"In {cloth}, {this} {adjective} {name} {comes} with {manner}.",
        f"{designer} shows what {cloth} can do: {piece} with {manner}.",
    ))
    main, second = (pick(OCCASIONS[o].phrases) for o in occasions)
    two = pick((
        f"Made for {main}.", f"{_capital(it)} {'were' if is_plural else 'was'} designed with {main} in mind.",
        f"Think of {main}.", f"We would keep {'them' if is_plural else 'it'} for {main}.", f"The setting: {main}.",
    ))
    three = pick((
        f"In {colour}, {it} also {suits} {second}.", f"{_capital(it)} {belongs} just as well to {second}.",
        pick(group.details),
    ))
    return f"{one} {two} {three}"
