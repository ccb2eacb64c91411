"""The form of a rollback: nothing happens unless the dry run is switched off, and never without a reason."""

from typing import Any


def test_it_is_one_task_that_nobody_but_a_person_starts(bag: dict[str, Any]) -> None:
    dag = bag["dags"]["rollback"]
    assert list(dag["tasks"]) == ["rollback"]
    assert (dag["timetable"], dag["catchup"], dag["max_active_runs"]) == ("NullTimetable", False, 1)
    # Tried again it would go back once more.
    assert dag["tasks"]["rollback"]["retries"] == 0


def test_the_form_asks_for_a_reason_and_is_a_dry_run_by_default(bag: dict[str, Any]) -> None:
    dag = bag["dags"]["rollback"]
    assert {name: schema["type"] for name, schema in dag["params"].items()} == {
        "to": ["null", "integer"], "reason": "string", "shop": ["null", "string"], "dry_run": "boolean"}
    assert dag["params"]["reason"]["minLength"] == 1
    assert dag["defaults"]["dry_run"] is True and not dag["defaults"]["reason"]
    for word in ("When it runs", "Parameters", "How it ends", "Race conditions", "How to resume"):
        assert f"**{word}" in dag["doc"]
