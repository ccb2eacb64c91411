"""What `make run` reads out of Airflow's logs."""

import json
from pathlib import Path

import pytest

from stack.follow import LogTail, failed_task, readable
from stack.installation import StackError


def line(event: str, logger: str = "vitrine", level: str = "info") -> str:
    return json.dumps({"event": event, "logger": logger, "level": level}) + "\n"


def test_only_vitrines_own_lines_are_shown_and_warnings_say_so() -> None:
    assert readable(line("epoch 1 of 3").encode()) == "epoch 1 of 3"
    assert readable(line("recall is low", "vitrine.gate", "warning").encode()) == "warning: recall is low"
    assert readable(line("Filling up the DagBag", "airflow.dag_processing").encode()) == ""
    assert readable(b"Segmentation fault") == ""


def test_a_tail_gives_whole_lines_and_each_once(tmp_path: Path) -> None:
    log = tmp_path / "attempt=1.log"
    tail = LogTail(log)
    assert tail.lines() == []
    whole, half = line("one"), line("two")
    log.write_text(whole + half[:10], encoding="utf-8")
    assert tail.lines() == ["one"]
    log.write_text(whole + half + line("three"), encoding="utf-8")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


def test_the_failed_task_is_the_one_that_failed_not_those_that_waited_for_it() -> None:
    tasks = {"ingest": {"state": "success"}, "train": {"state": "failed"}, "gate": {"state": "upstream_failed"}}
    assert failed_task(tasks) is tasks["train"]
    with pytest.raises(StackError, match="ingest success"):
        failed_task({"ingest": {"state": "success"}})
