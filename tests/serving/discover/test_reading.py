"""What is understood of a text; the catalogue is that of conftest.py."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.discover.lexicon import Lexicon
from serving.discover.prices import AROUND, Asked
from serving.discover.reading import read
from serving.discover.wording import singular, words_of
from tests.serving.discover.conftest import COLUMNS, lexicon_of

LEXICON = lexicon_of(COLUMNS)
LEATHERS = ("calf leather", "grained leather")


def labels(text: str, lexicon: Lexicon) -> list[tuple[str | None, tuple[str, ...], bool]]:
    return [(part.column, part.labels, part.is_excluded) for part in read(text, lexicon).parts]


def asked(text: str, lexicon: Lexicon) -> list[Asked]:
    return [part.price for part in read(text, lexicon).parts if part.price is not None]


def test_the_wish_of_the_manual(lexicon: Lexicon) -> None:
    text = "black evening clutch under 500, not leather"
    reading = read(text, lexicon)
    assert [(part.said, part.kind, part.column, part.is_excluded) for part in reading.parts] == [
        ("black", "label", "colour", False), ("evening clutch", "label", "category", False),
        ("under 500", "price", None, False), ("leather", "label", "materials", True)]
    assert [text[part.start : part.end] for part in reading.parts] == [part.said for part in reading.parts]
    assert reading.parts[3].labels == LEATHERS
    assert reading.parts[2].price == Asked(high=500)
    assert (reading.left, reading.unheard) == ("", ())


@pytest.mark.parametrize(("text", "column", "expected"), [
    ("EVENING  Clutches", "category", "evening clutches"), ("scarf", "category", "scarves"),
    ("creme brulee", "colour", "Crème Brûlée"), ("Cre\u0300me Bru\u0302le\u0301e", "colour", "Crème Brûlée"),
    ("dolce and gabbana", "brand", "Dolce & Gabbana"), ("DOLCE&GABBANA", "brand", "Dolce & Gabbana"),
    ("the row", "brand", "The Row"), ("max mara", "brand", "Max Mara"), ("tie", "category", "ties"),
    ("size 38", "size", "38"), ("size m", "size", "M"), ("clutch", "category", "evening clutches"),
])
def test_labels_by_case_accents_plural_and_longest_phrase(
    lexicon: Lexicon, text: str, column: str, expected: str
) -> None:
    assert labels(text, lexicon) == [(column, (expected,), False)]


@pytest.mark.parametrize("text", ["row", "mara", "38", "m", "yes", "fine", "evening", "one size fits"])
def test_words_that_several_things_share_are_no_labels(lexicon: Lexicon, text: str) -> None:
    # Part of a brand, a bare number or letter, and what one label alone begins with.
    assert labels(text, lexicon) == []


def test_a_family_is_named_by_its_head_or_by_what_several_begin_with(lexicon: Lexicon) -> None:
    assert labels("silk", lexicon) == [("materials", ("silk satin", "silk twill"), False)]
    assert labels("leather", lexicon) == [("materials", LEATHERS, False)]
    assert labels("white", lexicon) == [("colour", ("white",), False)]
    assert labels("white gold", lexicon) == [("materials", ("white gold",), False)]


def test_a_plain_word_for_a_colour_means_its_shades() -> None:
    shades = lexicon_of({"colour": ["scarlet", "burgundy", "dark red", "pearl grey", "navy", "ivory", "camel"],
                         "category": ["shoes"] * 7, "material": ["rose gold", "camel hair"] + ["silk"] * 5})
    assert labels("in red", shades) == [("colour", ("scarlet", "burgundy", "dark red"), False)]
    assert labels("no red shoes", shades) == [
        ("colour", ("scarlet", "burgundy", "dark red"), True), ("category", ("shoes",), False)]
    assert labels("gray", shades) == [("colour", ("pearl grey",), False)]
    assert labels("camel", shades) == [("colour", ("camel",), False)]  # what the shop calls so, and it alone
    assert labels("brown", shades) == labels("beige", shades) == labels("camel", shades)
    assert labels("pink", shades) == []  # rose gold is a material


def test_a_colour_that_is_a_label_is_no_family(lexicon: Lexicon) -> None:
    both = lexicon_of({"colour": ["red", "scarlet"]})
    assert labels("red", both) == [("colour", ("red",), False)]


@pytest.mark.parametrize(("text", "expected"), [
    ("no leather or suede", {"leather": True, "suede": True}),
    ("without leather and suede", {"leather": True, "suede": True}),
    ("not leather, suede", {"leather": True, "suede": False}),
    ("not leather and black", {"leather": True, "black": False}),
    ("anything but black boots", {"black": True, "boots": False}),
    ("boots except in suede", {"boots": False, "suede": True}),
    ("I don't want any leather. Black", {"leather": True, "Black": False}),
    ("suede, no black", {"suede": False, "black": True}),
])
def test_a_denial_holds_for_its_own_phrase_and_more_of_its_column(
    lexicon: Lexicon, text: str, expected: dict[str, bool]
) -> None:
    assert {part.said: part.is_excluded for part in read(text, lexicon).parts} == expected


def test_what_is_denied_and_unknown_is_told_and_not_asked_for(lexicon: Lexicon) -> None:
    reading = read("black boots, not shiny, for a wedding", lexicon)
    assert reading.left == "wedding"
    assert [one.said for one in reading.unheard] == ["not shiny"]
    assert read("not like the second", lexicon).unheard[0].said == "not like the second"


@pytest.mark.parametrize(("text", "low", "high"), [
    ("under 500", None, 500), ("below €1,290", None, 1290), ("up to 1.290 euros", None, 1290),
    ("max 12,90", None, 12.9),
    ("less than $99.50", None, 99.5), ("no more than 1.5k", None, 1500), ("over 1,290.50", 1290.5, None),
    ("at least 300", 300, None), ("from 300", 300, None), ("between 100 and 200", 100, 200),
    ("from 200 to 100", 100, 200), ("€100-200", 100, 200), ("100-200€", 100, 200), ("500 or less", None, 500),
    ("500 and up", 500, None), ("not over 500", None, 500), ("not under 500", 500, None),
    ("around 500", 500 * (1 - AROUND), 500 * (1 + AROUND)), ("£500", 400, 600),
    ("not below 300 not above 400", 300, 400),
])
def test_prices(lexicon: Lexicon, text: str, low: float | None, high: float | None) -> None:
    found = asked(f"boots {text}", lexicon)
    lows, highs = [one.low for one in found if one.low is not None], [one.high for one in found if one.high is not None]
    assert lows == ([] if low is None else [pytest.approx(low)])
    assert highs == ([] if high is None else [pytest.approx(high)])
    assert read(f"boots {text}", lexicon).left == ""


@pytest.mark.parametrize(("text", "level", "than_shown", "place"), [
    ("cheap", "low", False, None), ("not too expensive", "low", False, None), ("cheaper", "low", True, None),
    ("less expensive", "low", True, None), ("something pricier", "high", True, None),
    ("cheaper than the second one", "low", True, 1), ("more expensive than the last", "high", True, -1),
])
def test_prices_without_a_number(
    lexicon: Lexicon, text: str, level: str, than_shown: bool, place: int | None
) -> None:
    part, = read(text, lexicon).parts
    assert part.price == Asked(level=level, than_shown=than_shown)
    assert part.place == place


@pytest.mark.parametrize("text", ["boots 38", "two boots", "10 20", "year 2024", "no 5"])
def test_a_bare_number_is_no_price(lexicon: Lexicon, text: str) -> None:
    assert asked(text, lexicon) == []


@pytest.mark.parametrize(("text", "kind", "column", "place", "is_excluded"), [
    ("more like the second", "like", None, 1, False), ("like this", "like", None, None, False),
    ("similar to the last one", "like", None, -1, False), ("the 3rd one", "like", None, 2, False),
    ("not this brand", "same_as", "brand", None, True), ("another designer", "same_as", "brand", None, True),
    ("same color as the first", "same_as", "colour", 0, False), ("any material", "any", "materials", None, False),
    ("any price", "any", None, None, False),
])
def test_references(
    lexicon: Lexicon, text: str, kind: str, column: str | None, place: int | None, is_excluded: bool
) -> None:
    part, = read(text, lexicon).parts
    assert (part.kind, part.column, part.place, part.is_excluded) == (kind, column, place, is_excluded)


def test_plural_and_singular_have_one_key() -> None:
    for one, many in (("clutch", "clutches"), ("scarf", "scarves"), ("glove", "gloves"), ("dress", "dresses"),
                      ("boot", "boots"), ("accessory", "accessories"), ("movie", "movies"), ("tie", "ties"),
                      ("box", "boxes"), ("shoe", "shoes"), ("watch", "watches"), ("purse", "purses")):
        assert singular(one) == singular(many), (one, many)
    assert singular("bus") == "bus" and singular("glass") == "glass"


SAID = re.findall(r"\S+", """
    black not leather or suede under 500 €9 , . the second one like this brand cheaper than between and any price M 38
    evening clutch cheap size""")


@given(st.text(max_size=80) | st.lists(st.sampled_from(SAID), max_size=14).map(" ".join))
@example("9" * 400)
@example("ﷺ½²\u0301")
def test_any_text_is_read_and_each_part_is_where_it_says(text: str) -> None:
    reading = read(text, LEXICON)
    ends = 0
    for part in sorted(reading.parts, key=lambda part: part.start):
        assert text[part.start : part.end] == part.said
        assert part.start >= ends or part.is_excluded  # a denied word may stand for labels of several columns
        ends = part.end
    for word in words_of(text):
        assert 0 <= word.start < word.end <= len(text)
