"""Buttons on the stages' pages that open the retrain's run in MLflow, and the gate's verdict in it."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey

from pipelines.addresses import redacted
from pipelines.settings import load_settings


def find_registered(contract: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The registration within a contract: the contract itself or one of those that it holds."""
    if "run_id" in contract and "experiment_id" in contract:
        return contract
    inner = (value for value in contract.values() if isinstance(value, Mapping))
    return next((found for value in inner if (found := find_registered(value))), None)


def run_address(contract: Mapping[str, Any]) -> str:
    """Address of a contract's run in MLflow; empty where there is none yet, or the store has no pages."""
    places, registered = load_settings(), find_registered(contract)
    uri = redacted(places.mlflow_pages or places.mlflow_uri).rstrip("/")
    if registered is None or not uri.startswith("http"):
        return ""
    return f"{uri}/#/experiments/{registered['experiment_id']}/runs/{registered['run_id']}"


class MlflowRunLink(BaseOperatorLink):
    """Opens the MLflow run of this retrain; Airflow computes it in the worker when the task has ended."""

    name = "Open in MLflow"
    part = ""  # of the run's pages

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Address of the run, or nothing where the task failed before there was one."""
        # In the worker Airflow passes the running task instance itself, which is a key and can read results.
        result = ti_key.xcom_pull(task_ids=operator.task_id)  # type: ignore[attr-defined]
        address = run_address(result) if isinstance(result, Mapping) else ""
        return address and f"{address}{self.part}"


class VerdictLink(MlflowRunLink):
    """Opens the verdict's page, which the gate logs with the run, in MLflow's view of artefacts."""

    name = "Verdict"
    part = "/artifacts/verdict.html"
