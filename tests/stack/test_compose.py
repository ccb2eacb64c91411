"""Policies of the production composition: no default secret, no open port, everything pinned and watched."""

import json
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


INITS = {"airflow-init", "store-init", "mlflow-init"}  # they end


def test_it_has_stores_airflows_components_mlflow_the_api_and_a_proxy(services: dict[str, Any]) -> None:
    assert set(services) == {
        "postgres", "store", "broker", "sessions", "mlflow", "api-server", "scheduler", "dag-processor", "triggerer",
        "worker", "trainer", "api", "proxy", *INITS}


def test_every_variable_is_required_and_none_has_a_default(text: str) -> None:
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert {name for name, _ in variables} == {
        "POSTGRES_PASSWORD", "BROKER_PASSWORD", "SESSIONS_PASSWORD", "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_JWT_SECRET",
        "AIRFLOW_SECRET_KEY", "AIRFLOW_FERNET_KEY", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_TASKS_PASSWORD",
        "MLFLOW_SECRET_KEY", "STORE_ADMIN_SECRET", "STORE_TASKS_SECRET", "STORE_API_SECRET", "STORE_MLFLOW_SECRET",
        "API_HOST", "AIRFLOW_HOST", "MLFLOW_HOST", "TLS_CERTIFICATE", "TLS_KEY", "SHOP_DATA", "SHOP_NAME", "API_KEYS",
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
            if re.search(r"PASSWORD$|SECRET|FERNET|_CONN|_URI$|_BACKEND$|BROKER_URL", key):
                assert "${" in str(value) or ("://" in str(value) and "@" not in str(value)), (name, key)


def test_no_secret_comes_in_by_an_argument(services: dict[str, Any]) -> None:
    """What Compose fills in stands in a command for every process to read; a shell's own variable does not."""
    for name, service in services.items():
        words = [service["command"]] if isinstance(service.get("command"), str) else service.get("command", [])
        assert set(re.findall(r"(?<!\$)\$\{(\w+)", " ".join(words))) <= {"SHOP_NAME"}, name
        for line in "\n".join(words).splitlines():
            if line.lstrip().startswith("exec "):
                assert not re.search(r"\$\$\w*(PASSWORD|SECRET|URI)\b", line.partition("<(")[0]), (name, line)


def test_only_the_proxy_has_ports_and_one_of_them_is_everybodys(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"proxy": ["443:8443", "127.0.0.1:8444:8444"]}


def test_whoever_needs_no_way_out_has_none(composition: dict[str, Any]) -> None:
    assert composition["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in composition["services"].items() if service["networks"] != ["inside"]}
    # Callers of a shop's databases and senders of notices, and the proxy, which is called.
    assert outside == {"worker", "trainer", "dag-processor", "triggerer", "proxy"}


def test_nothing_may_more_than_it_needs(services: dict[str, Any], text: str) -> None:
    users = re.findall(r"^ +USER (\w+)$", text, re.MULTILINE)
    # Of the four images that are built here.
    assert sorted([*users, *re.findall(r"^ +USER ([\d:]+)$", text, re.MULTILINE)]) == ["10001:10001", *3 * ["vitrine"]]
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
    airflow, api = (services[name]["environment"] for name in ("worker", "api"))
    shop = "${SHOP_NAME:?set SHOP_NAME}"
    assert airflow["VITRINE_INGEST"].endswith(f"/{shop}")
    assert airflow["VITRINE_SOURCE"] == f"{airflow['VITRINE_LAKE']}/{shop}"
    assert f"--shop {shop} " in services["api"]["command"]
    assert airflow["VITRINE_LANDING"] == api["VITRINE_LANDING"]
    assert api["VITRINE_STORE"] == airflow["VITRINE_STORE"] == "s3://vitrine/stores"
    for name in ("worker", "api"):
        assert "landing:/var/lib/landing" in services[name]["volumes"]
    assert services["store"]["environment"]["SHOP_NAME"] == shop


def identities(services: dict[str, Any]) -> dict[str, list[str]]:
    """Name of each key of the store, with what it may do; secrets are the shell's variables still."""
    document = re.search(r"<<END\n(.*)\nEND\n", services["store"]["command"][0], re.DOTALL)
    assert document is not None
    return {key["accessKey"]: one["actions"] for one in json.loads(document[1])["identities"]
            for key in one["credentials"]}


def test_each_key_of_the_store_may_what_its_holder_needs(services: dict[str, Any]) -> None:
    may = identities(services)
    below = "vitrine/stores/$$SHOP_NAME"
    assert may["vitrine-api"] == ["Read:vitrine", "List:vitrine", f"Write:{below}/leases/*", f"Write:{below}/erased/*"]
    assert {action.partition(":")[2] for action in may["vitrine-tasks"]} == {"vitrine"}
    assert {action.partition(":")[2] for action in may["vitrine-mlflow"]} == {"mlflow"}
    held = {name: service["environment"]["AWS_ACCESS_KEY_ID"] for name, service in services.items()
            if "AWS_ACCESS_KEY_ID" in service.get("environment", {})}
    assert {name for name, key in held.items() if key == "vitrine-admin"} == {"store-init"}
    assert (held["api"], held["mlflow"], held["worker"]) == ("vitrine-api", "vitrine-mlflow", "vitrine-tasks")


def test_the_stores_inner_servers_are_reached_by_itself_alone(services: dict[str, Any]) -> None:
    """They know no keys: whoever reaches the filer reads and writes everything."""
    command = services["store"]["command"][0]
    assert "-ip=127.0.0.1 -ip.bind=127.0.0.1 " in command and "-s3.ip.bind=0.0.0.0 " in command


def test_mlflow_asks_everybody_for_a_password(services: dict[str, Any]) -> None:
    service = services["mlflow"]
    assert "mlflow server --app-name basic-auth " in service["command"][2]
    assert "'default_permission = READ'" in service["command"][2]
    # The administrator's stays with MLflow and with the service that adds the tasks' user.
    holders = {name for name, one in services.items() if "MLFLOW_AUTH_ADMIN_PASSWORD" in one.get("environment", {})}
    assert holders == {"mlflow", "mlflow-init"}
    assert services["worker"]["environment"]["MLFLOW_TRACKING_USERNAME"] != service["environment"][
        "MLFLOW_AUTH_ADMIN_USERNAME"]


def test_trainings_have_a_worker_with_limits_of_their_own(services: dict[str, Any]) -> None:
    assert "--queues default " in services["worker"]["command"]
    assert "--queues training --concurrency 1 " in services["trainer"]["command"]
    assert services["trainer"]["mem_limit"] != services["worker"]["mem_limit"]
    # By which names they are asked how they are.
    for name in ("worker", "trainer"):
        assert f"--celery-hostname {name}@%h" in services[name]["command"]
        assert f"--destination {name}@$$HOSTNAME" in services[name]["healthcheck"]["test"][1]


def test_whoever_is_called_says_at_which_port(composition: dict[str, Any], text: str) -> None:
    """The rehearsal gives these ports, and no others, places of its own."""
    named = {(host, port) for host, port in re.findall(r"(?<![\w.-])([a-z-]+):(\d{4})\b", text)
             if host in composition["services"]}
    exposed = {(name, port) for name, service in composition["services"].items() for port in service.get("expose", ())}
    assert named <= exposed
    assert {name for name, _ in exposed - named} <= {"proxy", "api"}  # called from outside, and by the proxy


def test_every_service_that_stays_is_watched_and_started_again(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name in INITS:
            assert service["restart"] == "no" and service["healthcheck"] == {"disable": True}, name
            continue
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_every_image_is_pinned(text: str, services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()} | set(re.findall(r"FROM (\S+)", text))
    assert [image for image in images if not re.search(r":\d+\.\d+", image)] == []
    assert "uv==" in text


def test_the_pool_for_trainings_is_made_before_anything_runs(services: dict[str, Any]) -> None:
    assert "airflow pools set training 1" in services["airflow-init"]["command"]
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "trainer"):
        assert services[name]["depends_on"]["airflow-init"] == {"condition": "service_completed_successfully"}
