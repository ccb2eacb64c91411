"""Merchandising rules, as a shop writes them down: pins, boosts, caps, a band of prices, and difference."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from pipelines.contracts import Document
from pipelines.validation import load_file

if TYPE_CHECKING:
    from serving.catalogue import Catalogue

MAX_PLACE = 200
_Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Labels = Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=256)], ...], Field(max_length=50)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Pin(Document):
    """An item that stands at a place, where it may be shown at all.

    Attributes:
        item_id: of the item.
        place: from 1.
    """

    item_id: _Id
    place: int = Field(ge=1, le=MAX_PLACE, strict=True)


class Boost(Document):
    """Items of some labels are worth more, or less.

    Attributes:
        column: categorical or multi-valued, of the items.
        labels: at least one of which the item has.
        worth: added to the score, in standard deviations of the shopper's scores over the best-sellers.
    """

    column: _Id
    labels: Annotated[_Labels, Field(min_length=1)]
    worth: _Number = Field(ge=-10, le=10)


class Cap(Document):
    """At most so many items of one label.

    Attributes:
        column: such as that of the brand or the category.
        most: items of any one label in a slate.
        labels: that this holds for; without them all of the column.
    """

    column: _Id
    most: int = Field(ge=1, le=MAX_PLACE, strict=True)
    labels: _Labels = ()


class PriceBand(Document):
    """Prices near to what the shopper looks at, as multiples of the median over the last events.

    Who has no priced event is shown everything, and so is an item without a price.
    """

    low: _Number = Field(0.25, ge=0, le=1)
    high: _Number = Field(4.0, ge=1, le=1000)


class Rules(Document):
    """What a shop asks of a slate beside its model's scores.

    Attributes:
        pins: each at its place, whatever the others say.
        boosts: all that apply to an item add up.
        caps: hold in the order of the slate; where they leave too few items, more are looked for.
        price_band: None for no bounds.
        diversity: 0 ranks by score alone, 1 by difference from what stands above alone (serving/diversity.py).
    """

    pins: Annotated[tuple[Pin, ...], Field(max_length=20)] = ()
    boosts: Annotated[tuple[Boost, ...], Field(max_length=10)] = ()
    caps: Annotated[tuple[Cap, ...], Field(max_length=5)] = ()
    price_band: PriceBand | None = None
    diversity: _Number = Field(0.0, ge=0, le=1)

    @property
    def leaves_out(self) -> bool:
        """Whether a rule may keep an item away: places are then left empty rather than filled with best-sellers."""
        return bool(self.caps) or self.price_band is not None

    def apart(self) -> Mapping[str, "Rules"]:
        """Each rule alone, by a name that people understand; pins count as one rule."""
        found: dict[str, Rules] = {}
        if self.pins:
            found[f"pins ({len(self.pins)})"] = Rules(pins=self.pins)
        for boost in self.boosts:
            found[f"boost {boost.column} {', '.join(boost.labels)} {boost.worth:+g}"] = Rules(boosts=(boost,))
        for cap in self.caps:
            of = f" {', '.join(cap.labels)}" if cap.labels else ""
            found[f"cap {cap.column}{of} {cap.most}"] = Rules(caps=(cap,))
        if self.price_band is not None:
            found[f"prices x{self.price_band.low:g} to x{self.price_band.high:g}"] = Rules(price_band=self.price_band)
        if self.diversity:
            found[f"diversity {self.diversity:g}"] = Rules(diversity=self.diversity)
        return found

    def of(self, catalogue: "Catalogue") -> "tuple[Rules, list[str]]":
        """The rules whose columns a catalogue has, and sentences on the others."""
        named = {*(rule.column for rule in self.boosts), *(rule.column for rule in self.caps)}
        strange = sorted(named - set(catalogue.label_columns))
        if not strange:
            return self, []
        kept = self.model_copy(update={
            "boosts": tuple(rule for rule in self.boosts if rule.column not in strange),
            "caps": tuple(rule for rule in self.caps if rule.column not in strange)})
        return kept, [f"the shop's rules for {', '.join(strange)} do not hold: the release has no such column"]


NO_RULES = Rules()


def load_rules(path: Path) -> Rules:
    """Read a file of rules.

    Raises:
        SettingsError: it is no JSON of rules; the message names the field.
    """
    return load_file(Rules, path, "set of rules", "docs/rules.md")
