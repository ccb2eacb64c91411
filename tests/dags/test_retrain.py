"""The wiring of the DAG: what runs after what, and with which care. Nothing here starts Airflow."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHAIN = ["ingest", "features", "train", "evaluate", "register", "index", "gate", "promote"]


@pytest.fixture(scope="module")
def dag(bag: dict[str, Any]) -> dict[str, Any]:
    return dict(bag["dags"]["retrain"])


def test_all_dags_import_and_none_loads_what_takes_seconds(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    assert bag["loaded"] == []


def test_the_chain_is_the_one_of_the_stages(dag: dict[str, Any]) -> None:
    expected = {stage: CHAIN[place - 1 : place] if place else [] for place, stage in enumerate(CHAIN)}
    expected |= {"approve": ["gate"], "promote": ["approve", "gate"]}
    assert {name: task["upstream"] for name, task in dag["tasks"].items()} == expected


def test_every_path_to_a_promotion_goes_through_the_gate(bag: dict[str, Any]) -> None:
    """Walks backwards from promote, never through gate: no task may be reached but promote itself."""
    for name, dag in bag["dags"].items():
        if "promote" not in dag["tasks"]:
            continue
        reached, open_ends = set(), ["promote"]
        while open_ends:
            task = open_ends.pop()
            reached.add(task)
            open_ends += [before for before in dag["tasks"][task]["upstream"] if before != "gate"]
        assert reached <= {"promote", "approve"}, name
        # A skipped or failed gate must never let a promotion run.
        assert dag["tasks"]["promote"]["rule"] == "all_success"


def test_every_task_is_retried_with_growing_pauses_and_ends_some_day(dag: dict[str, Any]) -> None:
    for name, task in dag["tasks"].items():
        assert task["retries"] >= 2, name
        assert task["backoff"] > 1, name
        assert task["timeout"] > 0, name
        assert task["owner"] == "recommendations", name


def test_only_the_training_waits_for_the_one_slot_of_its_pool(dag: dict[str, Any]) -> None:
    assert {name for name, task in dag["tasks"].items() if task["pool"] == "training"} == {"train"}


def test_only_the_training_goes_to_the_workers_for_trainings(dag: dict[str, Any]) -> None:
    assert {name: task["queue"] for name, task in dag["tasks"].items() if task["queue"] != "default"} == {
        "train": "training"}


def test_weeks_have_explicit_intervals_and_are_not_caught_up(dag: dict[str, Any]) -> None:
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_the_form_is_typed_and_complete(dag: dict[str, Any]) -> None:
    types = {name: schema["type"] for name, schema in dag["params"].items()}
    assert types == {
        "data": ["null", "string"], "as_of": ["null", "string"], "window_days": ["null", "integer"],
        "epochs": ["null", "integer"], "spec": ["null", "string"], "settings": ["null", "object"],
        "dry_run": "boolean", "replay": "boolean", "reason": "string", "approval": "boolean",
        "approval_hours": "integer",
    }
    assert dag["params"]["as_of"]["format"] == "date-time"
    assert dag["defaults"]["data"] == "/shop"
    assert (dag["defaults"]["dry_run"], dag["defaults"]["approval"]) == (False, False)


def test_the_operators_manual_answers_what_an_operator_asks(dag: dict[str, Any]) -> None:
    for word in ("When it runs", "Parameters", "How it ends", "Race conditions", "How to resume", *CHAIN):
        assert f"**{word}" in dag["doc"]
    for name in dag["params"]:
        assert name == "reason" or f"`{name}`" in dag["doc"]
    assert dag["tags"] == ["recommendations", "vitrine"]


def test_stages_that_have_a_run_in_mlflow_link_to_it(dag: dict[str, Any]) -> None:
    linked = {name: task["links"] for name, task in dag["tasks"].items() if task["links"]}
    run, verdict = "Open in MLflow", "Verdict"
    assert linked == {"register": [run], "index": [run], "gate": [run, verdict], "promote": [run, verdict]}


LINKS = """
import json
from plugins.mlflow_links import MlflowRunLink, VerdictLink

class Task:
    task_id = "gate"

class Key:
    def __init__(self, result): self.result = result
    def xcom_pull(self, task_ids): return self.result

registered = {"experiment_id": "7", "run_id": "abc", "path": "/x"}
verdict = {"accepted": True, "sealed": {"kind": "exact", "registered": registered}}
print(json.dumps([link().get_link(Task(), ti_key=Key(result))
                  for result in (verdict, {"events": 1}, None) for link in (MlflowRunLink, VerdictLink)]))
"""


@pytest.mark.parametrize(("places", "run"), [
    ({"MLFLOW_TRACKING_URI": "http://mlflow:5000"}, "http://mlflow:5000/#/experiments/7/runs/abc"),
    ({"MLFLOW_TRACKING_URI": "sqlite:///nowhere.db"}, ""),
    # Where people come by another door than programs.
    ({"MLFLOW_TRACKING_URI": "http://mlflow:5000", "VITRINE_MLFLOW_PAGES": "https://mlflow.shop.example/"},
     "https://mlflow.shop.example/#/experiments/7/runs/abc"),
])
def test_links_name_the_run_and_the_verdict_in_it(
    repository: Path, tmp_path: Path, places: dict[str, str], run: str
) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository), **places}
    answer = subprocess.run([sys.executable, "-c", LINKS], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    # A task that failed before there was a run, or a store without pages, has no link.
    verdict = run and f"{run}/artifacts/verdict.html"
    assert json.loads(answer.stdout.splitlines()[-1]) == [run, verdict, "", "", "", ""]


# In a process of its own: Airflow takes over whoever imports it.
ASKED = """
import json, sys
from types import SimpleNamespace
from airflow.sdk.exceptions import AirflowFailException
from plugins.stage_task import StageTask, retrain_params

run = SimpleNamespace(triggering_user_name="ada", run_type=SimpleNamespace(value="manual"), dag_id="retrain",
                      run_id="r")
said = []
for settings in json.loads(sys.argv[1]):
    form = {"params": {"data": "/nowhere", "as_of": "2026-01-25T00:00:00+00:00", "reason": "tried", "window_days": None,
                       "settings": settings}, "dag_run": run}
    try:
        StageTask(stage="ingest", minutes=1).execute(form)
    except AirflowFailException as error:
        said.append([dict(retrain_params(form).settings), str(error)])
print(json.dumps(said))
"""


def test_settings_of_the_form_are_checked_before_anything_is_done(repository: Path, tmp_path: Path) -> None:
    cases: list[Any] = [None, {"train": {"members": 1}}, {"train": {"members": 0}}, {"tower": {"members": 1}}]
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository),
                                "VITRINE_HOME": str(tmp_path / "vitrine")}
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", ASKED, json.dumps(cases)], env=environment,
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout.splitlines()[-1])
    assert [settings for settings, _ in said] == [{}, *cases[1:]]
    # With what is allowed it is the folder that is missing.
    expected = "/nowhere", "/nowhere", "train.members = 0", "tower has no settings"
    assert [told for (_, found), told in zip(said, expected, strict=True) if told not in found] == []
