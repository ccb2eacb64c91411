"""A task's numbers for Airflow's own metrics, which go wherever [metrics] says: StatsD, OpenTelemetry, or nowhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.observability import stats

from pipelines.measures import measures


def tell(task: str, shop: str | None, contract: Mapping[str, Any]) -> None:
    """Set the gauges `vitrine.TASK.NAME`, tagged with the shop; durations and outcomes of tasks Airflow has itself."""
    tags = {"shop": shop} if shop is not None else {}
    for name, value in measures(contract, datetime.now(UTC)).items():
        stats.gauge(f"vitrine.{task}.{name}", value, tags=tags)
