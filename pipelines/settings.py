"""Where Vitrine keeps its things: the only reader of environment variables.

What decides a stage's result stands in that stage's own settings class, next to its code.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator

from pipelines.contracts import Document
from pipelines.errors import SettingsError

_TASK_LOGS = "AIRFLOW__LOGGING__BASE_LOG_FOLDER"
# Environment variable -> option of the store's client. What is not given here (instance, pod and workload identities)
# the client finds by itself, as the cloud's own tools do.
_CLIENT_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "s3": {"AWS_ENDPOINT_URL": "endpoint", "AWS_REGION": "region", "AWS_ACCESS_KEY_ID": "access_key_id",
           "AWS_SECRET_ACCESS_KEY": "secret_access_key", "AWS_SESSION_TOKEN": "session_token"},
    "gs": {"GOOGLE_APPLICATION_CREDENTIALS": "application_credentials"},
    "az": {"AZURE_STORAGE_ACCOUNT_NAME": "account_name", "AZURE_STORAGE_ACCOUNT_KEY": "account_key"},
}


class Cluster(Document):
    """The workers that train together.

    Attributes:
        workers: host:port of each; the first is the chief, who alone writes files.
        index: which of them this process is.
    """

    workers: tuple[str, ...] = Field(min_length=1)
    index: int = Field(ge=0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for worker in self.workers:
            if not worker.rpartition(":")[2].isdecimal():
                raise ValueError(f"{worker!r} is not host:port")
        if self.index >= len(self.workers) or len(set(self.workers)) < len(self.workers):
            raise ValueError(f"worker {self.index} of {list(self.workers)}: the index is too high or an address "
                             "stands twice")
        return self


class Settings(Document):
    """Places of one installation.

    Attributes:
        home: folder below which everything lies by default (VITRINE_HOME, default ./.vitrine).
        artifacts: root of the stages' sealed folders (VITRINE_ARTIFACTS, default home/artifacts).
        store: folder or URL (s3://, gs://, az://) of the serving stores, with bundles and release log, one a shop
            (VITRINE_STORE, default home/store).
        store_options: of the store's client, for a bucket: endpoint, region and keys (AWS_ENDPOINT_URL, AWS_REGION,
            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; for others see docs/releases.md).
        store_connection: Airflow connection to take store_options from instead (VITRINE_STORE_CONNECTION).
        cache: folder for bundles that are fetched from a bucket (VITRINE_CACHE, default home/cache).
        mlflow_uri: tracking server or database (MLFLOW_TRACKING_URI, default SQLite below home).
        model_name: prefix of registered models in MLflow (VITRINE_MODEL, default "vitrine").
        experiment: prefix of MLflow experiments (VITRINE_EXPERIMENT, default "vitrine").
        source: shop that a scheduled retrain reads (VITRINE_SOURCE, none by default).
        cluster: workers of a distributed training (TF_CONFIG, as Kubeflow and others set it; none by default).
        sessions: Redis URL or SQLite file of the session store (VITRINE_SESSIONS, default home/sessions/SHOP.db).
        landing: folder that the online process lays events down in, one folder a shop (VITRINE_LANDING, default
            home/landing).
        api_keys: file of the API's clients (VITRINE_API_KEYS, none by default).
        lake: folder of the lakes, one a shop (VITRINE_LAKE, default home/lake).
        task_logs: folder of Airflow's task logs (AIRFLOW__LOGGING__BASE_LOG_FOLDER, as Airflow itself reads it; none by
            default).
        ingest_source: what a scheduled ingest reads a day of into the lake (VITRINE_INGEST, none by default).
        mlflow_pages: address at which people open MLflow's pages, where it is another than the server's for programs
            (VITRINE_MLFLOW_PAGES, none by default).
        notices: Airflow connection by which people hear of failures (VITRINE_NOTICES, none by default).
    """

    home: Path
    artifacts: Path
    store: Annotated[str, BeforeValidator(str)]  # a Path will do
    mlflow_uri: str = Field(repr=False)  # these two may hold a password
    model_name: str = "vitrine"
    experiment: str = "vitrine"
    source: str | None = Field(None, repr=False)
    cluster: Cluster | None = None
    store_options: Mapping[str, SecretStr] = {}
    store_connection: str | None = None
    cache: Path | None = None
    sessions: SecretStr | None = None
    landing: Path | None = None
    api_keys: Path | None = None
    lake: Path | None = None
    ingest_source: str | None = None
    task_logs: Path | None = None
    notices: str | None = None
    mlflow_pages: str | None = None

    @property
    def client_options(self) -> dict[str, str]:
        """The store's options in clear: for its client, and for nothing that is written or shown."""
        return {name: value.get_secret_value() for name, value in self.store_options.items()}

    @property
    def bundle_cache(self) -> Path:
        """Where fetched bundles lie; shops share it, for a bundle's name is its content."""
        return self.cache or self.home / "cache"

    def sessions_of(self, shop: str) -> str:
        """The session store of a shop; a URL may hold a password and is not to be shown."""
        if self.sessions is not None:
            return self.sessions.get_secret_value()
        return str(self.home / "sessions" / f"{shop}.db")

    def landing_of(self, shop: str) -> Path:
        """Where the online process of a shop lays events down."""
        return (self.landing or self.home / "landing") / shop

    def lake_of(self, shop: str) -> Path:
        """The lake of a shop; its folder's name is the shop's, so that a retrain that reads it is of that shop."""
        return (self.lake or self.home / "lake") / shop

    def of_shop(self, shop: str) -> "Settings":
        """The places of one shop: a release log, an MLflow experiment and a registered model of its own.

        Two shops may share an installation, and never a release: their items have nothing in common.
        """
        return self.model_copy(update={
            "store": f"{self.store.rstrip('/')}/{shop}", "experiment": f"{self.experiment}-{shop}",
            "model_name": f"{self.model_name}-{shop}"})


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (of the process, unless given).

    Raises:
        SettingsError: a variable is set to nothing, or TF_CONFIG is none.
    """
    env = os.environ if environment is None else environment
    names = ("VITRINE_HOME", "VITRINE_ARTIFACTS", "VITRINE_STORE", "MLFLOW_TRACKING_URI",
             "VITRINE_MODEL", "VITRINE_EXPERIMENT", "VITRINE_SOURCE", "VITRINE_STORE_CONNECTION", "VITRINE_CACHE",
             "VITRINE_SESSIONS", "VITRINE_LANDING", "VITRINE_API_KEYS", "VITRINE_LAKE", "VITRINE_INGEST",
             "VITRINE_NOTICES", "VITRINE_MLFLOW_PAGES", "TF_CONFIG", _TASK_LOGS)
    for name in names:
        if name in env and not env[name].strip():
            raise SettingsError(f"{name} is set but empty: give it a value or unset it")
    home = Path(env.get("VITRINE_HOME", ".vitrine")).expanduser().resolve()
    store = env.get("VITRINE_STORE", str(home / "store"))
    options = _CLIENT_OPTIONS.get(store.partition("://")[0], {})
    return Settings(
        home=home,
        artifacts=Path(env.get("VITRINE_ARTIFACTS", home / "artifacts")),
        store=store,
        store_options={option: SecretStr(env[name]) for name, option in options.items() if env.get(name)},
        store_connection=env.get("VITRINE_STORE_CONNECTION"),
        cache=Path(env["VITRINE_CACHE"]) if "VITRINE_CACHE" in env else None,
        mlflow_uri=env.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
        model_name=env.get("VITRINE_MODEL", "vitrine"),
        experiment=env.get("VITRINE_EXPERIMENT", "vitrine"),
        source=env.get("VITRINE_SOURCE"),
        sessions=SecretStr(env["VITRINE_SESSIONS"]) if "VITRINE_SESSIONS" in env else None,
        landing=Path(env["VITRINE_LANDING"]) if "VITRINE_LANDING" in env else None,
        api_keys=Path(env["VITRINE_API_KEYS"]) if "VITRINE_API_KEYS" in env else None,
        lake=Path(env["VITRINE_LAKE"]) if "VITRINE_LAKE" in env else None,
        ingest_source=env.get("VITRINE_INGEST"),
        task_logs=Path(env[_TASK_LOGS]) if _TASK_LOGS in env else None,
        notices=env.get("VITRINE_NOTICES"),
        mlflow_pages=env.get("VITRINE_MLFLOW_PAGES"),
        cluster=_cluster(env["TF_CONFIG"]) if "TF_CONFIG" in env else None,
    )


def _cluster(text: str) -> Cluster:
    """The workers that a TF_CONFIG names; one of type chief is the first of them.

    Raises:
        SettingsError: it is no TF_CONFIG, or has tasks other than chief and worker.
    """
    try:
        document = json.loads(text)
        jobs, task = document["cluster"], document["task"]
        kinds = [kind for kind in ("chief", "worker") if kind in jobs]
        if set(jobs) - set(kinds) or task["type"] not in kinds:
            raise ValueError(f"the tasks are {sorted(jobs)}, this one is {task['type']!r}; chief and worker are known")
        before = len(jobs["chief"]) if task["type"] == "worker" and "chief" in jobs else 0
        return Cluster(workers=tuple(address for kind in kinds for address in jobs[kind]), index=before + task["index"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise SettingsError(
            f"TF_CONFIG is {text!r}: {type(error).__name__} {error}; write for example "
            '{"cluster": {"worker": ["host-a:2222", "host-b:2222"]}, "task": {"type": "worker", "index": 0}}'
        ) from error
