"""Numbers of a task's result as OpenTelemetry's gauges; tests/dags/test_ingest.py has StatsD."""

import os
import subprocess
import sys
from pathlib import Path

from tests.served import answering
from tests.stack.otlp_collector import Collector

# In a process of its own: Airflow takes over whoever imports it.
TELL = """
from plugins.series import tell
tell("publish", "kiosk", {"day": "2026-03-01", "revision": 3, "events": 12, "late_events": 0})
"""


def test_a_results_numbers_reach_an_opentelemetry_collector(repository: Path, tmp_path: Path) -> None:
    others = ("AIRFLOW", "VITRINE", "OTEL")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    with answering(Collector()) as collector:
        environment |= {
            "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'unused.db'}",
            "AIRFLOW__METRICS__OTEL_ON": "True", "NO_PROXY": "127.0.0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
        answer = subprocess.run([sys.executable, "-W", "ignore", "-c", TELL], env=environment, cwd=repository,
                                capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
    assert collector.heard["airflow.vitrine.publish.events"] == [({"shop": "kiosk"}, 12)]
    assert collector.heard["airflow.vitrine.publish.revision"] == [({"shop": "kiosk"}, 3)]
