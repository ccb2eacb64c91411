"""Days of a small shop into its lake: right, replaced and never doubled, audited, and late events found."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.contracts import Window
from pipelines.errors import DataError, SettingsError, VitrineError
from pipelines.ingest import ingest as ingest_window
from pipelines.lake_slice import open_days
from pipelines.retrain import default_as_of
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec, load_spec
from tests.lake_world import (
    SHOP,
    ingest,
    installation,
    lake_of,
    log_of,
    march,
    numbers_of,
    write_kiosk,
)

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


@pytest.fixture
def places(tmp_path: Path) -> Settings:
    return installation(tmp_path / "home")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_kiosk(tmp_path, log_of(4))


def revisions(places: Settings) -> dict[int, int]:
    """Day of March -> its newest revision."""
    lake = lake_of(places)
    return {day.day: one.revision for day in lake.days() if (one := lake.latest(day)) is not None}


def test_a_day_holds_its_own_events_and_a_second_run_changes_nothing(shop: Path, places: Settings) -> None:
    for day in (2, 1, 3):  # in any order
        assert ingest(shop, march(day), places).events == 4
    lake = lake_of(places)
    before = sorted(lake.folder.rglob("*"))
    again = ingest(shop, march(2), places)
    assert (again.revision, again.reopened) == (1, {})
    assert sorted(lake.folder.rglob("*")) == before
    assert {day: numbers_of(lake, march(day)) for day in (1, 2, 3)} == {
        1: [0, 1, 2, 3], 2: [4, 5, 6, 7], 3: [8, 9, 10, 11]}


def test_a_day_without_events_is_a_day(shop: Path, places: Settings) -> None:
    ingest(shop, march(4), places)
    assert ingest(shop, march(5), places).events == 0
    assert [one.rows for one in lake_of(places).partitions()] == [4, 0]


def test_a_day_that_changed_is_replaced(tmp_path: Path, shop: Path, places: Settings) -> None:
    ingest(shop, march(1), places)
    events = log_of(4)
    events.loc[0, "item_id"] = "z"
    write_kiosk(tmp_path, events)
    assert ingest(shop, march(1), places).revision == 2
    lake = lake_of(places)
    newest = lake.latest(march(1))
    assert newest is not None
    assert pq.read_table(lake.path(newest.events))["item_id"].to_pylist() == ["z", "y", "z", "x"]


def test_late_events_open_their_day_again_and_the_past_stays_as_it_was_known(
    tmp_path: Path, shop: Path, places: Settings
) -> None:
    whole = log_of(4)
    early = whole[whole["number"] != 5]  # of the second day, which comes late
    write_kiosk(tmp_path, early)
    for day in (1, 2):
        ingest(shop, march(day), places)
    write_kiosk(tmp_path, whole)
    published = ingest(shop, march(3), places)
    assert published.reopened == {march(2): 1}
    assert revisions(places) == {1: 1, 2: 2, 3: 1}
    lake = lake_of(places)
    assert numbers_of(lake, march(2)) == [4, 5, 6, 7]
    reopened = lake.latest(march(2))
    assert reopened is not None
    assert (reopened.reason, reopened.known_at) == (
        "changed since, seen with 2026-03-03", datetime(2026, 3, 4, tzinfo=UTC))
    # A retrain as of the morning of the third sees what it would have seen then, one of the fourth the late event.
    spec, root = ShopSpec(), tmp_path / "artifacts"
    then = ingest_window(str(lake.folder), Window(as_of=datetime(2026, 3, 3, 3, tzinfo=UTC)), spec, root)
    now = ingest_window(str(lake.folder), Window(as_of=datetime(2026, 3, 4, tzinfo=UTC)), spec, root)
    assert (then.events, now.events) == (7, 12)


def test_what_comes_later_than_that_is_taken_in_by_its_own_days_rerun(
    tmp_path: Path, shop: Path, places: Settings
) -> None:
    whole = log_of(4)
    write_kiosk(tmp_path, whole[whole["number"] != 0])
    ingest(shop, march(1), places)
    write_kiosk(tmp_path, whole)
    assert ingest(shop, march(4), places, late_days=2).reopened == {}
    assert numbers_of(lake_of(places), march(1)) == [1, 2, 3]
    assert ingest(shop, march(1), places).revision == 2
    assert numbers_of(lake_of(places), march(1)) == [0, 1, 2, 3]


def test_a_lake_is_a_source_like_any_other(tmp_path: Path, shop: Path, places: Settings) -> None:
    (shop / "vitrine.toml").write_text('[columns.events]\nuser_id = "customer"\n[events.weights]\npurchase = 2.0\n')
    log_of(4).rename(columns={"user_id": "customer"}).to_parquet(shop / "events.parquet", index=False)
    for day in range(1, 5):
        ingest(shop, march(day), places)
    lake = str(places.lake_of(SHOP))
    window = Window(as_of=datetime(2026, 3, 5, tzinfo=UTC))
    assert default_as_of(lake) == window.as_of
    # What weighs how stands in the lake; names are Vitrine's there, and what the shop calls them changes nothing.
    assert load_spec(lake).weight("purchase") == 2.0
    direct = ingest_window(str(shop), window, load_spec(str(shop)), tmp_path / "one")
    through = ingest_window(lake, window, load_spec(lake), tmp_path / "two")
    assert (through.events, through.items, through.users, through.days) == (16, 3, 4, 4)
    for part in sorted(Path(direct.path).rglob("*.parquet")):
        name = part.relative_to(direct.path)
        pd.testing.assert_frame_equal(pq.ParquetFile(part).read().to_pandas(),
                                      pq.ParquetFile(Path(through.path) / name).read().to_pandas())
    # Days to come change nothing for a window that ends before: its ingest is found.
    ingest(shop, march(5), places)
    assert ingest_window(lake, window, load_spec(lake), tmp_path / "two") == through


@pytest.mark.parametrize(("column", "value", "said"), [
    ("item_id", "w", "events.item_id: unknown-item"), ("timestamp", None, "events.timestamp: null-time")])
def test_bad_data_are_named_and_nothing_is_published(
    tmp_path: Path, shop: Path, places: Settings, column: str, value: str | None, said: str
) -> None:
    events = log_of(4)
    events.loc[5, column] = value
    write_kiosk(tmp_path, events)
    with pytest.raises(DataError, match=said):
        ingest(shop, march(2), places)
    assert lake_of(places).days() == []
    if column == "item_id":  # of another day: no matter for this one
        assert ingest(shop, march(1), places).events == 4


def test_a_column_that_is_gone_is_refused_until_a_person_accepts_it(
    tmp_path: Path, shop: Path, places: Settings
) -> None:
    write_kiosk(tmp_path, log_of(4), price=[1.0, 2.0, 3.0])
    ingest(shop, march(1), places)
    write_kiosk(tmp_path, log_of(4), size=["s", "m", "l"])
    with pytest.raises(DataError, match=r"schema: beside 2026-03-01: items.price is gone; items.size is new") as error:
        ingest(shop, march(2), places)
    assert "day 2026-03-02 is not published" in str(error.value)
    assert revisions(places) == {1: 1}
    ingest(shop, march(2), places, accept=("schema",))
    record = lake_of(places).latest(march(2))
    assert record is not None
    assert next(one for one in record.checks if one.name == "schema").reason.startswith("accepted by a person: ")
    with pytest.raises(SettingsError, match="no check 'scheme' to accept"):
        ingest(shop, march(3), places, accept=("scheme",))


def test_a_type_that_changed_is_refused_and_a_column_without_values_is_not(
    tmp_path: Path, shop: Path, places: Settings
) -> None:
    ingest(shop, march(1), places)
    events = log_of(4)
    events["number"] = pd.Series([None] * len(events), dtype="str")
    write_kiosk(tmp_path, events)
    ingest(shop, march(2), places, late_days=0)
    lake = lake_of(places)
    quiet = lake.latest(march(2))
    assert quiet is not None
    assert str(pq.read_schema(lake.path(quiet.events)).field("number").type) == "int64"
    write_kiosk(tmp_path, log_of(4).astype({"number": "str"}))
    with pytest.raises(DataError, match=r"events.number was int64 and is string"):
        ingest(shop, march(3), places, late_days=0)


def hours(day: int, events: int) -> pd.DataFrame:
    """So many events on a day of March, evenly over its hours."""
    step = pd.Timedelta(days=1) / max(events, 1)
    return pd.DataFrame({
        "user_id": [f"u{n % 3}" for n in range(events)], "item_id": ["xyz"[n % 3] for n in range(events)],
        "timestamp": pd.DatetimeIndex(
            [pd.Timestamp(march(day), tz="UTC") + n * step for n in range(events)], tz="UTC").as_unit("us"),
        "event_type": ["purchase"] * events})


@pytest.mark.parametrize(("events", "passes"), [(79, False), (80, True), (600, True), (601, False)])
def test_the_volume_is_compared_with_the_same_weekday_of_the_weeks_before(
    tmp_path: Path, places: Settings, events: int, passes: bool
) -> None:
    # The median of 150, 200 and 400 is 200: from 0.4 x 200 = 80 to 3 x 200 = 600 is usual.
    log = pd.concat([hours(1, 150), hours(8, 400), hours(15, 200), hours(22, events)], ignore_index=True)
    shop = write_kiosk(tmp_path, log)
    for day in (1, 8, 15):
        ingest(shop, march(day), places)
    if passes:
        assert ingest(shop, march(22), places).events == events
        return
    with pytest.raises(DataError, match=f"volume: {events} events where the 3 same weekdays before had 200 "):
        ingest(shop, march(22), places)


def test_a_source_that_lost_a_day_does_not_take_it_from_the_lake(
    tmp_path: Path, shop: Path, places: Settings
) -> None:
    ingest(shop, march(1), places)
    whole = log_of(4)
    write_kiosk(tmp_path, whole[whole["number"] >= 4])
    with pytest.raises(DataError, match=r"shrunk: 2026-03-01 has 0 events and had 4; .*lower late_days"):
        ingest(shop, march(2), places)
    assert numbers_of(lake_of(places), march(1)) == [0, 1, 2, 3]
    assert ingest(shop, march(2), places, late_days=0).events == 4


def test_an_export_that_was_written_twice_is_no_late_event(tmp_path: Path, shop: Path, places: Settings) -> None:
    ingest(shop, march(1), places)
    write_kiosk(tmp_path, pd.concat([log_of(4), log_of(4)], ignore_index=True))
    with pytest.raises(DataError, match="late: 2026-03-01 had 4 events and has 4 more"):
        ingest(shop, march(2), places)
    assert revisions(places) == {1: 1}


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, shop: Path) -> None:
    with open_days(str(shop), march(1), march(2), ShopSpec()) as opened:
        opened.hold()
        write_kiosk(tmp_path, log_of(5))
        with pytest.raises(VitrineError, match=r"events.parquet changed while it was read") as error:
            opened.hold()
    assert error.value.is_retryable


def test_the_lake_is_no_source_of_itself(shop: Path, places: Settings) -> None:
    ingest(shop, march(1), places)
    with pytest.raises(SettingsError, match="is the lake itself"):
        ingest(places.lake_of(SHOP), march(1), places)
