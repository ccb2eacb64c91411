"""The wiring of a backtest: a mapped task a day, which train one after the other, and one report of all."""

from typing import Any

import pytest


@pytest.fixture
def dag(bag: dict[str, Any]) -> dict[str, Any]:
    return dict(bag["dags"]["backtest"])


def test_days_are_mapped_and_reported_together(dag: dict[str, Any]) -> None:
    assert {name: task["upstream"] for name, task in dag["tasks"].items()} == {
        "cutoffs": [], "cutoff": ["cutoffs"], "report": ["cutoff"]}
    assert {name for name, task in dag["tasks"].items() if task["is_mapped"]} == {"cutoff"}
    assert {name for name, task in dag["tasks"].items() if task["pool"] == "training"} == {"cutoff"}


def test_nobody_but_a_person_starts_it_and_every_task_ends_some_day(dag: dict[str, Any]) -> None:
    assert (dag["timetable"], dag["max_active_runs"]) == ("NullTimetable", 1)
    for name, task in dag["tasks"].items():
        assert task["retries"] >= 2 and task["backoff"] > 1 and task["timeout"] > 0, name


def test_the_operators_manual_names_steps_and_parameters(dag: dict[str, Any]) -> None:
    for word in ("When it runs", "Parameters", "How it ends", "Race conditions", "How to resume", *dag["tasks"]):
        assert f"**{word}" in dag["doc"]
    for name in dag["params"]:
        assert f"`{name}`" in dag["doc"]
