"""What a day can be read from: CSV, PostgreSQL, and what the online process laid down."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.columns import EVENTS
from pipelines.errors import DataError, VitrineError
from pipelines.lake_slice import open_days
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from pipelines.shop_spec import ShopSpec
from serving.landing import LandingFolder
from serving.sessions.contract import Event
from stack.postgres import url
from tests.lake_world import SHOP, ingest, installation, lake_of, log_of, march, numbers_of, write_kiosk
from tests.postgres_server import execute, running_postgres

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


@pytest.fixture
def places(tmp_path: Path) -> Settings:
    return installation(tmp_path / "home")


def test_days_of_a_csv_have_the_types_that_the_whole_of_it_has(tmp_path: Path, places: Settings) -> None:
    shop = tmp_path / "kiosk"
    shop.mkdir()
    events = log_of(3).assign(price=[1.5] * 4 + [None] * 8)
    events.to_csv(shop / "events.csv", index=False)
    pd.DataFrame({"item_id": list("xyz"), "colour": ["red", "green", "blue"]}).to_csv(shop / "items.csv", index=False)
    for day in (1, 2, 3):
        ingest(shop, march(day), places, late_days=0)
    lake = lake_of(places)
    assert [numbers_of(lake, march(day)) for day in (1, 2, 3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with open_days(str(lake.folder), march(1), march(3), ShopSpec()) as opened:
        table = opened.source.table(EVENTS)
        assert table is not None
        # No price on the second day: nothing there says that prices are numbers, but the first day does.
        assert table["price"].type().is_floating() and table["number"].type().is_numeric()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL with the kiosk's three tables: times with a zone, a naive one, and decimals."""
    with running_postgres(tmp_path_factory.mktemp("pg"), SHOP) as socket:
        rows = ", ".join(
            f"('{row.user_id}', '{row.item_id}', '{row.timestamp}', 'purchase', {row.number})"
            for row in log_of(3).itertuples())
        execute(
            socket, SHOP,
            "CREATE TABLE events (user_id text, item_id text, timestamp timestamptz, event_type text, number bigint)",
            f"INSERT INTO events VALUES {rows}",
            "CREATE TABLE items (item_id text, colour text, price numeric(8, 2))",
            "INSERT INTO items VALUES ('x', 'red', 1.50), ('y', 'green', 2.50), ('z', 'blue', 3.50)",
            "CREATE TABLE users (user_id text, country text)",
            "INSERT INTO users VALUES ('u0', 'CH'), ('u1', 'IT'), ('u2', NULL), ('u3', 'CH')",
        )
        yield url(socket, SHOP)


def test_days_of_postgresql(postgres: str, places: Settings) -> None:
    assert [ingest(postgres, march(day), places).events for day in (1, 2)] == [4, 4]
    lake = lake_of(places)
    assert [numbers_of(lake, march(day)) for day in (1, 2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    record = lake.latest(march(1))
    assert record is not None and record.users is not None
    assert pd.read_parquet(lake.path(record.users))["country"].tolist()[:2] == ["CH", "IT"]
    assert pd.read_parquet(lake.path(record.items))["price"].tolist() == [1.5, 2.5, 3.5]


def test_of_a_database_no_more_than_the_days_is_copied(postgres: str) -> None:
    with open_days(postgres, march(2), march(2), ShopSpec()) as opened:
        events = opened.source.table(EVENTS)
        assert events is not None
        assert int(events.count().to_pyarrow().as_py()) == 4


def test_a_database_that_does_not_answer_is_worth_another_try_and_its_password_is_not_shown(places: Settings) -> None:
    with pytest.raises(VitrineError) as error:
        ingest("postgres://shop:s3cret-word@127.0.0.1:9/kiosk", march(1), places)
    assert error.value.is_retryable
    assert "postgres://shop@127.0.0.1:9/kiosk cannot be read" in str(error.value)
    assert "s3cret-word" not in str(error.value)
    found = [path for path in places.home.rglob("*") if path.is_file()]
    assert all(b"s3cret-word" not in path.read_bytes() for path in found)


def event(number: int, user: str, item: str, moment: str) -> Event:
    time_us = int(datetime.fromisoformat(moment).timestamp() * 1_000_000)
    return Event(event_id=f"e{number}", user_id=user, item_id=item, event_type="view", time_us=time_us)


def landed(places: Settings, arrives: str, *events: Event) -> None:
    """Lay events down as a process does whose clock says `arrives`."""
    clock = datetime.fromisoformat(arrives).timestamp()
    folder = LandingFolder(places.landing_of(SHOP), clock=lambda: clock)
    folder.add_events(events)
    folder.seal()


def seen(places: Settings, day: int) -> list[str]:
    """event_id of what was landed on a day of March, in order; "-" for rows of the shop's own log."""
    found = lake_of(places).latest(march(day))
    assert found is not None
    return [one or "-" for one in pq.read_table(lake_of(places).path(found.events))["event_id"].to_pylist()]


def test_landed_events_come_to_the_shops_own_once_each(tmp_path: Path, places: Settings) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    first = event(1, "anon", "y", "2026-03-01T07:00:00Z")
    landed(places, "2026-03-01T07:00:01Z", first, event(2, "u1", "x", "2026-03-01T12:30:00Z"))
    # Brought again by a client that had heard nothing, and one of midnight, which belongs to the day that begins.
    landed(places, "2026-03-01T23:59:59Z", first, event(3, "u1", "x", "2026-03-02T00:00:00Z"))
    assert ingest(shop, march(1), places).events == 6
    assert seen(places, 1) == ["-", "-", "e1", "-", "e2", "-"]  # at 0, 6, 7, 12, 12:30, 18 o'clock
    assert ingest(shop, march(2), places).events == 5
    assert seen(places, 2) == ["-", "e3", "-", "-", "-"]
    assert ingest(shop, march(3), places, landing=False, accept=("schema", "shrunk")).events == 4


def test_a_landed_event_that_arrives_late_opens_its_day_again(tmp_path: Path, places: Settings) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    landed(places, "2026-03-01T07:00:01Z", event(1, "u1", "y", "2026-03-01T07:00:00Z"))
    ingest(shop, march(1), places)
    landed(places, "2026-03-02T09:00:00Z", event(2, "u1", "y", "2026-03-01T23:00:00Z"))
    assert ingest(shop, march(2), places).reopened == {march(1): 1}
    assert seen(places, 1) == ["-", "-", "e1", "-", "-", "e2"]


def test_a_landed_event_waits_for_its_item(tmp_path: Path, places: Settings) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    landed(places, "2026-03-01T07:00:01Z", event(1, "u1", "w", "2026-03-01T07:00:00Z"))
    assert ingest(shop, march(1), places).events == 4
    items = pd.DataFrame({"item_id": list("wxyz"), "colour": ["grey", "red", "green", "blue"]})
    items.to_parquet(shop / "items.parquet", index=False)
    assert ingest(shop, march(2), places).reopened == {march(1): 1}
    assert seen(places, 1) == ["-", "-", "e1", "-", "-"]


def test_mostly_unknown_items_are_refused(tmp_path: Path, places: Settings) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    landed(places, "2026-03-01T07:00:01Z", *(
        event(n, "u1", "nowhere", f"2026-03-01T07:00:{n:02d}Z") for n in range(5)))
    with pytest.raises(DataError, match="unknown-items: 5 landed events are of items that the catalogue lacks"):
        ingest(shop, march(1), places)


def test_who_was_erased_does_not_come_into_the_lake_and_leaves_the_days_that_are_looked_at_again(
    tmp_path: Path, places: Settings
) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    landed(places, "2026-03-01T07:00:01Z", event(1, "gone", "y", "2026-03-01T07:00:00Z"),
           event(2, "gone", "y", "2026-03-01T09:00:00Z"), event(3, "stays", "y", "2026-03-01T10:00:00Z"))
    ingest(shop, march(1), places)
    assert seen(places, 1) == ["-", "-", "e1", "e2", "e3", "-", "-"]
    erasures = open_store(places.of_shop(SHOP)).erasures
    erasures.erase(["gone"], at=datetime(2026, 3, 1, 8, tzinfo=UTC), actor="tester", reason="request")
    # What the same name did after it was forgotten is of somebody who came anew.
    assert ingest(shop, march(2), places).reopened.keys() == {march(1)}
    assert seen(places, 1) == ["-", "-", "e2", "e3", "-", "-"]
    # The shop's own rows likewise.
    erasures.erase(["u1"], at=datetime(2026, 3, 4, tzinfo=UTC), actor="tester", reason="request")
    assert ingest(shop, march(3), places).reopened.keys() == {march(1), march(2)}
    assert "u1" not in set(pd.read_parquet(lake_of(places).path(lake_of(places).latest(march(3)).events))["user_id"])


def test_the_landing_alone_is_enough_beside_a_catalogue(tmp_path: Path, places: Settings) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    (shop / "events.parquet").unlink()
    landed(places, "2026-03-01T07:00:01Z", event(1, "u1", "y", "2026-03-01T07:00:00Z"))
    assert ingest(shop, march(1), places).events == 1
    assert ingest(shop, march(2), places).events == 0


def test_times_without_a_zone_stay_refused_beside_landed_ones(tmp_path: Path, places: Settings) -> None:
    events = log_of(3)
    shop = write_kiosk(tmp_path, events.assign(timestamp=events["timestamp"].dt.tz_localize(None)))
    landed(places, "2026-03-01T07:00:01Z", event(1, "u1", "y", "2026-03-01T07:00:00Z"))
    with pytest.raises(DataError, match="naive-time"):
        ingest(shop, march(1), places)
    spec = tmp_path / "utc.toml"
    spec.write_text('[events]\nnaive_times = "utc"\n')
    assert ingest(shop, march(1), places, spec=str(spec)).events == 5


def test_landed_events_take_the_names_of_the_shops_own(tmp_path: Path, places: Settings) -> None:
    events = log_of(3).rename(columns={"user_id": "customer", "timestamp": "bought at"}).drop(columns="event_type")
    shop = write_kiosk(tmp_path, events)
    (shop / "vitrine.toml").write_text('[columns.events]\nuser_id = "customer"\ntimestamp = "bought at"\n')
    landed(places, "2026-03-01T07:00:01Z", event(1, "u1", "y", "2026-03-01T07:00:00Z"))
    ingest(shop, march(1), places)
    record = lake_of(places).latest(march(1))
    assert record is not None
    rows = pd.read_parquet(lake_of(places).path(record.events))
    assert rows["user_id"].tolist() == ["u0", "u1", "u1", "u2", "u3"]
    # What had no type keeps the one that stands for none.
    assert rows["event_type"].tolist() == ["event", "event", "view", "event", "event"]
