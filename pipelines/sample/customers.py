"""The customers of the sample shop and what they like: a segment's taste and a part of their own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.sample.catalogue import (
    CATEGORY_NAMES,
    COLOUR_NAMES,
    DESIGNER_NAMES,
    MATERIAL_NAMES,
    OCCASION_NAMES,
    STYLE_NAMES,
    Catalogue,
)
from pipelines.sample.words import CATEGORIES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """Share of the customers, the price tier they look for, and what they lean to."""

    share: float
    tier: float
    categories: tuple[str, ...]
    styles: tuple[str, ...]
    occasions: tuple[str, ...]


SEGMENTS = {
    "classicist": Segment(0.16, 1.4, ("handbags", "outerwear", "scarves"), ("heritage", "minimalist"),
                          ("country", "office")),
    "trendsetter": Segment(0.14, 1.0, ("shoes", "sunglasses", "handbags"), ("architectural", "sporty"),
                           ("city weekend", "cocktail")),
    "collector": Segment(0.08, 2.8, ("watches", "jewellery", "handbags"), ("opulent", "heritage"), ("gift", "gala")),
    "gifter": Segment(0.14, 0.8, ("scarves", "jewellery", "belts"), ("romantic", "heritage"), ("gift", "date night")),
    "jet-setter": Segment(0.12, 2.0, ("swimwear", "sunglasses", "dresses"), ("bohemian", "sporty"),
                          ("seaside", "travel", "alpine")),
    "professional": Segment(0.16, 1.2, ("tailoring", "handbags", "watches"), ("minimalist", "architectural"),
                            ("office", "travel")),
    "aspirant": Segment(0.12, 0.2, ("belts", "sunglasses", "knitwear"), ("vintage", "bohemian"),
                        ("city weekend", "date night")),
    "socialite": Segment(0.08, 2.4, ("dresses", "evening clutches", "shoes"), ("opulent", "romantic"),
                         ("gala", "wedding", "garden party")),
}
COUNTRIES = ("FR", "IT", "GB", "DE", "CH", "US", "JP", "KR", "CN", "AE")
CHANNELS = ("online", "store", "both")
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")

# Facet -> (values, how far segments differ by chance, how far one customer differs from the segment).
FACETS = {
    "category": (len(CATEGORY_NAMES), 0.3, 0.6),
    "designer": (len(DESIGNER_NAMES), 1.1, 0.7),
    "material": (len(MATERIAL_NAMES), 0.4, 0.3),
    "colour": (len(COLOUR_NAMES), 0.7, 0.5),
    "style": (len(STYLE_NAMES), 0.3, 0.5),
}
FAVOURED = 1.3  # logits for a segment's favoured categories and styles
COUNTRY_DESIGNERS = 0.5  # how far countries differ in their taste for designers


@dataclass(frozen=True)
class Customers:
    """Customers with known and latent features; arrays are [customers] unless said otherwise."""

    segment: Ints
    country: Ints
    age_band: Ints
    channel: Ints
    activity: Floats  # relative number of sessions: a power law
    arrives: Floats  # share of the log's time that had passed when they first could come
    known: dict[str, Floats]  # facet -> [customers, values] logits of segment and country
    own: dict[str, Floats]  # facet -> [customers, values] logits of the person alone
    tier: Floats  # [customers, 2] price tier looked for: segment's, person's own
    occasions: Floats  # [customers, occasions, 2] logits of session themes: segment's, person's own

    def __len__(self) -> int:
        return len(self.segment)

    def taste(self, user: int, catalogue: Catalogue, is_own: bool = True) -> Floats:
        """Logits [products] of what `user` likes; without `is_own`, of their segment and country only."""
        total = np.zeros(len(catalogue))
        for facet in FACETS:
            logits = self.known[facet][user] + (self.own[facet][user] if is_own else 0.0)
            total += logits[getattr(catalogue, facet)]
        wanted = self.tier[user, 1 if is_own else 0]
        return np.asarray(total - 0.6 * (catalogue.tier - wanted) ** 2)


def make_customers(rng: np.random.Generator, customers: int) -> Customers:
    """Draw customers; two in five knew the shop before the log begins, the others come while it runs."""
    segments = list(SEGMENTS.values())
    segment = rng.choice(len(segments), customers, p=[s.share for s in segments])
    country = rng.choice(len(COUNTRIES), customers, p=[0.2, 0.13, 0.13, 0.12, 0.07, 0.15, 0.07, 0.05, 0.05, 0.03])
    of_segment = {facet: rng.normal(0, spread, (len(segments), n)) for facet, (n, spread, _) in FACETS.items()}
    theme = rng.normal(0, 0.3, (len(segments), len(OCCASION_NAMES)))
    for row, s in enumerate(segments):
        of_segment["category"][row, [CATEGORY_NAMES.index(c) for c in s.categories]] += FAVOURED
        of_segment["style"][row, [STYLE_NAMES.index(c) for c in s.styles]] += FAVOURED
        theme[row, [OCCASION_NAMES.index(o) for o in s.occasions]] += FAVOURED
    known = {facet: logits[segment] for facet, logits in of_segment.items()}
    known["designer"] = known["designer"] + rng.normal(0, COUNTRY_DESIGNERS, (len(COUNTRIES), len(DESIGNER_NAMES)))[
        country]
    own = {facet: rng.normal(0, spread, (customers, n)) for facet, (n, _, spread) in FACETS.items()}
    wanted = np.array([s.tier for s in segments])[segment]
    themes = np.stack([theme[segment], rng.normal(0, 0.5, (customers, len(OCCASION_NAMES)))], axis=-1)
    themes[..., 1] += themes[..., 0]
    return Customers(
        segment=segment,
        country=country,
        age_band=np.clip(np.round(rng.normal(2.0, 1.2, customers)), 0, len(AGE_BANDS) - 1).astype(np.int64),
        channel=rng.choice(len(CHANNELS), customers, p=[0.55, 0.12, 0.33]),
        activity=np.minimum(rng.pareto(1.6, customers), 20.0) + 0.15,
        arrives=np.where(rng.random(customers) < 0.4, 0.0, rng.random(customers)),
        known=known,
        own=own,
        tier=np.stack([wanted, wanted + rng.normal(0, 0.4, customers)], axis=-1),
        occasions=themes,
    )


def category_warmth() -> Floats:
    """Pull [categories] of warm weather, in logits at midsummer."""
    return np.array([c.warmth for c in CATEGORIES.values()])
