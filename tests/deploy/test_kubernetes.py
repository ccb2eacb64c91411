"""The example for Kubernetes, read by the executor's own code and held against docker-compose.yml."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

# Airflow reads its settings when it is imported, and must not read ours.
MERGE = """
import json, sys, types
import yaml
import airflow_local_settings as policy
from airflow import settings
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

settings.import_local_settings()
given = {}
for queue in ("default", "training"):
    instance = types.SimpleNamespace(queue=queue, executor_config={})
    settings.task_instance_mutation_hook(instance, dag_run=None)
    given[queue] = instance.executor_config.get("pod_override")
base = PodGenerator.deserialize_model_file(sys.argv[1])
merged = PodGenerator.reconcile_pods(base, given["training"])
print(json.dumps({"default": given["default"], "base": PodGenerator.serialize_pod(base),
                  "training": PodGenerator.serialize_pod(merged)}))
"""


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "deploy" / "kubernetes"


@pytest.fixture(scope="module")
def pods(repository: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The pod of a task and of a training, as the executor would ask for them."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    environment |= {"AIRFLOW_HOME": str(home), "PYTHONPATH": f"{repository}:{folder}",
                    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'unused.db'}"}
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", MERGE, str(folder / "task-pod.yaml")], env=environment,
                          capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return dict(json.loads(said.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def services(repository: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((repository / "docker-compose.yml").read_text(encoding="utf-8"))["services"])


def only_container(pod: dict[str, Any]) -> dict[str, Any]:
    assert [one["name"] for one in pod["spec"]["containers"]] == ["base"]
    return dict(pod["spec"]["containers"][0])


def test_only_trainings_have_a_pod_of_their_own(pods: dict[str, Any]) -> None:
    assert pods["default"] is None
    assert pods["training"]["spec"]["nodeSelector"] == {"vitrine/training": "true"}
    assert "nodeSelector" not in pods["base"]["spec"]


def test_limits_are_those_of_the_composition(pods: dict[str, Any], services: dict[str, Any]) -> None:
    """8g of the file is 8 GiB, as Kubernetes writes 8Gi."""
    for pod, service in (("base", "worker"), ("training", "trainer")):
        limit = only_container(pods[pod])["resources"]["limits"]["memory"]
        assert limit == services[service]["mem_limit"].replace("g", "Gi"), pod
    resources = only_container(pods["training"])["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_a_training_differs_in_nothing_else(pods: dict[str, Any]) -> None:
    base, training = only_container(pods["base"]), only_container(pods["training"])
    assert {name for name in {*base, *training} if base.get(name) != training.get(name)} == {"resources"}
    assert pods["base"]["spec"]["volumes"] == pods["training"]["spec"]["volumes"]


def test_pods_are_hardened_as_services_are(pods: dict[str, Any], services: dict[str, Any]) -> None:
    for pod in (pods["base"], pods["training"]):
        spec, container = pod["spec"], only_container(pod)
        assert container["image"] == services["worker"]["image"]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] == 10001
        assert spec["automountServiceAccountToken"] is False and spec["restartPolicy"] == "Never"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_what_services_share_pods_share_too(pods: dict[str, Any], services: dict[str, Any]) -> None:
    shared = {entry.partition(":")[0]: entry.split(":")[1] for entry in services["worker"]["volumes"]
              if entry[0] not in "$./"}
    claims = {volume["persistentVolumeClaim"]["claimName"]: volume["name"] for volume in pods["base"]["spec"]["volumes"]
              if "persistentVolumeClaim" in volume}
    places = {mount["name"]: mount["mountPath"] for mount in only_container(pods["base"])["volumeMounts"]}
    assert {claim: places[name] for claim, name in claims.items()} == shared


def test_settings_agree_with_the_composition_and_hold_no_secret(
    folder: Path, services: dict[str, Any], repository: Path
) -> None:
    told = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))["data"]
    ours = services["worker"]["environment"]
    own = {"AIRFLOW__CORE__EXECUTOR", "PYTHONPATH"}
    for name, value in told.items():
        assert isinstance(value, str), name
        if name not in own and not name.startswith("AIRFLOW__KUBERNETES"):
            assert value == ours[name], name
    image = f"{told['AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY']}:" \
            f"{told['AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG']}"
    assert image == services["worker"]["image"]
    template = told["AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"].removeprefix("/opt/vitrine/")
    assert (repository / template).is_file()
    # What is missing here is an installation's own (a secret, the shop), of the pages' users, or of Celery.
    elsewhere = ("AIRFLOW__CORE__SIMPLE_AUTH", "AIRFLOW__CELERY")
    missing = {name for name in ours if name not in told and not name.startswith(elsewhere)}
    assert [name for name in missing if "${" not in ours[name]] == []
