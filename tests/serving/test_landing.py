"""What was acknowledged reaches ingest, whoever dies; what was not leaves no half row."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from serving import landing
from serving.landing import LandingFolder, LandingUnavailable
from serving.sessions.contract import Event, Merge

DAY_S = 86_400.0
NOON = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def event(number: int) -> Event:
    return Event(f"e{number}", "u", f"i{number}", "view", 1_800_000_000_000_000 + number)


def sealed(folder: Path, table: str = "events") -> list[str]:
    """Ids of what a reader sees, in the order of the files' names."""
    files = sorted(str(path) for path in (folder / table).rglob("[!.]*.parquet"))
    return ds.dataset(files, format="parquet").to_table().column(0).to_pylist() if files else []


def test_a_seal_makes_a_partition_of_the_day(tmp_path: Path) -> None:
    clock = [NOON]
    folder = LandingFolder(tmp_path, seal_after_s=60, clock=lambda: clock[0])
    folder.add_events([event(1), event(2)])
    assert sealed(tmp_path) == []
    clock[0] += 61
    folder.add_events([event(3)])
    assert sealed(tmp_path) == ["e1", "e2", "e3"]
    clock[0] += DAY_S
    folder.add_events([event(4)])
    folder.seal()
    folder.seal()  # nothing more to do
    assert sorted(path.name for path in (tmp_path / "events").iterdir()) == ["day=2027-01-15", "day=2027-01-16"]
    table = ds.dataset(str(tmp_path / "events"), format="parquet", partitioning=None).to_table()
    assert table.schema.names == ["event_id", "user_id", "item_id", "timestamp", "event_type"]
    assert str(table.schema.field("timestamp").type) == "timestamp[us, tz=UTC]"
    assert table.column("timestamp").cast("int64").to_pylist()[0] == event(1).time_us


def test_merges_are_laid_down_too(tmp_path: Path) -> None:
    folder = LandingFolder(tmp_path)
    folder.add_merge(Merge("m", "session", "customer", 5))
    folder.add_merge(Merge("m", "session", "customer", 5, 7))
    folder.seal()
    merges = ds.dataset(str(tmp_path / "merges"), format="parquet", partitioning=None).to_table().to_pylist()
    assert [(row["alias"], row["user_id"], row["undone_at"] is None) for row in merges] == [
        ("session", "customer", True), ("session", "customer", False)]


CHILD = """
import sys, time
from pathlib import Path
from serving.landing import LandingFolder
from serving.sessions.contract import Event
folder = LandingFolder(Path(sys.argv[1]))
number = 0
while True:
    folder.add_events([Event(f"e{number}", "u", "i", "view", number)])
    print(number, flush=True)
    number += 1
"""


def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository) as child:
        assert child.stdout is not None
        for _ in range(25):
            child.stdout.readline()
        living = LandingFolder(tmp_path)  # leaves the journal of a living process alone
        assert sealed(tmp_path) == []
        os.kill(child.pid, signal.SIGKILL)
        acknowledged = 25 + len(child.stdout.read().splitlines())
    living.seal()
    found = {name for _ in range(2) for name in (LandingFolder(tmp_path), sealed(tmp_path))[1]}  # twice is once
    assert {f"e{number}" for number in range(acknowledged)} <= found
    assert len(sealed(tmp_path)) == len(found) <= acknowledged + 1
    assert not list((tmp_path / "events").glob(".live-*"))


def test_a_torn_last_line_is_no_row(tmp_path: Path) -> None:
    LandingFolder(tmp_path)
    left = tmp_path / "events" / ".live-2027-01-15T080000000000-abc.jsonl"
    left.write_bytes(b'{"event_id": "e1", "user_id": "u", "item_id": "i", "timestamp": 1, "event_type": "view"}\n{"eve')
    LandingFolder(tmp_path)
    assert sealed(tmp_path) == ["e1"]
    assert [path.name for path in (tmp_path / "events" / "day=2027-01-15").iterdir()] == [
        "live-2027-01-15T080000000000-abc.parquet"]


def test_a_full_disk_takes_the_row_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LandingFolder(tmp_path)
    folder.add_events([event(1)])
    real = os.fdatasync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(landing.os, "fdatasync", full)
    with pytest.raises(LandingUnavailable, match=r"No space left.*free space"):
        folder.add_events([event(2)])
    monkeypatch.setattr(landing.os, "fdatasync", real)
    folder.add_events([event(3)])
    folder.seal()
    assert sealed(tmp_path) == ["e1", "e3"]
