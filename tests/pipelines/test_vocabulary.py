import numpy as np
import pandas as pd

from pipelines.vocabulary import HASH_BUCKETS, fit_fields, token_bags, token_slots
from serving.tokens import split_value

TABLE = pd.DataFrame({
    "brand": ["Aria", "Bon", None, "Cleo"],
    "tags": [["silk", "red"], ["red"], None, ["red", "gold"]],
    "price": [1.0, 2.0, np.nan, 1000.0],
})
TRAINED = np.array([True, True, True, False])  # Cleo has no training event


def test_values_without_training_rows_share_the_unknown_token() -> None:
    (brand,) = fit_fields(TABLE, [("brand", "categorical")], TRAINED, 3)
    # Aria 3, Bon 4, unknown 5.
    assert token_slots(TABLE, [brand])[:, 0].tolist() == [3, 4, 0, 5]
    assert brand.end == 6


def test_fields_share_one_table_and_lists_weigh_one_by_root() -> None:
    fields = fit_fields(TABLE, [("brand", "categorical"), ("tags", "multi")], TRAINED, 0)
    indptr, tokens, weights = token_bags(TABLE, fields)
    # brand: Aria 0, Bon 1, unknown 2. tags: red (the only one in two training rows) 3, unknown 4.
    assert tokens.tolist() == [0, 3, 4, 1, 3, 2, 4, 3]
    assert indptr.tolist() == [0, 3, 5, 5, 8]
    root = 2**-0.5
    assert np.allclose(weights, [1, root, root, 1, 1, 1, root, root])


def test_numbers_fall_into_quantile_buckets() -> None:
    (price,) = fit_fields(TABLE, [("price", "numeric")], TRAINED, 0)
    low, high, missing, beyond = (price.tokens(v) for v in (1.0, 2.0, np.nan, 1000.0))
    assert missing == []
    assert low[0] < high[0] == beyond[0] < price.end


def test_texts_are_words_and_pairs_of_words() -> None:
    assert split_value("text", "Red silk, RED bag") == ["bag", "red", "red bag", "red silk", "silk", "silk red"]


def test_unseen_words_meet_in_hashed_buckets() -> None:
    table = pd.DataFrame({"title": ["red bag", "red bag", "zebra"]})
    (title,) = fit_fields(table, [("title", "text")], np.array([True, True, False]), 0)
    assert title.end == 3 + HASH_BUCKETS  # bag, red, "red bag"
    assert title.tokens("zebra") == title.tokens("zebra")
    assert 3 <= title.tokens("zebra")[0] < title.end
