"""Erased people leave the landing folder: what is sealed, what is about to be, and nothing else with them."""

import threading
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from serving import landing_sweep
from serving.erased import Erased
from serving.experiments.exposure import Exposure
from serving.landing import LandingFolder, LandingUnavailable
from serving.landing_sweep import SWEPT, keep_swept, sweep
from serving.sessions.contract import Event, Merge

TIME = 1_800_000_000_000_000
CLOCK = [1_800_000_000.0]


def event(user: str, number: int) -> Event:
    return Event(f"e-{number}", user, f"i{number}", "view", TIME + number)


def rows(folder: Path, table: str = "events") -> list[tuple[str, str]]:
    files = sorted(str(path) for path in (folder / table).rglob("[!.]*.parquet"))
    found = ds.dataset(files, format="parquet").to_table().to_pylist() if files else []
    return [(row["user_id"], row.get("item_id") or row["alias"]) for row in found]


def laid_down(folder: Path) -> LandingFolder:
    """Two files of events, the second one of `gone` alone, and one of merges."""
    landing = LandingFolder(folder)
    landing.add_events([event("gone", 1), event("stays", 2), event("gone", 3)])
    landing.add_merge(Merge("m1", "session", "gone", TIME))
    landing.add_merge(Merge("m2", "gone", "other", TIME))
    landing.add_merge(Merge("m3", "guest", "stays", TIME))
    landing.seal()
    landing.add_events([event("gone", 4)])
    landing.seal()
    return landing


def is_gone(user: str, _: int) -> bool:
    return user == "gone"


def test_rows_go_and_empty_files_with_them(tmp_path: Path) -> None:
    laid_down(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = sweep(tmp_path, is_gone, is_dry=True)
    assert (found.files, found.rows, found.newest_us, found.in_journals) == (3, 5, TIME + 4, 0)
    assert sorted(tmp_path.rglob("*")) == before  # a dry run makes no file either
    assert sweep(tmp_path, is_gone, is_dry=False).rows == 5
    assert rows(tmp_path) == [("stays", "i2")] and rows(tmp_path, "merges") == [("stays", "guest")]
    assert len(list(tmp_path.rglob("live-*.parquet"))) == 2
    assert not any(b"gone" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert sweep(tmp_path, is_gone, is_dry=False).rows == 0
    assert sweep(tmp_path / "none", is_gone, is_dry=False).files == 0 and not (tmp_path / "none").exists()


def test_a_journal_is_sealed_without_them(tmp_path: Path) -> None:
    gone = set[str]()
    landing = LandingFolder(tmp_path, drop=lambda user, time_us: user in gone and time_us <= TIME + 2)
    landing.add_events([event("gone", 1), event("stays", 2), event("gone", 3)])
    assert sweep(tmp_path, is_gone, is_dry=False).in_journals == 2  # counted, and its process's own to seal
    gone.add("gone")
    landing.seal()
    assert rows(tmp_path) == [("stays", "i2"), ("gone", "i3")]  # who came back is somebody new
    landing.add_events([event("gone", 1)])
    landing.seal()
    assert not list(tmp_path.rglob("*.jsonl")) and len(rows(tmp_path)) == 2


def test_exposures_of_experiments_go_too(tmp_path: Path) -> None:
    landing = LandingFolder(tmp_path)
    for user in ("gone", "stays"):
        landing.add_exposure(Exposure(experiment="x", version=1, variant="a", user_id=user, time_us=TIME, release=7,
                                      item_ids=("i1",)))
    landing.seal()
    assert sweep(tmp_path, is_gone, is_dry=False).rows == 1
    files = [str(path) for path in tmp_path.glob("exposures/*/live-*.parquet")]
    assert ds.dataset(files, format="parquet").to_table().column("user_id").to_pylist() == ["stays"]


def test_a_folder_is_swept_once_for_each_erasure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_down(tmp_path)

    class Two(Erased):
        number = 2

        def covers(self, user_id: str, time_us: int) -> bool:
            return is_gone(user_id, time_us)

    keep_swept(tmp_path, Two())
    assert rows(tmp_path) == [("stays", "i2")] and (tmp_path / SWEPT).read_text() == "2"
    monkeypatch.setattr(landing_sweep, "_sweep", lambda *_, **__: pytest.fail("it was swept for these already"))
    keep_swept(tmp_path, Two())


def test_two_at_once_bring_nothing_back(tmp_path: Path) -> None:
    landing = LandingFolder(tmp_path)
    people = [f"u{number}" for number in range(6)]
    for _ in range(4):
        landing.add_events([event(user, 1) for user in [*people, "stays"]])
        landing.seal()
    threads = [threading.Thread(target=sweep, args=(tmp_path, lambda user, _, own=own: user == own),
                                kwargs={"is_dry": False}) for own in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(tmp_path) == [("stays", "i1")] * 4


def test_killed_over_a_file_it_leaves_the_old_one_and_the_next_sweep_tidies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_down(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(landing_sweep.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(LandingUnavailable, match=r"No space left.*then do it again"):
            sweep(tmp_path, is_gone, is_dry=False)
    assert len(rows(tmp_path)) == 4 and list(tmp_path.rglob(".*.beside"))
    sweep(tmp_path, is_gone, is_dry=False)
    assert rows(tmp_path) == [("stays", "i2")] and not list(tmp_path.rglob(".*.beside"))
