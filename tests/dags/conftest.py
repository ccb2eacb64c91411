"""What Airflow's own parser finds in dags/."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Runs in a process of its own: Airflow reads its settings when it is imported, and must not read ours.
PARSE = """
import json, sys, time
import airflow.sdk, airflow.dag_processing.dagbag, airflow.providers_manager
began = time.process_time()
bag = airflow.dag_processing.dagbag.DagBag(dag_folder=sys.argv[1])
seconds = time.process_time() - began
heavy = ("tensorflow", "tensorflow_recommenders", "tf_keras", "scann", "mlflow", "pandas", "pyarrow")
loaded = [name for name in heavy if name in sys.modules]
def names_of(awaited):
    inner = getattr(awaited, "objects", [])
    return [awaited.name] if hasattr(awaited, "name") else sorted(name for one in inner for name in names_of(one))
dags = {}
for dag in bag.dags.values():
    interval = dag.timetable
    dags[dag.dag_id] = {
        "catchup": dag.catchup, "max_active_runs": dag.max_active_runs, "doc": dag.doc_md, "tags": sorted(dag.tags),
        "timetable": type(interval).__name__, "params": {k: dag.params.get_param(k).schema for k in dag.params},
        "defaults": {k: dag.params.get_param(k).value for k in dag.params},
        "awaits": names_of(getattr(interval, "asset_condition", None)),
        "told": [k for k in dag.params if dag.params.get_param(k).description],
        "tasks": {t.task_id: {
            "upstream": sorted(t.upstream_task_ids), "retries": t.retries, "owner": t.owner, "pool": t.pool,
            "queue": t.queue,
            "backoff": t.retry_exponential_backoff, "delay": t.retry_delay.total_seconds(),
            "timeout": t.execution_timeout and t.execution_timeout.total_seconds(), "rule": t.trigger_rule.value,
            "is_mapped": t.is_mapped, "outlets": [outlet.name for outlet in t.outlets],
            "inlets": [inlet.name for inlet in t.inlets],
            "notices": [type(one).__name__ for one in (*t.on_failure_callback, *t.on_skipped_callback)],
            "links": [link.name for link in t.operator_extra_links],
        } for t in dag.tasks},
    }
print(json.dumps({"errors": bag.import_errors, "loaded": loaded, "seconds": seconds, "dags": dags}))
"""


@pytest.fixture(scope="session")
def bag(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's own parser finds in dags/."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE"))}
    environment |= {
        "AIRFLOW_HOME": str(home), "PYTHONPATH": str(repository), "VITRINE_SOURCE": "/shop", "VITRINE_INGEST": "/log",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PLUGINS_FOLDER": str(repository / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'unused.db'}",
    }
    answer = subprocess.run([sys.executable, "-c", PARSE, str(repository / "dags")], env=environment,
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout.splitlines()[-1]))
