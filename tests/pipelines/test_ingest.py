import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import check
from pipelines.artifacts import folder_files, verify
from pipelines.contracts import Window
from pipelines.errors import DataError, VitrineError
from pipelines.ingest import ingest, time_range
from pipelines.schema import read_shop
from pipelines.shop_spec import ShopSpec

# Ibis 12 calls what DuckDB 2 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

ALL = Window(as_of=datetime(2026, 4, 1, tzinfo=UTC))


def events_of(folder: str) -> pd.DataFrame:
    parts = sorted(Path(folder).glob("events/day=*/part.parquet"))
    return pd.concat([pq.ParquetFile(p).read().to_pandas() for p in parts], ignore_index=True)


def test_days_columns_and_counts(write_shop, tmp_path):
    shop = write_shop(events={"row_id": [9, 8, 7, 6, 5], "split": ["test"] * 5, "eval": [True] * 5})
    done = ingest(str(shop), ALL, ShopSpec(), tmp_path / "root")
    # Two events of 1 March at 10:00, one a second before midnight, one at midnight, one on the 4th.
    assert sorted(p.name for p in Path(done.path, "events").iterdir()) == [
        "day=2026-03-01", "day=2026-03-02", "day=2026-03-04"]
    assert (done.events, done.items, done.users, done.days) == (5, 3, 2, 3)
    assert done.first_event == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert done.last_event == datetime(2026, 3, 4, 12, tzinfo=UTC)
    events = events_of(done.path)
    assert list(events) == ["user_id", "item_id", "timestamp", "event_type", "price"]
    assert str(events["timestamp"].dtype) == "datetime64[us, UTC]"
    assert events["user_id"].tolist() == ["007", "007", "8", "8", "007"]
    assert pd.read_parquet(Path(done.path, "items.parquet"))["item_id"].tolist() == ["b1", "b2", "b3"]
    verify(Path(done.path))


def test_a_window_holds_its_start_and_not_its_end(write_shop, tmp_path):
    window = Window(start=datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), as_of=datetime(2026, 3, 4, 12, tzinfo=UTC))
    done = ingest(str(write_shop()), window, ShopSpec(), tmp_path / "root")
    assert events_of(done.path)["item_id"].tolist() == ["b1", "b3"]
    assert done.items == 3
    assert read_shop(done.path).weights == {"purchase": 1.0}


def test_an_empty_window_names_the_log_and_leaves_nothing(write_shop, tmp_path):
    window = Window(as_of=datetime(2026, 3, 1, 10, tzinfo=UTC))
    with pytest.raises(DataError, match=r"first event is at 2026-03-01 10:00.*last at 2026-03-04 12:00"):
        ingest(str(write_shop()), window, ShopSpec(), tmp_path / "root")
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file() or p.name.startswith(".")]


def test_all_faults_are_in_the_error_and_nothing_is_written(write_shop, tmp_path):
    shop = write_shop(events={"item_id": ["b1", "b9", "b1", "b3", "b1"]}, items={"price": [1.0, float("inf"), 2.0]})
    with pytest.raises(DataError) as error:
        ingest(str(shop), ALL, ShopSpec(), tmp_path / "root")
    for part in ("events.item_id: unknown-item (1 rows), for example row 1: 'b9'", "items.price: not-finite"):
        assert part in str(error.value)
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file()]


def test_without_users_the_user_table_has_no_rows(write_shop, tmp_path):
    done = ingest(str(write_shop(users=None)), ALL, ShopSpec(), tmp_path / "root")
    users = pd.read_parquet(Path(done.path, "users.parquet"))
    assert list(users) == ["user_id"] and len(users) == 0
    assert done.users == 2 and read_shop(done.path).user_fields == ()


def test_shop_json_says_what_was_found(write_shop, tmp_path):
    spec = ShopSpec.model_validate({"events": {"weights": {"view": 0.1}}})
    shop = read_shop(ingest(str(write_shop()), ALL, spec, tmp_path / "root").path)
    assert shop.spec == spec
    assert [(f.name, f.kind) for f in shop.item_fields] == [
        ("title", "text"), ("category", "categorical"), ("price", "numeric")]
    assert shop.display == {"title": "title", "category": "category", "price": "price", "image": None}
    assert shop.weights == {"purchase": 1.0, "return": 0.0, "view": 0.1}


def test_a_second_run_returns_the_first_and_a_new_window_is_a_new_run(write_shop, tmp_path):
    shop, root = str(write_shop()), tmp_path / "root"
    first = ingest(shop, ALL, ShopSpec(), root)
    written = {p: p.stat().st_mtime_ns for p in Path(first.path).rglob("*")}
    assert ingest(shop, ALL, ShopSpec(), root) == first
    assert {p: p.stat().st_mtime_ns for p in Path(first.path).rglob("*")} == written
    other = ingest(shop, Window(as_of=datetime(2026, 3, 2, tzinfo=UTC)), ShopSpec(), root)
    assert other.path != first.path and other.events == 3


def test_what_happens_after_as_of_changes_nothing(write_shop, tmp_path):
    window = Window(as_of=datetime(2026, 3, 4, tzinfo=UTC))
    later = write_shop(events={"user_id": ["007", "007", "8", "8", "new"], "event_type": [
        "purchase", "view", "purchase", "purchase", "click"]})
    one = ingest(str(write_shop()), window, ShopSpec(), tmp_path / "root")
    two = ingest(str(later), window, ShopSpec(), tmp_path / "root")
    assert one.key != two.key and one.digest == two.digest


def test_a_source_that_changes_while_it_is_read_is_refused(write_shop, tmp_path, monkeypatch):
    shop = write_shop()
    looked = check.inspect

    def inspect_and_write(source, spec, as_of):
        report = looked(source, spec, as_of)
        items = pd.read_parquet(shop / "items.parquet")
        items.assign(price=1.0).to_parquet(shop / "items.parquet", index=False)
        return report

    monkeypatch.setattr("pipelines.ingest.inspect", inspect_and_write)
    with pytest.raises(VitrineError, match="changed while it was read") as error:
        ingest(str(shop), ALL, ShopSpec(), tmp_path / "root")
    assert error.value.is_retryable
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file()]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_time_range(write_shop, suffix):
    assert time_range(str(write_shop(suffix)), ShopSpec()) == (
        datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 4, 12, tzinfo=UTC))


def test_no_time_range_without_times(write_shop):
    with pytest.raises(DataError, match="vitrine check"):
        time_range(str(write_shop(events=None)), ShopSpec())


MINUTES = st.integers(0, 5 * 24 * 60)
LOG = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), MINUTES), min_size=1, max_size=40)


@settings(max_examples=15, deadline=None)
@given(log=LOG, start=MINUTES, length=st.integers(1, 5 * 24 * 60))
def test_same_input_twice_is_the_same_bytes_in_time_and_source_order(log, start, length):
    begin = pd.Timestamp("2026-03-01T00:00:00Z")
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder, "shop")
        shop.mkdir()
        # Two customers of the day before: a log of a single one is refused.
        whole = [("d", "x", -1440), ("e", "y", -1440), *log]
        pd.DataFrame({
            "user_id": [u for u, _, _ in whole], "item_id": [i for _, i, _ in whole], "position": range(-2, len(log)),
            "timestamp": pd.DatetimeIndex([begin + pd.Timedelta(minutes=m) for _, _, m in whole]).as_unit("us"),
        }).to_parquet(shop / "events.parquet", index=False)
        pd.DataFrame({"item_id": list("xyz"), "colour": list("rgb")}).to_parquet(shop / "items.parquet", index=False)
        window = Window(start=(begin + pd.Timedelta(minutes=start)).to_pydatetime(),
                        as_of=(begin + pd.Timedelta(minutes=start + length)).to_pydatetime())
        kept = sorted((m, p) for p, (_, _, m) in enumerate(log) if start <= m < start + length)
        if not kept:
            with pytest.raises(DataError, match="no event from"):
                ingest(str(shop), window, ShopSpec(), Path(folder, "one"))
            return
        one, two = (ingest(str(shop), window, ShopSpec(), Path(folder, root)) for root in ("one", "two"))
        assert one.digest == two.digest
        # Rows in are rows kept and rows counted.
        assert (one.events, one.events_before + one.events + one.events_after) == (len(kept), len(whole))
        assert folder_files(Path(one.path)) == folder_files(Path(two.path))
        assert events_of(one.path)["position"].tolist() == [p for _, p in kept]


def test_a_real_log_keeps_its_order(shared, tmp_path):
    folder = shared / "datasets" / "online_retail"
    done = ingest(str(folder), ALL, ShopSpec(), tmp_path)
    log = pd.read_parquet(folder / "events.parquet").sort_values("timestamp", kind="stable").reset_index(drop=True)
    log["timestamp"] = log["timestamp"].astype("datetime64[us, UTC]")
    pd.testing.assert_frame_equal(events_of(done.path), log.drop(columns=["row_id", "split", "eval"])[
        list(events_of(done.path))])
