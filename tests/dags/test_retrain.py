"""The wiring of the DAG: what runs after what, and with which care. Nothing here starts Airflow."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHAIN = ["ingest", "features", "train", "evaluate", "register", "index", "gate", "promote"]
# Runs in a process of its own: Airflow reads its settings when it is imported, and must not read ours.
PARSE = """
import json, sys, time
import airflow.sdk, airflow.dag_processing.dagbag, airflow.providers_manager
began = time.process_time()
bag = airflow.dag_processing.dagbag.DagBag(dag_folder=sys.argv[1])
seconds = time.process_time() - began
heavy = ("tensorflow", "tensorflow_recommenders", "tf_keras", "scann", "mlflow", "pandas", "pyarrow")
loaded = [name for name in heavy if name in sys.modules]
dags = {}
for dag in bag.dags.values():
    interval = dag.timetable
    dags[dag.dag_id] = {
        "catchup": dag.catchup, "max_active_runs": dag.max_active_runs, "doc": dag.doc_md, "tags": sorted(dag.tags),
        "timetable": type(interval).__name__, "params": {k: dag.params.get_param(k).schema for k in dag.params},
        "defaults": {k: dag.params[k] for k in dag.params},
        "tasks": {t.task_id: {
            "upstream": sorted(t.upstream_task_ids), "retries": t.retries, "owner": t.owner, "pool": t.pool,
            "backoff": t.retry_exponential_backoff, "delay": t.retry_delay.total_seconds(),
            "timeout": t.execution_timeout and t.execution_timeout.total_seconds(), "rule": t.trigger_rule.value,
            "links": [link.name for link in t.operator_extra_links],
        } for t in dag.tasks},
    }
print(json.dumps({"errors": bag.import_errors, "loaded": loaded, "seconds": seconds, "dags": dags}))
"""


@pytest.fixture(scope="module")
def bag(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's own parser finds in dags/."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE"))}
    environment |= {
        "AIRFLOW_HOME": str(home), "PYTHONPATH": str(repository), "VITRINE_SOURCE": "/shop",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PLUGINS_FOLDER": str(repository / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'unused.db'}",
    }
    answer = subprocess.run([sys.executable, "-c", PARSE, str(repository / "dags")], env=environment,
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def dag(bag: dict[str, Any]) -> dict[str, Any]:
    return dict(bag["dags"]["retrain"])


def test_all_dags_import_and_none_loads_what_takes_seconds(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    assert bag["loaded"] == []


def test_the_chain_is_the_one_of_the_stages(dag: dict[str, Any]) -> None:
    expected = {stage: CHAIN[place - 1 : place] if place else [] for place, stage in enumerate(CHAIN)}
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
        assert reached == {"promote"}, name
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


def test_weeks_have_explicit_intervals_and_are_not_caught_up(dag: dict[str, Any]) -> None:
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_the_form_is_typed_and_complete(dag: dict[str, Any]) -> None:
    types = {name: schema["type"] for name, schema in dag["params"].items()}
    assert types == {
        "data": ["null", "string"], "as_of": ["null", "string"], "window_days": ["null", "integer"],
        "epochs": ["null", "integer"], "spec": ["null", "string"], "dry_run": "boolean", "reason": "string",
    }
    assert dag["params"]["as_of"]["format"] == "date-time"
    assert dag["defaults"]["data"] == "/shop"
    assert dag["defaults"]["dry_run"] is False


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


@pytest.mark.parametrize(("uri", "run"), [
    ("http://mlflow:5000", "http://mlflow:5000/#/experiments/7/runs/abc"), ("sqlite:///nowhere.db", "")])
def test_links_name_the_run_and_the_verdict_in_it(repository: Path, tmp_path: Path, uri: str, run: str) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri,
                                "PYTHONPATH": str(repository)}
    answer = subprocess.run([sys.executable, "-c", LINKS], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    # A task that failed before there was a run, or a store without pages, has no link.
    verdict = run and f"{run}/artifacts/verdict.html"
    assert json.loads(answer.stdout.splitlines()[-1]) == [run, verdict, "", "", "", ""]

