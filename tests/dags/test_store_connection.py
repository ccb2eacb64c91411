"""The store's keys from an Airflow connection, in a process of its own: Airflow reads its settings when imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECRET = "canary-9dK2-never-shown"
READ = """
import json, os, sys
from pipelines.errors import SettingsError
from pipelines.settings import load_settings
from plugins.store_connection import with_connection
told = {}
for name, variables in json.loads(sys.argv[1]).items():
    try:
        places = with_connection(load_settings(variables)).of_shop("toy")
        told[name] = {"options": places.client_options, "shown": repr(places) + places.model_dump_json()}
    except SettingsError as error:
        told[name] = {"error": str(error)}
print(json.dumps(told))
"""
NAMED = {"VITRINE_STORE": "s3://shop/stores", "VITRINE_STORE_CONNECTION": "vitrine_store"}
CASES = {
    "read": NAMED,
    "missing": NAMED | {"VITRINE_STORE_CONNECTION": "other"},
    "of another type": NAMED | {"VITRINE_STORE_CONNECTION": "a_web_page"},
    "for a folder": NAMED | {"VITRINE_STORE": "/store"},
    "none": {"VITRINE_STORE": "s3://shop/stores", "AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "secret"},
}


@pytest.fixture(scope="module")
def told(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each case gives; Airflow takes its time to be imported."""
    connection = {"conn_type": "aws", "login": "id", "password": SECRET,
                  "extra": {"region_name": "eu-west-1", "endpoint_url": "https://minio.example:9000"}}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE", "AWS"))}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "PYTHONPATH": str(repository),
        "AIRFLOW_CONN_VITRINE_STORE": json.dumps(connection),
        "AIRFLOW_CONN_A_WEB_PAGE": json.dumps({"conn_type": "http"}),
    }
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", READ, json.dumps(CASES)], env=environment,
                          cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_connection_gives_the_stores_keys_and_shows_none(told: dict[str, dict[str, Any]]) -> None:
    assert told["read"]["options"] == {"access_key_id": "id", "secret_access_key": SECRET, "region": "eu-west-1",
                                       "endpoint": "https://minio.example:9000"}
    assert SECRET not in told["read"]["shown"]


def test_without_one_the_environments_keys_are_taken(told: dict[str, dict[str, Any]]) -> None:
    assert told["none"]["options"] == {"access_key_id": "own", "secret_access_key": "secret"}


@pytest.mark.parametrize(("case", "message"), [
    ("missing", "Airflow has no such connection: add it with"),
    ("of another type", "connection a_web_page is of type http"),
    ("for a folder", "is for an s3:// store"),
])
def test_a_connection_that_cannot_be_used_is_named(told: dict[str, dict[str, Any]], case: str, message: str) -> None:
    assert message in told[case]["error"]
