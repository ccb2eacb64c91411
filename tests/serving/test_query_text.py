"""How queries and products are cut into words and n-grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.query_text import GRAM_SIZES, Tokens, bucket, grams, split_words


@pytest.mark.parametrize(("text", "words"), [
    ("Red evening CLUTCH", ["red", "evening", "clutch"]),
    ("Côtes-du-Rhône, 75cl", ["cotes", "du", "rhone", "75cl"]),
    ("AB-1234_x", ["ab", "1234", "x"]),
    ("Straße", ["strasse"]),
    ("ﬁne", ["fine"]),  # one letter, the ligature of f and i
    ("𝑨RT", ["art"]),  # a mathematical italic A, whose plain form is a capital
    ("007", ["007"]),
    ("красная сумка", ["красная", "сумка"]),
    (" -- !? ", []),
    ("", []),
])
def test_words_are_runs_of_letters_and_digits_without_case_and_accents(text: str, words: list[str]) -> None:
    # й is и with a breve, which folding takes away like any accent.
    assert split_words(text) == [w.replace("й", "и") for w in words]


@given(st.text())
def test_cutting_what_was_cut_changes_nothing(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words


def test_grams_of_three_to_five_letters_know_where_a_word_begins_and_ends() -> None:
    assert grams("bag") == ["<ba", "bag", "ag>", "<bag", "bag>", "<bag>"]
    assert grams("a") == ["<a>"]


@given(st.text(alphabet="abcdefgh", min_size=1, max_size=20))
def test_a_word_has_a_gram_for_each_place_and_size(word: str) -> None:
    marked = len(word) + 2
    assert len(grams(word)) == sum(max(marked - size + 1, 0) for size in GRAM_SIZES)


def test_buckets_are_those_of_crc32() -> None:
    # The check value of CRC-32 (ISO-HDLC) is CBF43926 for "123456789".
    assert bucket("123456789", 2**32) == 0xCBF43926
    assert bucket("123456789", 256) == 0x26


def test_known_words_are_a_row_each_and_others_their_grams() -> None:
    tokens = Tokens({"red": 0, "bag": 1}, gram_buckets=256)
    rows, weights = tokens.of_query(["bag", "bat", "red"])
    assert (rows[0], rows[-1]) == (1, 0)
    assert rows[1:-1] == [2 + bucket(g, 256) for g in ("<ba", "bat", "at>", "<bat", "bat>", "<bat>")]
    assert weights == pytest.approx([1, *[6**-0.5] * 6, 1])
    assert tokens.of_query(["bag"], by_grams={0})[0] == tokens.gram_rows("bag")
