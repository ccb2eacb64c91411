"""The reckoning of what lies around tasks, on tasks whose times are written out."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.installation import StackError
from stack.overhead import Timed, own_seconds, report, timed

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def ended(task: str, seconds: float) -> dict[str, str]:
    return {"task_id": task, "end_date": (BEGAN + timedelta(seconds=seconds)).isoformat()}


def test_around_a_task_lies_all_but_its_stage_since_the_end_of_the_one_before() -> None:
    tasks = [ended("train", 30.0), ended("ingest", 5.0)]
    tasks.append(ended("approve", 7.0))  # no stage
    assert timed(BEGAN, tasks, {"ingest": 3.5, "train": 22.0}) == [
        Timed("ingest", 3.5, 1.5), Timed("approve", 0.0, 2.0), Timed("train", 22.0, 1.0)]


def test_the_log_of_a_task_says_how_long_its_stage_took(tmp_path: Path) -> None:
    log = tmp_path / "attempt=1.log"
    log.write_text("\n".join(json.dumps({"event": event}) for event in (
        "train with 3 members", "train, 24.3 s: digest 0123, epochs 4", "promote, 9.0 s: later")) + "\n")
    assert own_seconds(log) == ("train", 24.3)
    log.write_text(json.dumps({"event": "Done. Returned value was: None"}) + "\n")
    with pytest.raises(StackError, match="does not say how long"):
        own_seconds(log)


def test_the_report_adds_up() -> None:
    said = report([Timed("ingest", 3.5, 1.5), Timed("train", 24.0, 1.0)], 30.0, 25.0)
    assert "| all | 27.5 | 2.5 (8.3% of the run) |" in said
    assert "From the trigger to the end 30 s; in one process, with its start, 25 s: +20.0%." in said
