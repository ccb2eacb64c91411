import shutil
import sqlite3
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipelines.addresses import redacted
from pipelines.errors import DataError, VitrineError
from pipelines.shop_spec import ShopSpec
from pipelines.source import open_source
from pipelines.tables import normalised

# Ibis 12 calls what DuckDB 2 and pandas 3 have deprecated.
pytestmark = [pytest.mark.filterwarnings("ignore:fetch_arrow_table"),
              pytest.mark.filterwarnings("ignore:.*infer_string")]


def read(source: str, name: str = "events") -> pd.DataFrame:
    with open_source(source) as opened:
        table = normalised(opened, name, ShopSpec())
        assert table is not None
        return table.to_pyarrow().to_pandas()


def fingerprint(source: str) -> str:
    with open_source(source) as opened:
        return opened.fingerprint()


def test_csv_ids_stay_strings_and_numbers_become_numbers(write_shop):
    events = read(str(write_shop("csv")))
    assert events["user_id"].tolist() == ["007", "007", "8", "8", "007"]
    assert events["price"].tolist()[0] == 10.0 and pd.isna(events["price"][1])
    items = read(str(write_shop("csv", items={"code": ["001", "002", "013"]})), "items")
    assert items["code"].tolist() == ["001", "002", "013"]  # a leading zero makes a code of a number


def test_csv_times_without_zone_are_utc_and_others_are_converted(write_shop):
    # 12:00 at +02:00 is 10:00 UTC; a date alone is midnight.
    times = ["2026-03-01T10:00:00", "2026-03-01 12:00:00+02:00", "2026-03-01", "2026-03-01T10:00:00Z", None]
    found = read(str(write_shop("csv", events={"timestamp": times})))["timestamp"]
    assert str(found.dtype) == "datetime64[us, UTC]"
    ten = pd.Timestamp("2026-03-01T10:00:00Z")
    assert found.tolist()[:4] == [ten, ten, pd.Timestamp("2026-03-01T00:00:00Z"), ten]
    assert pd.isna(found[4])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_of_every_unit_become_microseconds(write_shop, unit):
    ten = pd.Timestamp("2026-03-01T10:00:00.5Z" if unit != "s" else "2026-03-01T10:00:00Z")
    times = pd.DatetimeIndex([ten, ten, pd.NaT, ten, ten]).as_unit(unit)
    shop = write_shop(events={"timestamp": times}, items={"available_from": times[:3]})
    for table, column in (("events", "timestamp"), ("items", "available_from")):
        found = read(str(shop), table)[column]
        assert str(found.dtype) == "datetime64[us, UTC]"
        assert found[0] == ten and pd.isna(found[2])


def test_text_that_is_all_times_says_when_items_come(write_shop):
    found = read(str(write_shop("csv", items={"available_from": ["2026-03-01", None, "2026-03-01T12:00:00+02:00"]})),
                 "items")["available_from"]
    assert found[0] == pd.Timestamp("2026-03-01T00:00:00Z") and found[2] == pd.Timestamp("2026-03-01T10:00:00Z")
    assert pd.isna(found[1])
    words = read(str(write_shop(items={"available_from": ["2026-03-01", None, "spring"]})), "items")["available_from"]
    assert words[2] == "spring"


def test_a_folder_of_parquet_files_is_read_in_order_of_its_paths(write_shop):
    shop = write_shop()
    rows = pd.read_parquet(shop / "events.parquet")
    (shop / "events.parquet").unlink()
    for month, part in (("b", rows[2:]), ("a", rows[:2])):
        (shop / "events" / month).mkdir(parents=True)
        part.to_parquet(shop / "events" / month / "part.parquet", index=False)
    assert read(str(shop))["item_id"].tolist() == ["b1", "b2", "b1", "b3", "b1"]


def test_a_table_given_twice_is_refused(write_shop):
    shop = write_shop()
    (shop / "items.csv").write_text("item_id\nb1\n")
    with pytest.raises(DataError, match=r"items\.parquet and items\.csv"), open_source(str(shop)):
        pass


@pytest.mark.parametrize("source", ["nowhere", "duckdb://nowhere.db", "sqlite://nowhere.db", "nosuch://host/shop"])
def test_a_source_that_is_not_there_is_named_and_not_created(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VitrineError, match=r"nowhere|nosuch"), open_source(source):
        pass
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_a_data_error(write_shop):
    shop = write_shop()
    (shop / "events.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read(str(shop))


def test_fingerprint_follows_content_not_place(write_shop, tmp_path):
    shop = write_shop()
    moved = Path(shutil.copytree(shop, tmp_path / "elsewhere"))
    assert fingerprint(str(shop)) == fingerprint(str(moved))
    assert fingerprint(str(write_shop(items={"price": [10.0, 20.0, 31.0]}))) != fingerprint(str(shop))


def duckdb_shop(shop: Path, path: Path, order: str) -> str:
    with duckdb.connect(str(path)) as database:
        for name in ("events", "items", "users"):
            database.execute(f"CREATE TABLE {name} AS SELECT * FROM '{shop / name}.parquet' ORDER BY {order}")
    return f"duckdb://{path}"


def test_a_database_is_read_and_its_fingerprint_is_of_the_rows_not_their_order(write_shop, tmp_path):
    shop = write_shop()
    one = duckdb_shop(shop, tmp_path / "one.db", "1")
    two = duckdb_shop(shop, tmp_path / "two.db", "1 DESC")
    assert fingerprint(one) == fingerprint(two)
    pd.testing.assert_frame_equal(read(one), read(two))
    with duckdb.connect(str(tmp_path / "two.db")) as database:
        database.execute("UPDATE items SET price = 11 WHERE item_id = 'b1'")
    assert fingerprint(one) != fingerprint(two)


def test_sqlite_with_times_as_text_and_whole_numbers_as_ids(tmp_path):
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE events (user_id INTEGER, item_id TEXT, timestamp TEXT)")
        database.execute("INSERT INTO events VALUES (7, 'b1', '2026-03-01T10:00:00Z')")
    database.close()
    events = read(f"sqlite://{path}")
    assert events["user_id"].tolist() == ["7"]
    assert events["timestamp"].tolist() == [pd.Timestamp("2026-03-01T10:00:00Z")]
    assert events["event_type"].tolist() == ["event"]


def test_no_password_in_names_and_errors():
    with pytest.raises(VitrineError) as error, open_source("nosuch://shop:s3cret@host/log"):
        pass
    assert "nosuch://shop@host/log" in str(error.value) and "s3cret" not in str(error.value)
    assert error.value.is_retryable
    assert redacted("postgres://shop:s3cret@db.example:5432/log?password=s3cret") == "postgres://shop@db.example:5432/log"
    assert redacted("data/shop") == "data/shop"
