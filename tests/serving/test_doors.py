"""Every kind of question to the arithmetic shop, by hand (tests/release_world.py, tests/door_world.py)."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts import write_json
from pipelines.errors import BundleRefused, DataError, Unanswerable
from serving.bundle import Bundle
from serving.doors import DOORS, Door, Doors
from serving.encoding import History
from serving.recommender import Recommendation, Recommender, basket_history
from tests.door_world import encoder, photograph
from tests.release_world import NO_TOKENS, NOW_US, history_of, item_arrays
from tests.serving.conftest import make_bundle, seal_bundle

REDS = list(range(0, 40, 4))


@pytest.fixture
def recommender(searchable_folder: Path) -> Recommender:
    return Recommender(Bundle.load(searchable_folder))


def rows(found: list[Recommendation]) -> list[int]:
    return [answer.row for answer in found]


def test_words_find_their_products_by_hand(recommender: Recommender) -> None:
    assert rows(recommender.search("red", 10)) == REDS
    found = recommender.search("Red N08", 3)
    assert rows(found) == [8, 0, 4]
    assert [answer.score for answer in found] == pytest.approx([2 + 0.5**0.5, 2, 2], abs=1e-6)
    assert rows(recommender.search("n13", 1)) == [13]
    # Words of no product are read by their n-grams, which ask for white here.
    assert rows(recommender.search("whyte", 3)) == [3, 7, 11]


def test_a_photograph_finds_pictures_like_it_by_hand(recommender: Recommender) -> None:
    found = recommender.search_image(photograph("red"), 7)
    # Five of the 20 products with a picture are red; white ones come next, with 255 / sqrt(3).
    assert rows(found) == [0, 4, 8, 12, 16, 3, 7]
    assert [answer.score for answer in found] == pytest.approx([255] * 5 + [255 / 3**0.5] * 2, abs=1e-2)
    # What has no picture is not found by one, however many are asked for.
    assert sorted(rows(recommender.search_image(photograph("blue"), 99))) == list(range(20))


def test_a_basket_gets_what_follows_it_and_nothing_twice(recommender: Recommender) -> None:
    # Items 0, 4 and 1: twice group 0, once group 1. Score 2 * 2 + (40 - i) / 1000 in group 0, 2 + ... in group 1.
    found = recommender.basket([0, 4, 1], 10)
    assert rows(found) == [8, 12, 16, 20, 24, 28, 32, 36, 5, 9]
    assert [answer.score for answer in found[:2]] == pytest.approx([4.032, 4.028], abs=1e-5)
    # It is a shopper of whom nothing is known but this one visit.
    visit = History(np.array([0, 4, 1], np.int32), np.full(3, NOW_US), np.zeros(3, np.int16), np.ones(3, np.float32))
    assert recommender.recommend(visit, NOW_US, NO_TOKENS, 10) == found
    for wrong, message in (([], "basket is empty"), ([40], "item row 40"), ([-1], "item row -1")):
        with pytest.raises(DataError, match=message):
            recommender.basket(wrong, 3)


@pytest.mark.parametrize(("weights", "kind", "weight"), [
    ({"cart": 2.0, "purchase": 1.0, "view": 0.5}, 1, 1.0),  # where the log has purchases, a basket is bought
    ({"cart": 2.0, "view": 0.5}, 0, 2.0),
    ({"cart": 0.5, "purchase": 0.0, "view": 3.0}, 2, 3.0),  # purchases that count for nothing tell nothing
])
def test_a_basket_is_a_visit_of_the_kind_that_weighs(weights: dict[str, float], kind: int, weight: float) -> None:
    history = basket_history([7, 9], {"event_types": sorted(weights), "event_weights": weights})
    assert (history.item.tolist(), history.type.tolist(), history.weight.tolist()) == ([7, 9], [kind] * 2, [weight] * 2)
    assert history.time.tolist() == [0, 0]


def test_every_answer_leaves_out_what_is_buried_or_unavailable(searchable_folder: Path) -> None:
    (searchable_folder / "tombstones.json").write_text('["i00", "i08"]')
    recommender = Recommender(Bundle.load(seal_bundle(searchable_folder)))
    out = np.array([4, 16])
    assert rows(recommender.search("red", 3, out)) == [12, 20, 24]
    assert rows(recommender.search_image(photograph("red"), 2, out)) == [12, 3]
    assert rows(recommender.similar(20, 3, out)) == [12, 24, 28]
    assert rows(recommender.basket([20], 3, out)) == [12, 24, 28]
    assert rows(recommender.recommend(history_of(0), NOW_US, NO_TOKENS, 3, unavailable=out)) == [12, 20, 24]
    # Nor do best-sellers fill up with it.
    everything = recommender.recommend(history_of(0), NOW_US, NO_TOKENS, 99, unavailable=out)
    assert sorted(rows(everything)) == sorted(set(range(40)) - {0, 8, 4, 16})


def test_shoppers_are_answered_as_without_any_search(searchable_folder: Path, tmp_path: Path) -> None:
    plain = Recommender(Bundle.load(make_bundle(tmp_path / "plain")))
    more = Recommender(Bundle.load(searchable_folder))
    for user in range(4):
        assert more.recommend(history_of(user), NOW_US, NO_TOKENS, 9) == plain.recommend(
            history_of(user), NOW_US, NO_TOKENS, 9)
    assert more.retriever.items.shape == (40, 5)


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=30), k=st.integers(1, 45))
def test_any_text_is_answered_by_the_space_s_own_products_or_refused(bundle: Recommender, text: str, k: int) -> None:
    vector = encoder().vector(text)
    if not vector.any():
        with pytest.raises(DataError, match="asks for nothing"):
            bundle.search(text, k)
        return
    assert bundle.bundle.text is not None
    space = np.concatenate([item_arrays()[0], bundle.bundle.text.vectors], axis=1)
    found = bundle.search(text, k)
    assert len(set(rows(found))) == len(found) == min(k, 40)
    expected = np.sort(space @ vector)[::-1][:k]
    assert [answer.score for answer in found] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return Recommender(Bundle.load(make_bundle(tmp_path_factory.mktemp("doors"), doors=True)))


def test_a_text_that_asks_for_nothing_and_bytes_that_show_nothing_are_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match=r"'\?!' asks for nothing"):
        recommender.search("?!", 3)
    with pytest.raises(DataError, match="no readable image"):
        recommender.search_image(b"nothing of the kind", 3)
    with pytest.raises(DataError, match="k is 0"):
        recommender.search("red", 0)


def test_a_shop_without_texts_or_pictures_says_what_it_lacks(bundle_folder: Path) -> None:
    write_json(bundle_folder / DOORS, Doors(search=Door(closed="no product has a word"),
                                            pictures=Door(closed="no product has a picture")))
    recommender = Recommender(Bundle.load(seal_bundle(bundle_folder)))
    with pytest.raises(Unanswerable, match=r"cannot be searched by words: no product has a word"):
        recommender.search("red", 3)
    with pytest.raises(Unanswerable, match=r"cannot be searched by a picture: no product has a picture"):
        recommender.search_image(photograph("red"), 3)
    assert rows(recommender.similar(3, 2)) == [7, 11]


def test_a_bundle_from_before_there_was_search_says_so(bundle_folder: Path) -> None:
    recommender = Recommender(Bundle.load(bundle_folder))
    with pytest.raises(Unanswerable, match="trained before there was such a search; retrain"):
        recommender.search("red", 3)


ARRAYS = {
    "item_text.npy": (lambda a: a[:-1], r"item_text\.npy is float32 \[39, 40\] where float32 \[40, any\]"),
    "item_words.npy": (lambda a: a[:-1], r"item_words\.npy \[43, 40\] where query\.json asks for 300 and 44 rows"),
    "query_table.npy": (lambda a: a[:, 1:], "gives 44 columns where items have 5 and 40 of text"),
    "picture_rows.npy": (lambda a: a[::-1].copy(), "rows of the 40 items once each"),
    "picture_vectors.npy": (lambda a: a[:-1], r"int64 \[19\]"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_parts_that_do_not_fit_the_catalogue_are_refused(searchable_folder: Path, name: str) -> None:
    change, fault = ARRAYS[name]
    np.save(searchable_folder / name, change(np.load(searchable_folder / name)))
    with pytest.raises(BundleRefused, match=fault):
        Bundle.load(seal_bundle(searchable_folder))


def test_pictures_of_items_that_there_are_not_are_refused(searchable_folder: Path) -> None:
    np.save(searchable_folder / "picture_rows.npy", np.arange(21, 41))
    with pytest.raises(BundleRefused, match="rows of the 40 items once each"):
        Bundle.load(seal_bundle(searchable_folder))


def test_an_image_encoder_of_another_training_is_refused(searchable_folder: Path) -> None:
    vectors = np.load(searchable_folder / "picture_vectors.npy")
    np.save(searchable_folder / "picture_vectors.npy", vectors[:, :2])
    with pytest.raises(BundleRefused, match="gives 3 columns where its products' pictures have 2"):
        Recommender(Bundle.load(seal_bundle(searchable_folder)))


@pytest.mark.parametrize("name", ["query.json", "query_table.npy", "item_words.npy", "item_text.npy",
                                  "image_encoder.tflite", "picture_vectors.npy", "picture_rows.npy"])
def test_a_search_lacks_no_file(searchable_folder: Path, name: str) -> None:
    (searchable_folder / name).unlink()
    with pytest.raises(BundleRefused, match=f"{name} is missing, which doors.json needs"):
        Bundle.load(seal_bundle(searchable_folder))


def test_files_of_a_search_that_is_closed_are_refused(searchable_folder: Path) -> None:
    (searchable_folder / DOORS).unlink()
    with pytest.raises(BundleRefused, match=r"holds query\.json, which serves .* doors\.json says is closed"):
        Bundle.load(seal_bundle(searchable_folder))


@pytest.mark.parametrize("content", ["{", "[]", '{"search": {}}', '{"search": {"open": true}, "pictures": {}}'])
def test_doors_that_cannot_be_read_are_refused(searchable_folder: Path, content: str) -> None:
    (searchable_folder / DOORS).write_text(content)
    with pytest.raises(BundleRefused):
        Bundle.load(seal_bundle(searchable_folder))
