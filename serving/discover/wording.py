"""Words of a wish with their places: case, accents and plurals folded, numbers read as people write them."""

import re
from dataclasses import dataclass

from serving.query_text import split_words

# A number as a price is written (1,290.50, 1.290, 500, 1.5k), or a word, with the marks of its letters.
_TOKEN = re.compile(
    r"(?P<sign>[€$£¥]\s?)?(?P<number>[0-9]{1,3}(?:[.,'’][0-9]{3}){1,2}(?:[.,][0-9]{1,2})?|[0-9]{1,9}(?:[.,][0-9]{1,2})?)"
    r"(?P<kilo>k)?(?![^\W_])(?P<after>\s?[€$£¥])?"
    r"|[^\W_](?:[^\W_]|[\u0300-\u036f])*", re.IGNORECASE)
_CURRENCIES = frozenset({"eur", "euro", "usd", "dollar", "gbp", "pound", "chf", "franc", "yen", "jpy"})
_SHORTEST_PLURAL = 4  # "gas" and "bus" are no plurals


@dataclass(frozen=True)
class Word:
    """A word or number of a text.

    Attributes:
        text: folded and singular.
        start, end: its place in the text as it was typed.
        number: its value, where it is a number.
        is_money: a number with a currency beside it.
        is_apart: a comma or the end of a sentence stands before it.
    """

    text: str
    start: int
    end: int
    number: float | None = None
    is_money: bool = False
    is_apart: bool = False


def words_of(text: str) -> list[Word]:
    """The words of a text, in order."""
    found: list[Word] = []
    last = 0
    for match in _TOKEN.finditer(text):
        is_apart = bool(re.search(r"[,.;!?\n]", text[last : match.start()]))
        last = match.end()
        if match["number"]:
            value = _value(match["number"]) * (1000 if match["kilo"] else 1)
            found.append(Word(match["number"], match.start(), last, value, bool(match["sign"] or match["after"]),
                              is_apart))
            continue
        for word in split_words(match[0]):  # one, but for signs that stand for several letters and a space
            if word in _CURRENCIES | {f"{name}s" for name in _CURRENCIES} and found and found[-1].number is not None:
                before = found.pop()
                found.append(Word(before.text, before.start, last, before.number, True, before.is_apart))
            else:
                found.append(Word(singular(word), match.start(), last, is_apart=is_apart))
    return found


def phrase_of(label: str) -> tuple[str, ...]:
    """A label as words of a wish: "Dolce & Gabbana" and "dolce and gabbana" are the same."""
    return tuple(word for part in split_words(label) if (word := singular(part)) != "and")


def cues(*texts: str) -> tuple[tuple[str, ...], ...]:
    """Phrases that a parser looks for, in the form that `words_of` gives words."""
    return tuple(tuple(singular(word) for word in text.split()) for text in texts)


def singular(word: str) -> str:
    """A key that singular and plural of an English word share; of other words, a word like itself."""
    if len(word) < _SHORTEST_PLURAL or word.isdigit():
        return word
    if word.endswith("ies") and len(word) > _SHORTEST_PLURAL:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    # scarves and scarf, gloves and glove, movies and movie
    if word.endswith("ve"):
        return word[:-2] + "f"
    if word.endswith("fe"):
        return word[:-1]
    return word[:-2] + "y" if word.endswith("ie") and len(word) > _SHORTEST_PLURAL else word


def _value(text: str) -> float:
    """1,290 and 1.290 are thousands, 12.90 and 12,90 are not: what stands behind the last sign decides."""
    parts = re.split(r"[.,'’]", text)
    if len(parts) > 1 and len(parts[-1]) <= 2:
        return float("".join(parts[:-1]) + "." + parts[-1])
    return float("".join(parts))
