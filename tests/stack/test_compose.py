"""Policies of the production composition: no default secret, no open port, everything pinned and watched."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def composition(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def services(composition: dict[str, Any]) -> dict[str, Any]:
    return dict(composition["services"])


def test_it_has_databases_airflows_components_mlflow_and_the_api(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "airflow-init", "api-server", "scheduler", "dag-processor", "mlflow",
                             "sessions", "api"}


def test_every_variable_is_required_and_none_has_a_default(text: str) -> None:
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert {name for name, _ in variables} == {
        "POSTGRES_PASSWORD", "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY",
        "AIRFLOW_FERNET_KEY", "SHOP_DATA", "SHOP_NAME", "SESSIONS_PASSWORD", "API_KEYS",
    }
    assert [name for name, rest in variables if not rest.startswith(":?")] == []


def test_the_example_of_an_environment_names_each_variable_and_gives_none(repository: Path, text: str) -> None:
    lines = (repository / ".env.example").read_text(encoding="utf-8").splitlines()
    given = [line.partition("=") for line in lines if line and not line.startswith("#")]
    assert sorted(name for name, _, _ in given) == sorted(set(re.findall(r"\$\{(\w+)", text)))
    assert {value for _, _, value in given} == {""}
    ignored = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=repository, check=False)
    assert ignored.returncode == 0


def test_no_secret_stands_in_the_file(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD$|SECRET|FERNET|_CONN", key):
                assert "${" in str(value), (name, key)


def test_ports_are_on_the_loopback_interface_only(services: dict[str, Any]) -> None:
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:5000:5000", "127.0.0.1:8000:8000", "127.0.0.1:8080:8080"]


def test_databases_are_on_a_network_without_a_way_out(composition: dict[str, Any]) -> None:
    assert composition["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "sessions"):
        assert composition["services"][name]["networks"] == ["inside"]
        assert "ports" not in composition["services"][name]


def test_nothing_may_more_than_it_needs(services: dict[str, Any], text: str) -> None:
    users = re.findall(r"^ +USER (\w+)$", text, re.MULTILINE)
    assert users == ["vitrine", "vitrine"]  # of the two images that are built here
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] and service["pids_limit"], name
        assert "build" in service or service["user"] not in ("", "root", "0"), name


def test_the_api_has_nothing_of_training(services: dict[str, Any]) -> None:
    image = services["api"]["build"]["dockerfile_inline"]
    assert "requirements-serving.txt" in image
    assert re.findall(r"^COPY (\S+) ", image, re.MULTILINE) == ["requirements-serving.txt", "pipelines", "serving"]


def test_ingest_retrain_and_api_mean_the_same_shop(services: dict[str, Any]) -> None:
    """The lake is named as its source is, and events are laid down and read below one name."""
    airflow, api = (services[name]["environment"] for name in ("scheduler", "api"))
    shop = "${SHOP_NAME:?set SHOP_NAME}"
    assert airflow["VITRINE_INGEST"].endswith(f"/{shop}")
    assert airflow["VITRINE_SOURCE"] == f"{airflow['VITRINE_LAKE']}/{shop}"
    assert f"--shop {shop} " in services["api"]["command"]
    assert airflow["VITRINE_LANDING"] == api["VITRINE_LANDING"]
    assert api["VITRINE_STORE"] == f"{airflow['VITRINE_HOME']}/store"
    assert {"vitrine:/var/lib/vitrine", "landing:/var/lib/landing"} <= {*services["api"]["volumes"]}


def test_every_service_that_stays_is_watched_and_started_again(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name == "airflow-init":
            continue
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_every_image_is_pinned(text: str, services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()} | set(re.findall(r"FROM (\S+)", text))
    assert [image for image in images if not re.search(r":\d+\.\d+", image)] == []
    assert "uv==" in text


def test_the_pool_for_trainings_is_made_before_anything_runs(services: dict[str, Any]) -> None:
    assert "airflow pools set training 1" in services["airflow-init"]["command"]
    for name in ("api-server", "scheduler", "dag-processor"):
        assert services[name]["depends_on"]["airflow-init"] == {"condition": "service_completed_successfully"}
