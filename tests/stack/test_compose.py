"""Policies of the production composition: no default secret, no open port, everything pinned and watched."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text)["services"])


def test_it_has_postgres_airflows_components_and_mlflow(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "airflow-init", "api-server", "scheduler", "dag-processor", "mlflow"}


def test_every_variable_is_required_and_none_has_a_default(text: str) -> None:
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert {name for name, _ in variables} == {
        "POSTGRES_PASSWORD", "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY",
        "AIRFLOW_FERNET_KEY", "SHOP_DATA",
    }
    assert [name for name, rest in variables if not rest.startswith(":?")] == []


def test_no_secret_stands_in_the_file(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD$|SECRET|FERNET|_CONN", key):
                assert "${" in str(value), (name, key)


def test_ports_are_on_the_loopback_interface_only(services: dict[str, Any]) -> None:
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:5000:5000", "127.0.0.1:8080:8080"]
    assert "ports" not in services["postgres"]


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
