import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from pipelines.check import Report, check, render
from pipelines.rules import RULES
from pipelines.shop_spec import ShopSpec, load_spec

# Ibis 12 calls what DuckDB 2 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "bring-your-own-data.md"
INFINITE = [float("inf"), 20.0, 30.0]


def faults_of(report: Report) -> set[tuple[str, str | None, str, int]]:
    return {(f.table, f.column, f.rule, f.count) for f in report.faults}


def found(source: Path, spec: dict | None = None) -> set[tuple[str, str | None, str, int]]:
    return faults_of(check(str(source), ShopSpec.model_validate(spec or {})))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_sound_shop_has_no_faults(write_shop, suffix):
    report = check(str(write_shop(suffix)), ShopSpec())
    assert report.faults == ()
    assert {n: t.rows for n, t in report.tables.items()} == {"events": 5, "items": 3, "users": 2}
    assert [(f.name, f.kind) for f in report.tables["items"].fields] == [
        ("title", "text"), ("category", "categorical"), ("price", "numeric")]
    assert [f.name for f in report.tables["users"].fields] == ["country"]
    assert report.event_types == {"purchase": 3, "return": 1, "view": 1}
    assert report.shop.weights == {"purchase": 1.0, "return": 0.0, "view": 1.0}
    assert str(report.first_event) == "2026-03-01 10:00:00+00:00"
    assert str(report.last_event) == "2026-03-04 12:00:00+00:00"


# Each change breaks one rule in one column; the count is that of the rows changed.
CHANGES: list[tuple[dict, dict, tuple[str, str | None, str, int]]] = [
    ({"events": None}, {}, ("events", None, "missing-table", 0)),
    ({"events": {"user_id": None}}, {}, ("events", "user_id", "missing-column", 5)),
    ({"events": {"timestamp": None}}, {}, ("events", "timestamp", "missing-column", 5)),
    ({"items": {"title": ["a b", "b c", "c d"]}}, {"columns": {"items": {"title": "nom"}}},
     ("items", "title", "missing-column", 3)),
    ({}, {"columns": {"items": {"title": "category"}}}, ("items", "title", "name-clash", 3)),
    ({}, {"items": {"kinds": {"colour": "text"}}}, ("items", "colour", "unknown-column", 3)),
    ({"events": {"user_id": [1.5, 1.0, 2.0, 2.0, 3.0]}}, {}, ("events", "user_id", "type", 5)),
    ({"events": {"event_type": [1, 2, 3, 4, 5]}}, {}, ("events", "event_type", "type", 5)),
    ({"events": {"timestamp": [1, 2, 3, 4, 5]}}, {}, ("events", "timestamp", "type", 5)),
    ({"events": {"user_id": ["007", None, " ", "", "8"]}}, {}, ("events", "user_id", "null-id", 3)),
    ({"users": {"user_id": ["007", None]}}, {}, ("users", "user_id", "null-id", 1)),
    ({"items": {"item_id": ["b1", "b2", "b3"], "price": INFINITE}}, {}, ("items", "price", "not-finite", 1)),
    ({"events": {"price": [1.0, float("-inf"), float("inf"), None, 2.0]}}, {}, ("events", "price", "not-finite", 2)),
    ({"users": {"user_id": ["007", "007"]}}, {}, ("users", "user_id", "duplicate-id", 1)),
    ({"events": {"event_type": ["purchase", "", None, "view", "view"]}}, {}, ("events", "event_type", "null-type", 2)),
    ({"events": {"item_id": ["b1", "b2", "b9", "b3", "b8"]}}, {}, ("events", "item_id", "unknown-item", 2)),
    ({"events": {"timestamp": ["2026-03-01T10:00:00Z"] * 4 + [None]}}, {}, ("events", "timestamp", "null-time", 1)),
    ({"events": {"timestamp": ["1970-01-21T11:00:00Z", "2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z",
                               "2026-03-03T10:00:00Z", "2100-01-01T00:00:00Z"]}}, {},
     ("events", "timestamp", "time-range", 2)),
    ({"events": {"timestamp": pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"])}},
     {}, ("events", "timestamp", "naive-time", 5)),
    ({}, {"items": {"kinds": {"title": "numeric"}}}, ("items", "title", "kind", 3)),
    ({}, {"items": {"kinds": {"price": "text"}}}, ("items", "price", "kind", 3)),
    ({}, {"items": {"kinds": {"title": "image"}}}, ("items", "title", "kind", 3)),
    ({"items": {"shape": [[1.0, 2.0], [1.0], None]}}, {"items": {"kinds": {"shape": "vector"}}},
     ("items", "shape", "kind", 1)),
    ({"items": {"shape": [[1.0, 2.0], [1.0, float("nan")], [0.0, 1.0]]}}, {}, ("items", "shape", "kind", 1)),
    ({}, {"events": {"count": ["purchse"]}}, ("events", "event_type", "no-positives", 5)),
    ({}, {"events": {"weights": {"wishlist": 2}}}, ("events", "event_type", "unknown-type", 0)),
    ({"events": {"user_id": ["8"] * 5, "item_id": ["b1"] * 5, "event_type": ["view"] * 5,
                 "timestamp": ["2026-03-01T10:00:00Z"] * 5}}, {}, ("events", None, "repeated", 4)),
    ({"items": {"title": None, "category": None, "price": None}}, {}, ("items", None, "no-features", 3)),
    ({"events": {"user_id": ["8"] * 5}}, {}, ("events", "user_id", "too-few", 5)),
    ({"events": {"item_id": ["b1"] * 5}, "items": {"item_id": ["b1"], "title": ["Red bag"], "category": ["bags"],
                                                   "price": [10.0]}}, {}, ("items", "item_id", "too-few", 1)),
    ({"items": {"stock": ["many", "few", "none"]}}, {"columns": {"items": {"available": "stock"}}},
     ("items", "available", "availability", 3)),
    ({"events": {"user_id": ["007", "7", "8", "8 ", "007"]}}, {}, ("events", "user_id", "look-alike", 2)),
    ({"events": {"event_type": ["purchase", "Purchase", "view", "view", "return"]}}, {},
     ("events", "event_type", "look-alike", 1)),
    ({"items": {"item_id": [f"b{n}" for n in range(1, 21)], "title": [f"t {n}" for n in range(20)],
                "category": ["a"] * 20, "price": ["1.5"] * 19 + ["12,50 EUR"]}}, {},
     ("items", "price", "almost-numbers", 1)),
    ({"events": {"user_id": ["8", "9"] * 20, "item_id": ["b1", "b2"] * 20, "event_type": ["purchase"] * 40,
                 "price": None, "timestamp": [
                     *(f"2026-03-01T10:{n:02d}:00Z" for n in range(39)), "2026-05-01T10:00:00Z"]}}, {},
     ("events", "timestamp", "stray-time", 1)),
    # 20 events a day, up to a minute before midnight, for 29 days; then 8 a day for a week.
    ({"events": {"user_id": ["8", "9"] * 318, "item_id": ["b1", "b2"] * 318, "event_type": ["purchase"] * 636,
                 "price": None, "timestamp": [
                     f"2026-{3 + d // 31:02d}-{d % 31 + 1:02d}T23:{59 - n}:00Z"
                     for d in range(36) for n in range(20 if d < 29 else 8)]}}, {},
     ("events", "timestamp", "low-volume", 56)),
    ({"users": {"user_id": pd.Series([], dtype="str"), "country": pd.Series([], dtype="str")}}, {},
     ("users", None, "no-rows", 0)),
]


@pytest.mark.parametrize(("changes", "spec", "fault"), CHANGES, ids=lambda v: v[2] if isinstance(v, tuple) else "")
def test_each_fault_is_named_with_table_column_and_count(write_shop, changes, spec, fault):
    report = check(str(write_shop(**changes)), ShopSpec.model_validate(spec))
    assert fault in faults_of(report)
    named = next(f for f in report.faults if (f.table, f.column, f.rule, f.count) == fault)
    assert named.example and named.remedy
    # Nothing else is blamed, but for what follows from it.
    follows = {"unknown-type", "repeated", "too-few", "no-features"}
    follows |= {"null-time"} if fault[2] == "missing-column" else set()
    assert {f.rule for f in report.faults} - follows == {fault[2]} - follows


def test_every_rule_is_broken_by_a_test_and_explained():
    assert {fault[2] for _, _, fault in CHANGES} | {"time-format"} == set(RULES)
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [name for name in RULES if f"`{name}`" not in text] == []


def test_text_times_that_are_none_and_examples(write_shop):
    times = ["03/14/2026", "2026-03-01T10:00:00Z", None, "yesterday", "2026-03-02"]
    report = check(str(write_shop("csv", events={"timestamp": times})), ShopSpec())
    assert faults_of(report) == {("events", "timestamp", "time-format", 2), ("events", "timestamp", "null-time", 1)}
    assert [f.example for f in report.faults if f.rule == "time-format"] == ["row 0: '03/14/2026'"]


def test_naive_times_may_be_declared_utc(write_shop):
    naive = pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"])
    shop = write_shop(events={"timestamp": naive})
    assert found(shop, {"events": {"naive_times": "utc"}}) == set()


def test_names_and_kinds_of_a_specification_are_used(write_shop):
    shop = write_shop("csv", events={"user_id": None, "customer": ["007", "007", "8", "8", "007"]},
                      items={"genres": ["a|b", "b", None]})
    spec = ShopSpec.model_validate({"columns": {"events": {"user_id": "customer"}},
                                    "items": {"kinds": {"genres": "multi", "price": "categorical"}}})
    report = check(str(shop), spec)
    assert report.faults == ()
    assert {"genres": "multi", "price": "categorical"}.items() <= {
        f.name: f.kind for f in report.tables["items"].fields}.items()


def test_the_report_says_where_what_and_how_to_mend(write_shop):
    console = Console(file=io.StringIO(), width=200)
    render(check(str(write_shop(events={"item_id": ["b1", "b2", "b9", "b3", "b1"]})), ShopSpec()), console)
    said = console.file.getvalue()
    for part in ("events.item_id", "unknown-item", "row 2: 'b9'", "add the item to items", "1 error: not fit"):
        assert part in said


EXPECTED = {
    "amazon_beauty": set(), "amazon_sports": set(), "movielens_small": set(), "xwines": set(),
    "complete_journey": {"no-features"}, "online_retail": {"repeated"}, "rent_the_runway": {"repeated"},
    "fashion_images": {"missing-table"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_shops_need_no_specification(shared, name):
    folder = str(shared / "datasets" / name)
    report = check(folder, load_spec(folder))
    assert {f.rule for f in report.faults} == EXPECTED[name]
    assert [f.table for f in report.errors] == (["events"] if name == "fashion_images" else [])
