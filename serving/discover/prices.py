"""Prices as shoppers speak of them."""

from collections.abc import Sequence
from typing import Literal

from pipelines.contracts import Document
from serving.discover.wording import Word, cues

Level = Literal["low", "high"]

AROUND = 0.2  # "around 500" is 400 to 600


class Asked(Document):
    """What is asked of the price.

    Attributes:
        low, high: bounds, both inclusive.
        level: towards which end, where no number was said.
        than_shown: by comparison with what was shown ("cheaper"), not with the catalogue ("cheap").
    """

    low: float | None = None
    high: float | None = None
    level: Level | None = None
    than_shown: bool = False

    def denied(self) -> "Asked":
        """The opposite: "not under 500" is 500 or more; "not around 500" says nothing to filter by."""
        if self.level is not None:
            return self.model_copy(update={"level": "high" if self.level == "low" else "low"})
        return Asked(low=self.high, high=self.low) if self.low is None or self.high is None else Asked()


_MOST = cues("under", "below", "beneath", "less than", "lower than", "cheaper than", "up to", "at most", "max",
              "maximum", "no more than", "not more than", "not over", "not above", "within", "until")
_LEAST = cues("over", "above", "more than", "higher than", "at least", "min", "minimum", "from", "starting at",
               "no less than", "not less than", "not under", "not below")
_NEAR = cues("around", "about", "roughly", "approximately", "approx", "circa", "ca", "near")
_OR_LESS = cues("or less", "or under", "or below", "or cheaper", "at most", "max", "maximum")
_OR_MORE = cues("or more", "or over", "or above", "and up", "and more", "at least", "min", "minimum")
_LEVELS: tuple[tuple[Level, bool, tuple[tuple[str, ...], ...]], ...] = (
    ("low", False, cues("cheap", "affordable", "inexpensive", "low price")),
    ("high", False, cues("expensive", "pricey", "costly")),
    ("low", True, cues("cheaper", "cheaper than", "less expensive", "less expensive than")),
    ("high", True, cues("more expensive", "more expensive than", "pricier", "pricier than", "dearer", "dearer than")),
)


def price_at(words: Sequence[Word], place: int) -> tuple[Asked | None, int]:
    """What is said of the price from a word on, and in how many words; (None, 0) where that is nothing."""
    found = [*_ranges(words, place), *_bounds(words, place), *_levels(words, place)]
    return max(found, key=lambda one: one[1], default=(None, 0))


def _ranges(words: Sequence[Word], place: int) -> list[tuple[Asked | None, int]]:
    """ "between 100 and 200", "from 100 to 200", "€100-200"."""
    lead = int(_is(words, place, ("between",)) or _is(words, place, ("from",)))
    first = _number(words, place + lead)
    link = int(_is(words, place + lead + 1, ("and",)) or _is(words, place + lead + 1, ("to",)))
    second = _number(words, place + lead + 1 + link)
    if first is None or second is None or second.is_apart:
        return []
    # Two bare numbers are a size, a year or a list: only money has a range without a word for it.
    is_range = link if lead else (first.is_money or second.is_money) and not _is(words, place + 1, ("and",))
    if not is_range:
        return []
    low, high = sorted((first.number or 0.0, second.number or 0.0))
    return [(Asked(low=low, high=high), lead + link + 2)]


def _bounds(words: Sequence[Word], place: int) -> list[tuple[Asked | None, int]]:
    """ "under 500", "500 or more", "€500"."""
    found: list[tuple[Asked | None, int]] = []
    for said, is_high, is_low in ((_MOST, True, False), (_LEAST, False, True), (_NEAR, True, True)):
        for cue in said:
            if _is(words, place, cue) and (number := _number(words, place + len(cue))) is not None:
                found.append((_asked(number, is_low, is_high), len(cue) + 1))
    number = _number(words, place)
    if number is not None:
        for said, is_high in ((_OR_LESS, True), (_OR_MORE, False)):
            found += [(_asked(number, not is_high, is_high), len(cue) + 1)
                      for cue in said if _is(words, place + 1, cue)]
        if number.is_money:
            found.append((_asked(number, True, True), 1))
    return found


def _levels(words: Sequence[Word], place: int) -> list[tuple[Asked | None, int]]:
    return [(Asked(level=level, than_shown=than_shown), len(cue))
            for level, than_shown, said in _LEVELS for cue in said if _is(words, place, cue)]


def _asked(number: Word, is_low: bool, is_high: bool) -> Asked:
    value = number.number or 0.0
    if is_low and is_high:
        return Asked(low=value * (1 - AROUND), high=value * (1 + AROUND))
    return Asked(low=value if is_low else None, high=value if is_high else None)


def _number(words: Sequence[Word], place: int) -> Word | None:
    return words[place] if place < len(words) and words[place].number is not None else None


def _is(words: Sequence[Word], place: int, cue: tuple[str, ...]) -> bool:
    return tuple(word.text for word in words[place : place + len(cue)]) == cue
