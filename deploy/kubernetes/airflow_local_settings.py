"""Airflow's cluster policy on Kubernetes: a task of the queue `training` gets a pod of its own kind.

The scheduler reads this file by its name from PYTHONPATH. It says it of task instances, not of tasks: a mapped task, as
the backtest's, has one for each of its days.
"""

from pathlib import Path
from typing import Any

import yaml
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

TRAINING_POD = Path(__file__).with_name("training-pod.yaml")


def training_pod() -> Any:
    """The override, as the executor's client has pods."""
    return PodGenerator.deserialize_model_dict(yaml.safe_load(TRAINING_POD.read_text(encoding="utf-8")))


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Give a training its pod, before it is queued."""
    if task_instance.queue == "training":
        task_instance.executor_config = {"pod_override": training_pod()}
