"""The query encoder that serves: sums of rows, files that belong together, new products."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import CorruptArtifact
from serving.query_encoder import CONFIG, FILES, ITEM_TABLE, QUERY_TABLE, QueryEncoder
from serving.query_text import MAX_QUERY_WORDS, Tokens

WORDS = ("red", "clutch", "silk")
BUCKETS = 256
BEHAVIOUR, TEXT = 3, 4  # D + 1 and S


def encoder(seed: int = 0) -> QueryEncoder:
    rng = np.random.default_rng(seed)
    table, items = (rng.integers(-4, 5, size).astype(np.float32)
                    for size in ((len(WORDS) + BUCKETS, BEHAVIOUR + TEXT), (len(WORDS), TEXT)))
    return QueryEncoder(Tokens({w: i for i, w in enumerate(WORDS)}, BUCKETS), table, items)


def test_a_query_is_the_sum_of_its_words_in_any_order_and_writing() -> None:
    ours = encoder()
    expected = ours.table[0] + ours.table[1]
    for text in ("red clutch", "Clutch, RED!", "réd  clutch"):
        assert ours.vector(text).tolist() == expected.tolist()
    assert ours.vector("red").dtype == np.float32
    assert (ours.width, ours.text_dimension) == (7, 4)


def test_an_unknown_word_is_the_sum_of_its_grams_over_the_root_of_their_number() -> None:
    ours = encoder()
    rows = ours.tokens.gram_rows("clutsh")
    # <clutsh> has 8 characters: 6 + 5 + 4 n-grams.
    assert len(rows) == 15
    assert ours.vector("clutsh") == pytest.approx(ours.table[rows].sum(axis=0) / np.sqrt(15), rel=1e-5)


def test_a_text_without_a_word_asks_for_nothing() -> None:
    assert encoder().vector(" ... ").tolist() == [0] * 7


def test_what_lies_behind_the_bounds_is_not_read() -> None:
    ours = encoder()
    assert ours.vector("red " * 10_000).tolist() == (MAX_QUERY_WORDS * ours.table[0]).tolist()
    assert ours.vector("x" * 1_000_000).tolist() == ours.vector("x" * 600).tolist()


@given(st.text(max_size=80))
def test_any_text_gives_a_finite_vector(text: str) -> None:
    vector = encoder().vector(text)
    assert vector.shape == (7,)
    assert np.isfinite(vector).all()


def test_the_text_block_sums_known_words_once_each() -> None:
    ours = encoder()
    block = ours.text_block([["red", "silk", "red"], []])
    assert block[0] == pytest.approx((ours.item_words[0] + ours.item_words[2]) / np.sqrt(2))
    assert block[1].tolist() == [0] * 4


def test_a_new_word_of_a_product_stands_where_a_query_for_it_points() -> None:
    ours = encoder()
    asked, block = ours.vector("zephyrine")[-TEXT:], ours.text_block([["zephyrine"]])[0]
    cosine = asked @ block / (np.linalg.norm(asked) * np.linalg.norm(block))
    assert cosine == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(block) == pytest.approx(np.median(np.linalg.norm(ours.item_words, axis=1)), rel=1e-5)


def test_files_give_the_same_vectors(tmp_path: Path) -> None:
    ours = encoder()
    ours.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    read = QueryEncoder.load(tmp_path)
    for text in ("red silk clutch", "clutsh", "007"):
        assert read.vector(text).tolist() == ours.vector(text).tolist()
    assert read.text_block([["silk", "velvet"]]).tolist() == ours.text_block([["silk", "velvet"]]).tolist()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    encoder().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CorruptArtifact, match=name):
        QueryEncoder.load(tmp_path)


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, array, allow_pickle=False)


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((259, 7)), "float64"),
    (np.zeros(259, np.float16), r"\[259\]"),
    (np.full((259, 7), np.nan, np.float16), "not finite in 259 rows"),
    (np.zeros((258, 7), np.float16), r"\[258, 7\].*259"),
    (np.zeros((259, 3), np.float16), r"\[259, 3\]"),  # narrower than the text block
])
def test_a_table_that_does_not_fit_is_refused_with_its_numbers(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    encoder().save(tmp_path)
    _save(tmp_path / QUERY_TABLE, array)
    with pytest.raises(CorruptArtifact, match=message):
        QueryEncoder.load(tmp_path)


def test_item_words_of_another_training_are_refused(tmp_path: Path) -> None:
    encoder().save(tmp_path)
    _save(tmp_path / ITEM_TABLE, np.zeros((2, TEXT), np.float16))
    with pytest.raises(CorruptArtifact, match="train again"):
        QueryEncoder.load(tmp_path)


@pytest.mark.parametrize(("changed", "message"), [
    ({"format": 99}, "format"), ({"words": ["red", "red", "silk"]}, "2 of them distinct"),
    ({"gram_buckets": "many"}, "gram_buckets"), ({"words": 7}, "words"), ({"gram_buckets": 0}, "gram_buckets"),
])
def test_a_config_that_means_nothing_is_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    encoder().save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | changed))
    with pytest.raises(CorruptArtifact, match=message):
        QueryEncoder.load(tmp_path)
