"""The lake's records: a revision is put where there is none, and a window reads what was known at its end."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import CorruptArtifact, DataError, LakeConflict, SettingsError
from pipelines.lake import Lake, Partition, is_lake, midnight, spans, tables_of
from pipelines.shop_spec import ShopSpec
from pipelines.source import open_source


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.make(tmp_path / "kiosk", "kiosk")


def kept(lake: Lake, *values: str) -> str:
    """A file of the lake with one column of these values."""
    path = lake.folder.parent / "written.parquet"
    pq.write_table(pa.table({"item_id": list(values)}), path)
    return lake.keep(path)


def revision(lake: Lake, day: str, number: int, known: str, *values: str) -> Partition:
    return Partition(day=date.fromisoformat(day), revision=number, known_at=datetime.fromisoformat(known),
                     events=kept(lake, *values), items=kept(lake, "x"), users=None, rows=len(values), spec=ShopSpec(),
                     source="shop")


def test_a_folder_is_a_lake_by_its_marker_and_is_made_once(tmp_path: Path, lake: Lake) -> None:
    assert is_lake(lake.folder) and not is_lake(tmp_path) and not is_lake("postgres://db/shop")
    assert json.loads((lake.folder / "lake.json").read_text()) == {"format": 1, "shop": "kiosk"}
    assert Lake.make(lake.folder, "another").days() == []
    assert json.loads((lake.folder / "lake.json").read_text())["shop"] == "kiosk"


def test_a_lake_of_another_format_is_refused(lake: Lake) -> None:
    (lake.folder / "lake.json").write_text('{"format": 2, "shop": "kiosk"}')
    with pytest.raises(SettingsError, match="format 2, and this version reads format 1"):
        Lake(lake.folder)


def test_the_same_revision_again_is_the_same_and_another_one_is_a_conflict(lake: Lake) -> None:
    first = revision(lake, "2026-03-01", 1, "2026-03-02T00:00:00Z", "a")
    assert lake.publish(first) == first
    assert lake.publish(first.model_copy(update={"actor": "a retry"})) == first
    with pytest.raises(LakeConflict, match=r"was to become revision 1, and there is revision 1 of cli"):
        lake.publish(revision(lake, "2026-03-01", 1, "2026-03-02T00:00:00Z", "b"))
    with pytest.raises(LakeConflict, match="was to become revision 3"):
        lake.publish(revision(lake, "2026-03-01", 3, "2026-03-02T00:00:00Z", "b"))
    assert lake.publish(revision(lake, "2026-03-01", 2, "2026-03-02T00:00:00Z", "b")).revision == 2
    # The stale first try wakes up: what it has was overtaken.
    with pytest.raises(LakeConflict):
        lake.publish(first)


def test_a_window_reads_what_was_known_at_its_end(lake: Lake) -> None:
    lake.publish(revision(lake, "2026-03-01", 1, "2026-03-02T00:00:00Z", "a"))
    lake.publish(revision(lake, "2026-03-02", 1, "2026-03-03T00:00:00Z", "b"))
    lake.publish(revision(lake, "2026-03-01", 2, "2026-03-03T00:00:00Z", "a", "late"))
    counted = {moment: [(one.day.day, one.revision) for one in lake.partitions(datetime.fromisoformat(moment))]
               for moment in ("2026-03-02T00:00:00Z", "2026-03-02T23:59:59Z", "2026-03-03T00:00:00Z")}
    assert counted == {"2026-03-02T00:00:00Z": [(1, 1)], "2026-03-02T23:59:59Z": [(1, 1)],
                       "2026-03-03T00:00:00Z": [(1, 2), (2, 1)]}
    assert [one.rows for one in lake.partitions()] == [2, 1]


def test_days_that_are_missing_are_named_with_the_remedy(lake: Lake) -> None:
    with pytest.raises(DataError, match="no day that was published"):
        lake.partitions()
    for day, known in (("2026-03-01", "2026-03-02"), ("2026-03-05", "2026-03-06")):
        lake.publish(revision(lake, day, 1, f"{known}T00:00:00Z", day))
    with pytest.raises(DataError, match=r"lacks 3 of the days.*2026-03-02 to 2026-03-04 \(3 days\).*--from 2026-03-02"):
        lake.partitions()
    assert len(lake.partitions(datetime(2026, 3, 2, 23, tzinfo=UTC))) == 1
    # The end counts too: a retrain as of the 3rd needs the 2nd.
    with pytest.raises(DataError, match=r"lacks 1 of the days from 2026-03-01 to before 2026-03-03.*: 2026-03-02; "):
        lake.partitions(datetime(2026, 3, 3, 3, tzinfo=UTC))


def test_what_is_damaged_is_named(lake: Lake) -> None:
    published = lake.publish(revision(lake, "2026-03-01", 1, "2026-03-02T00:00:00Z", "a"))
    lake.path(published.events).write_bytes(lake.path(published.items).read_bytes())
    with open_source(str(lake.folder)) as opened, pytest.raises(CorruptArtifact, match=published.events):
        opened.fingerprint()
    lake.path(published.events).unlink()
    with pytest.raises(CorruptArtifact, match="is gone, and a published day names it"):
        tables_of(lake.folder, None)
    (lake.folder / "days/2026-03-01/00000001.json").write_text('{"day": "2026-03-01"}')
    with pytest.raises(CorruptArtifact, match=r"00000001.json is no record of a day"):
        lake.days() and lake.latest(date(2026, 3, 1))


def test_days_are_said_as_people_write_them() -> None:
    assert spans(date(2026, 3, day) for day in (1, 2, 3, 7, 9, 10)) == (
        "2026-03-01 to 2026-03-03 (3 days), 2026-03-07, 2026-03-09 to 2026-03-10 (2 days)")
    assert midnight(date(2026, 3, 1)) == datetime(2026, 3, 1, tzinfo=UTC)
