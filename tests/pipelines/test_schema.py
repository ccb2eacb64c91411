import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.errors import SettingsError
from pipelines.schema import Field, display_columns, infer_fields, sort_columns
from pipelines.shop_spec import ShopSpec, load_spec


def kinds_of(columns: dict, spec: ShopSpec | None = None, id_column: str = "item_id") -> dict[str, str]:
    table = pa.table({id_column: [str(i) for i in range(len(next(iter(columns.values()))))], **columns})
    return {f.name: f.kind for f in infer_fields(table, id_column, spec or ShopSpec())}


def test_kinds_by_type():
    assert kinds_of({
        "colour": ["red", "blue"], "tags": [["a", "b"], ["c"]], "codes": [[1, 2], [3]], "price": [1.5, None],
        "is_new": [True, False], "image": [b"\x89PNG", b"\xff\xd8"], "vector": [[0.5, 1.0], [2.0, 3.0]],
        "description": ["short one", "short two"], "about": ["prose " * 20, "other words " * 10],
    }) == {
        "colour": "categorical", "tags": "multi", "codes": "multi", "price": "numeric", "is_new": "categorical",
        "image": "image", "vector": "vector", "description": "text", "about": "text",
    }


def test_what_says_what_may_be_shown_is_no_feature():
    # It tells of today and not of the past; words by that name, which nobody declared, are words.
    assert kinds_of({"available": [True, False], "colour": ["red", "blue"]}) == {"colour": "categorical"}
    assert kinds_of({"available": ["online", "in shops"]}) == {"available": "categorical"}


def test_nearly_distinct_strings_are_text_with_words_and_identifiers_without():
    rows = 100
    table = {
        "label": [f"large size {i % 5}" for i in range(rows)],  # 5 values, 20 rows each
        "headline": [f"a thing called {i}" for i in range(rows)],  # all distinct, 4 words
        "sku": [f"X{i:04d}" for i in range(rows)],  # all distinct, 1 word
        "brand": [f"maison {i % 60}" for i in range(rows)],  # 60 of 100 distinct: below nine tenths
    }
    assert kinds_of(table) == {"label": "categorical", "headline": "text", "brand": "categorical"}


def test_what_says_nothing_is_left_out_with_its_reason():
    table = pa.table({
        "item_id": ["1", "2"], "row_id": [0, 1], "split": ["train", "test"], "eval": [True, False],
        "one": ["same", "same"], "none": pa.array([None, None], pa.string()), "empty": ["", ""],
        "nan": [np.nan, np.nan], "ragged": [[1.0], [1.0, 2.0]], "since": pa.array([1, 2], pa.timestamp("us")),
        "rarely": ["yes", None],
    })
    fields, left_out = sort_columns(table, "item_id", ShopSpec())
    assert fields == (Field(name="rarely", kind="categorical"),)  # there or not is a sign too
    reasons = {c.name: c.reason for c in left_out}
    assert list(reasons) == ["one", "none", "empty", "nan", "ragged", "since"]
    assert reasons["one"] == "all 2 rows have the value 'same'"
    assert reasons["ragged"] == "its lists have 1 to 2 numbers; a vector has one length"


def test_pandas_and_arrow_agree():
    frame = pd.DataFrame({"item_id": ["1", "2"], "title": ["a", "b"], "size": pd.Categorical(["S", "M"]),
                          "tags": [["x"], ["y", "z"]], "price": [1.0, np.nan]})
    table = pa.Table.from_pandas(frame)
    assert infer_fields(frame, "item_id", ShopSpec()) == infer_fields(table, "item_id", ShopSpec())
    assert display_columns(frame) == display_columns(table)


def test_the_specification_wins():
    spec = ShopSpec.model_validate({"items": {"kinds": {"code": "categorical", "note": "ignore"}}})
    assert kinds_of({"code": [1, 2], "note": ["a", "b"]}, spec) == {"code": "categorical"}
    assert kinds_of({"code": [1, 2], "note": ["a", "b"]}, spec, "user_id") == {"code": "numeric", "note": "categorical"}


def test_display_columns_need_values():
    assert display_columns(pa.table({"item_id": ["1"], "title": [""], "name": ["Bag"], "department": ["bags"],
                                     "price": ["cheap"]})) == {
        "title": "name", "category": "department", "price": None, "image": None}


def test_load_spec(tmp_path):
    assert load_spec(str(tmp_path)) == ShopSpec()
    (tmp_path / "vitrine.toml").write_text("""
        [columns.events]
        user_id = "customer"
        [items.kinds]
        size = "categorical"
        [events]
        count = ["purchase", "view"]
        [events.weights]
        view = 0.25
    """)
    spec = load_spec(str(tmp_path))
    assert spec.names_of("events") == {"user_id": "customer"}
    assert spec.kinds_of("item_id") == {"size": "categorical"} and spec.kinds_of("user_id") == {}
    assert [spec.weight(t) for t in ("purchase", "view", "return", "click")] == [1, 0.25, 0, 0]
    assert [ShopSpec().weight(t) for t in ("purchase", "return", "click")] == [1, 0, 1]


@pytest.mark.parametrize(("text", "message"), [
    ("[item.kinds]\na = 'text'", r"unknown key item: .*items\.kinds"),
    ("[events]\nweight = 1", r"unknown key events\.weight: did you mean events\.weights"),
    ("[columns.events]\nuser = 'u'", r"columns\.events\.user: .*'user_id'"),
    ("[items.kinds]\na = 'words'", r"items\.kinds\.a: .*'categorical'"),
    ("[events.weights]\nreturn = 1.0", r"events\.weights: events of type 'return' are never positives"),
    ("[events]\ncount = ['return', 'purchase']", "never positives: remove it from count"),
    ("[events]\ncount = []", "count is empty"),
    ("[events.weights]\nview = -1", r"events\.weights\.view: .*greater than or equal to 0"),
    ("[events]\ncount = ['purchase']\nweights = {view = 0.5}", "view has a weight above 0 but is not in count"),
    ("[events", "is not TOML"),
])
def test_a_wrong_specification_names_key_and_remedy(tmp_path, text, message):
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_spec(str(tmp_path), path)


def test_a_specification_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_spec(str(tmp_path), tmp_path / "no.toml")
