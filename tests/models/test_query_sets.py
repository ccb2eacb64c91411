"""Queries whose item is known: what they consist of, and that training never sees them."""

import random
from functools import partial

import numpy as np

from models.query_sampling import misspelt as misspell
from models.query_sets import exact, held_items, hold_out, is_held_set, misspelt, shifted
from pipelines.item_texts import ItemText

LETTERS = [chr(97 + n) * 5 for n in range(26)]  # aaaaa, bbbbb, ...
TEXTS = [ItemText(LETTERS[n % 20 : n % 20 + 5], [f"extra{n}", f"more{n}"]) for n in range(200)]
HELD = held_items([f"P-{n}" for n in range(200)])


def test_about_one_item_of_ten_and_one_set_of_five_are_held() -> None:
    # 20 of 200 with a standard deviation of 4.2; 65 of 325 pairs with 7.2. Four of them either way.
    assert 3 <= HELD.sum() <= 37
    pairs = [(a, b) for i, a in enumerate(LETTERS) for b in LETTERS[:i]]
    assert 36 <= sum(map(is_held_set, pairs)) <= 94
    assert all(is_held_set((a, b)) == is_held_set((b, a)) for a, b in pairs)
    assert not any(is_held_set((word,)) for word in LETTERS)


def test_every_query_is_held_out_of_training_and_made_from_its_item() -> None:
    is_held_out = hold_out(TEXTS, HELD)
    for queries, from_elsewhere in ((exact(TEXTS, HELD, 300, 1), 0), (shifted(TEXTS, HELD, 300, 1), 1)):
        assert len(queries) == 300
        assert len({(q.item, frozenset(q.words)) for q in queries}) == 300
        for item, words in queries:
            in_title = [w for w in words if w in TEXTS[item].title]
            assert 2 <= len(words) <= 4
            assert set(words) <= set(TEXTS[item].words)
            # A third of two, three or four words, at least one, is one.
            assert len(words) - len(in_title) == from_elsewhere
            # A held item's query with one word of the title alone may be like one that training saw.
            assert is_held_out(item, words) or (HELD[item] and len(in_title) < 2)


def test_a_small_catalogue_has_few_queries_and_an_empty_one_none() -> None:
    two = [ItemText(["red", "bag"], ["silk"])]
    assert len(exact(two, np.array([True]), 10, 1)) == 1
    assert exact([ItemText(["bag"], [])], np.array([True]), 10, 1) == []
    assert shifted([ItemText(["red", "bag"], [])], np.array([True]), 10, 1) == []


def test_mistakes_make_words_that_nobody_has() -> None:
    queries = exact(TEXTS, HELD, 100, 1)
    vocabulary = {w for t in TEXTS for w in t.words}
    typed, meant = misspelt(queries, partial(misspell, rng=random.Random(1)), vocabulary)
    assert len(typed) == len(meant) > 80
    for wrong, right in zip(typed, meant, strict=True):
        assert wrong.item == right.item
        assert len(set(wrong.words) - vocabulary) == 1
