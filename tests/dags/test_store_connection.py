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
import json, sys
from pipelines.errors import SettingsError
from pipelines.settings import load_settings
from plugins.store_connection import with_connection
try:
    places = with_connection(load_settings()).of_shop("toy")
    print(json.dumps({"options": places.client_options, "shown": repr(places) + places.model_dump_json()}))
except SettingsError as error:
    print(json.dumps({"error": str(error)}))
"""
CONNECTION = {"conn_type": "aws", "login": "id", "password": SECRET,
              "extra": {"region_name": "eu-west-1", "endpoint_url": "https://minio.example:9000"}}


def read(repository: Path, tmp_path: Path, connection: dict[str, Any] = CONNECTION, **variables: str) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE", "AWS"))}
    environment |= {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository), "VITRINE_STORE": "s3://shop/stores",
                    "AIRFLOW_CONN_VITRINE_STORE": json.dumps(connection), **variables}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", READ], env=environment, cwd=repository,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize(("variables", "connection", "message"), [
    ({"VITRINE_STORE_CONNECTION": "vitrine_store"}, CONNECTION, None),
    ({"VITRINE_STORE_CONNECTION": "other"}, CONNECTION, "Airflow has no such connection: add it with"),
    ({"VITRINE_STORE_CONNECTION": "vitrine_store"}, CONNECTION | {"conn_type": "http"}, "is of type http"),
    ({"VITRINE_STORE_CONNECTION": "vitrine_store", "VITRINE_STORE": "/store"}, CONNECTION, "is for an s3:// store"),
], ids=["read", "missing", "of another type", "for a folder"])
def test_a_connection_gives_the_stores_keys_or_is_named(
    repository: Path, tmp_path: Path, variables: dict[str, str], connection: dict[str, Any], message: str | None
) -> None:
    result = read(repository, tmp_path, connection, **variables)
    if message is not None:
        assert message in result["error"]
        return
    assert result["options"] == {"access_key_id": "id", "secret_access_key": SECRET, "region": "eu-west-1",
                                 "endpoint": "https://minio.example:9000"}
    assert SECRET not in result["shown"]


def test_without_one_the_environments_keys_are_taken(repository: Path, tmp_path: Path) -> None:
    result = read(repository, tmp_path, AWS_ACCESS_KEY_ID="own", AWS_SECRET_ACCESS_KEY="secret")
    assert result["options"] == {"access_key_id": "own", "secret_access_key": "secret"}
