"""Where MLflow is: what an address needs before MLflow's own client is given it."""

import urllib.error
import urllib.request
from pathlib import Path

from pipelines.settings import Settings


def reach(uri: str) -> None:
    """See that a server answers, or make the folder of a database.

    Raises:
        ConnectionError: nobody answers.
    """
    if uri.startswith("http"):  # MLflow itself would retry for minutes before it said that nobody answers
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10).close()
        except urllib.error.URLError as error:
            raise ConnectionError(str(error)) from error
    elif uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


def artifact_folders(places: Settings) -> tuple[Path, Path]:
    """Where MLflow's files lie on this machine: those of a database, and those of the stack's own server."""
    return places.home / "mlflow-artifacts", places.home / "mlflow"


def artifact_root(places: Settings) -> str | None:
    """Where a new experiment keeps its files; None where a server has a store of its own.

    A bare database would write below the current folder.
    """
    is_server = places.mlflow_uri.startswith("http")
    return None if is_server else artifact_folders(places)[0].resolve().as_uri()
