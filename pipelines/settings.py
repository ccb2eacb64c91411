"""Where Vitrine keeps its things: the only reader of environment variables.

What decides a stage's result stands in that stage's own settings class, next to its code.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pipelines.contracts import Document
from pipelines.errors import SettingsError


class Settings(Document):
    """Places of one installation.

    Attributes:
        home: folder below which everything lies by default (VITRINE_HOME, default ./.vitrine).
        artifacts: root of the stages' sealed folders (VITRINE_ARTIFACTS, default home/artifacts).
        store: serving stores, with bundles and release log, one a shop (VITRINE_STORE, default home/store).
        mlflow_uri: tracking server or database (MLFLOW_TRACKING_URI, default SQLite below home).
        model_name: prefix of registered models in MLflow (VITRINE_MODEL, default "vitrine").
        experiment: prefix of MLflow experiments (VITRINE_EXPERIMENT, default "vitrine").
        source: shop that a scheduled retrain reads (VITRINE_SOURCE, none by default).
    """

    home: Path
    artifacts: Path
    store: Path
    mlflow_uri: str
    model_name: str = "vitrine"
    experiment: str = "vitrine"
    source: str | None = None

    def of_shop(self, shop: str) -> "Settings":
        """The places of one shop: a release log, an MLflow experiment and a registered model of its own.

        Two shops may share an installation, and never a release: their items have nothing in common.
        """
        return self.model_copy(update={
            "store": self.store / shop, "experiment": f"{self.experiment}-{shop}",
            "model_name": f"{self.model_name}-{shop}"})


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (of the process, unless given).

    Raises:
        SettingsError: a variable is set to nothing.
    """
    env = os.environ if environment is None else environment
    names = ("VITRINE_HOME", "VITRINE_ARTIFACTS", "VITRINE_STORE", "MLFLOW_TRACKING_URI",
             "VITRINE_MODEL", "VITRINE_EXPERIMENT", "VITRINE_SOURCE")
    for name in names:
        if name in env and not env[name].strip():
            raise SettingsError(f"{name} is set but empty: give it a value or unset it")
    home = Path(env.get("VITRINE_HOME", ".vitrine")).expanduser().resolve()
    return Settings(
        home=home,
        artifacts=Path(env.get("VITRINE_ARTIFACTS", home / "artifacts")),
        store=Path(env.get("VITRINE_STORE", home / "store")),
        mlflow_uri=env.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
        model_name=env.get("VITRINE_MODEL", "vitrine"),
        experiment=env.get("VITRINE_EXPERIMENT", "vitrine"),
        source=env.get("VITRINE_SOURCE"),
    )
