"""Training of text search on shops whose right answers are obvious."""

import random

import numpy as np
import pytest

from models.query_encoder import FittedSearch, fit
from models.query_sampling import QuerySampler, misspelt
from pipelines.errors import DataError
from pipelines.item_texts import ItemText
from pipelines.search_settings import SearchSettings
from serving.query_text import Tokens

COLOURS = ("crimson", "emerald", "ivory", "cobalt", "amber", "violet")
KINDS = ("clutch", "scarf", "loafer", "pendant", "blazer")
BRANDS = ("Marchetti", "Bellamy")


def texts() -> list[ItemText]:
    """Every colour of every kind: one word finds many, colour and kind find one. The brand goes by the colour."""
    return [ItemText([colour, kind], [BRANDS[n % 2].lower()]) for n, colour in enumerate(COLOURS) for kind in KINDS]


@pytest.fixture(scope="module")
def behaviour() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(len(COLOURS) * len(KINDS), 5)).astype(np.float32)


SETTINGS = SearchSettings(text_dimension=32, steps=120, batch=64, corrupted=0.3)


@pytest.fixture(scope="module")
def fitted(behaviour: np.ndarray) -> FittedSearch:
    return fit(texts(), behaviour, SETTINGS)


def best(fitted: FittedSearch, behaviour: np.ndarray, text: str) -> list[int]:
    return np.argsort(-(fitted.item_vectors(behaviour) @ fitted.encoder.vector(text))).tolist()


@pytest.mark.parametrize(("items", "steps"), [
    (10, 50),  # 20 * 10 / 64 are fewer than the least
    (320, 100),  # 20 * 320 / 64
    (321, 101),  # a part of a step is a step
    (10_000, 400),  # 3,125 would be more than the most
])
def test_a_large_catalogue_takes_more_steps(items: int, steps: int) -> None:
    assert SearchSettings(steps=50, asked=20, most_steps=400, batch=64).steps_of(items) == steps


def test_training_takes_as_many_steps_as_its_catalogue(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    assert len(fitted.losses) == SETTINGS.steps
    more = SETTINGS.model_copy(update={"steps": 2, "asked": 8})  # 8 * 30 / 64
    assert len(fit(texts(), behaviour, more).losses) == 4


def test_every_product_is_the_first_answer_to_its_name(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    for row, text in enumerate(texts()):
        assert best(fitted, behaviour, " ".join(text.title))[0] == row


def test_a_word_of_another_column_finds_those_that_have_it(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    # Marchetti makes crimson, ivory and amber: three of six colours of five kinds, 15 products.
    top = best(fitted, behaviour, "Marchetti")[:15]
    assert {COLOURS[row // len(KINDS)] for row in top} == {"crimson", "ivory", "amber"}


def test_misspelt_names_still_find(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    row = COLOURS.index("emerald") * len(KINDS) + KINDS.index("pendant")
    for typed in ("emerrald pendant", "emerald pendnat", "emeral pendant"):
        assert row in best(fitted, behaviour, typed)[:3], typed


def test_the_vectors_of_recommendations_are_as_they_were(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    vectors = fitted.item_vectors(behaviour)
    assert vectors.shape == (30, 5 + 32)
    assert vectors[:, :5].tolist() == behaviour.tolist()
    user = np.concatenate([np.ones(5, np.float32), np.zeros(32, np.float32)])
    assert (vectors @ user) == pytest.approx(behaviour.sum(axis=1), rel=1e-5)


def test_the_blocks_are_of_one_length(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    ours, theirs = (np.linalg.norm(block, axis=1).mean() for block in (fitted.text_block, behaviour))
    assert ours == pytest.approx(theirs, rel=0.01)


def test_training_can_be_repeated(fitted: FittedSearch, behaviour: np.ndarray) -> None:
    again = fit(texts(), behaviour, SETTINGS)
    assert again.losses == pytest.approx(fitted.losses, rel=1e-4)
    assert again.encoder.table == pytest.approx(fitted.encoder.table, abs=1e-2)
    assert fitted.losses[-1] < fitted.losses[0] / 2


def test_a_sampled_softmax_finds_too(behaviour: np.ndarray) -> None:
    sampled = fit(texts(), behaviour, SETTINGS.model_copy(update={"candidates": 12, "batch": 8, "steps": 300}))
    right = [best(sampled, behaviour, " ".join(t.title))[0] == row for row, t in enumerate(texts())]
    assert np.mean(right) > 0.9


def test_behaviour_alone_needs_no_text_block(behaviour: np.ndarray) -> None:
    alone = fit(texts(), behaviour, SETTINGS.model_copy(update={"text_dimension": 0, "steps": 5}))
    assert alone.item_vectors(behaviour).shape == behaviour.shape
    assert alone.encoder.vector("crimson").shape == (5,)


def test_a_product_without_words_is_left_alone(behaviour: np.ndarray) -> None:
    some = [ItemText([], []), *texts()[1:]]
    found = fit(some, behaviour, SETTINGS.model_copy(update={"steps": 5}))
    assert found.text_block[0].tolist() == [0] * 32
    assert np.isfinite(found.losses).all()


def test_one_product_is_a_shop_too() -> None:
    found = fit([ItemText(["clutch"], [])], np.ones((1, 3), np.float32), SETTINGS.model_copy(update={"steps": 3}))
    assert np.isfinite(found.encoder.table).all()
    assert np.isfinite(found.text_block).all()


@pytest.mark.parametrize(("rows", "vectors", "message"), [
    (texts()[:7], np.ones((30, 5), np.float32), "texts of 7 items and vectors of 30"),
    (texts(), np.full((30, 5), np.nan, np.float32), "30 of 30 item vectors are not finite"),
    ([ItemText([], [])] * 30, np.ones((30, 5), np.float32), "none of the 30 items has a word"),
])
def test_what_cannot_be_trained_is_said(rows: list[ItemText], vectors: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(rows, vectors, SETTINGS)


def test_what_is_held_out_is_never_drawn_and_its_item_as_often_as_others() -> None:
    tokens = Tokens({w: i for i, w in enumerate((*COLOURS, *KINDS, "marchetti", "bellamy"))}, 256)

    def is_held_out(item: int, words: list[str]) -> bool:
        return item == 0 and len(words) > 1

    batch = QuerySampler(texts(), tokens, 0.0, 1, is_held_out).batch(3000)
    sizes = np.diff(batch.tokens.indptr)
    assert sizes[batch.item == 0].max() == 1
    assert sizes[batch.item == 1].max() == 3
    # 3,000 / 30 = 100, with a standard deviation below 10.
    assert 60 <= (batch.item == 0).sum() <= 140


def test_a_sampler_that_may_draw_nothing_says_so() -> None:
    with pytest.raises(DataError, match="only 0 have a query that is not held out, 3 are needed"):
        QuerySampler(texts(), Tokens({}, 256), 0.0, 1, lambda *_: True).batch(3)


def test_a_mistake_is_one_edit_or_the_beginning() -> None:
    rng = random.Random(3)
    seen = {misspelt("silk", rng) for _ in range(3000)}
    # Letters 1 and 2 (counted from 0) are missing, doubled or swapped with the next; or the word ends after three.
    # Replacing gives 2 x 25 more and the word itself.
    assert {"slk", "sik", "siilk", "sillk", "slik", "sikl", "sil", "salk", "silk"} <= seen
    assert len(seen) == 6 + 1 + 50 + 1
