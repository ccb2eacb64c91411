"""The lake under SIGKILL: a killed backfill goes on, and at whatever moment a publication dies, no day is half."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.artifacts import file_digest
from pipelines.contracts import Audited, Origin
from pipelines.lake import Lake
from pipelines.lake_ingest import publish
from pipelines.lake_steps import IngestParams, run_step
from pipelines.settings import Settings
from tests.faults.kills import forked
from tests.lake_world import FIRST, PER_DAY, ingest, installation, lake_of, log_of, march, numbers_of, write_kiosk

DAYS = 30
CALLS = ("fsync", "link", "replace", "unlink", "open")  # of os: every step by which a publication touches the disk


def backfill(shop: Path, places: Settings) -> "subprocess.Popen[str]":
    """Thirty days by the command that people use."""
    command = ["lake", "ingest", "--data", str(shop), "--from", str(FIRST), "--to", str(march(DAYS))]
    environment = {**os.environ, "VITRINE_HOME": str(places.home), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "pipelines.cli", *command], env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_at(process: "subprocess.Popen[str]", places: Settings, days: int) -> None:
    """Kill the backfill once so many days are published: it is amid a later one then."""
    folder = places.lake_of("kiosk") / "days"
    while not (folder.is_dir() and len(list(folder.iterdir())) >= days):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()


def test_a_backfill_of_thirty_days_killed_twice_gives_thirty_right_partitions(tmp_path: Path) -> None:
    shop, places = write_kiosk(tmp_path, log_of(DAYS + 2)), installation(tmp_path / "home")
    for days in (4, 17):
        kill_at(backfill(shop, places), places, days)
        # What readers see meanwhile is whole days.
        assert {one.rows for one in lake_of(places).partitions()} == {PER_DAY}
    last = backfill(shop, places)
    said, errors = last.communicate()
    assert last.returncode == 0, errors
    lake = lake_of(places)
    assert lake.days() == [march(day) for day in range(1, DAYS + 1)]
    assert [one.revision for one in lake.partitions()] == [1] * DAYS
    assert [n for day in lake.days() for n in numbers_of(lake, day)] == list(range(DAYS * PER_DAY))
    assert said.count("revision 1") == DAYS


class _Death:
    """Ends this process by SIGKILL just before, or just after, the n-th of the calls that touch the disk."""

    def __init__(self, at: int, is_after: bool) -> None:
        self.left, self.is_after = at, is_after
        for name in CALLS:
            setattr(os, name, self._dying(getattr(os, name)))

    def _dying(self, call):  # type: ignore[no-untyped-def]
        def dying(*arguments, **named):  # type: ignore[no-untyped-def]
            self.left -= 1
            if self.left == 0 and not self.is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*arguments, **named)
            finally:
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        return dying


def killed_publication(audited: Audited, at: int, is_after: bool) -> bool:
    """Publish in a child that dies at its `at`-th call; whether it died before it had finished."""
    def work() -> None:
        _Death(at, is_after)
        publish(audited, Origin())

    _, status = os.waitpid(forked(work), 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != 0


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """The third day, written aside and let through, with the second to be opened again for a late event."""
    whole, places = log_of(3), installation(tmp_path / "home")
    shop = write_kiosk(tmp_path, whole[whole["number"] != 5])
    for day in (1, 2):
        ingest(shop, march(day), places)
    write_kiosk(tmp_path, whole)
    contract = None
    for step in ("land", "audit"):
        contract = run_step(step, contract, IngestParams(source=str(shop), day=march(3)), Origin(), places)
    return Audited.model_validate(contract)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("is_after", [False, True])
def test_a_publication_that_dies_at_any_step_leaves_whole_days_and_ends_right_when_run_again(
    audited: Audited, tmp_path: Path, is_after: bool
) -> None:
    at, died = 0, True
    while died:
        at += 1
        folder = tmp_path / f"lake{at}"
        shutil.copytree(audited.landed.lake, folder)
        moved = audited.model_copy(update={"landed": audited.landed.model_copy(update={"lake": str(folder)})})
        died, lake = killed_publication(moved, at, is_after), Lake(folder)
        # Day 2 as it was or opened again, day 3 there or not, and never a record whose files are not whole.
        found = {one.day.day: one for one in lake.partitions()}
        assert [(day, one.rows) for day, one in found.items()] in (
            [(1, 4), (2, 3)], [(1, 4), (2, 4)], [(1, 4), (2, 4), (3, 4)])
        for name in {name for one in found.values() for name in (one.events, one.items)}:
            assert file_digest(lake.path(name)) == Path(name).stem
        publish(moved, Origin())
        assert [(one.day, one.revision, one.rows) for one in lake.partitions()] == [
            (march(1), 1, 4), (march(2), 2, 4), (march(3), 1, 4)]
    assert at > 20  # the steps were really met
