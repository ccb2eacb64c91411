"""A shop of two customers and three products, small enough to be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.settings import Settings
from tests.mlflow_record import Calls, recorded

Write = Callable[..., Path]

EVENTS: dict[str, list[Any]] = {
    "user_id": ["007", "007", "8", "8", "007"],
    "item_id": ["b1", "b2", "b1", "b3", "b1"],
    "timestamp": ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T23:59:59Z",
                  "2026-03-02T00:00:00Z", "2026-03-04T12:00:00Z"],
    "event_type": ["purchase", "view", "purchase", "purchase", "return"],
    "price": [10.0, None, 10.0, 30.0, -10.0],
}
ITEMS: dict[str, list[Any]] = {
    "item_id": ["b1", "b2", "b3"], "title": ["Red bag", "Blue bag", "Green scarf"],
    "category": ["bags", "bags", "scarves"], "price": [10.0, 20.0, 30.0],
}
USERS: dict[str, list[Any]] = {"user_id": ["007", "8"], "country": ["CH", None]}


def write_table(folder: Path, name: str, columns: dict[str, Any], suffix: str) -> None:
    """Write one table; in Parquet, timestamps that are strings become UTC times."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(columns)
    if suffix == "csv":
        frame.to_csv(folder / f"{name}.csv", index=False)
        return
    if "timestamp" in frame and pd.api.types.is_string_dtype(frame["timestamp"]):
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True).astype("datetime64[us, UTC]")
    frame.to_parquet(folder / f"{name}.parquet", index=False)


@pytest.fixture
def write_shop(tmp_path: Path) -> Write:
    """Write the shop to a new folder, with columns or whole tables changed (None removes)."""

    def write(suffix: str = "parquet", **changes: dict[str, Any] | None) -> Path:
        folder = tmp_path / f"shop{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, columns in (("events", EVENTS), ("items", ITEMS), ("users", USERS)):
            change = changes.get(name, {})
            if change is not None:
                merged = {n: v for n, v in {**columns, **change}.items() if v is not None}
                write_table(folder, name, merged, suffix)
        return folder

    return write


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the stages tell MLflow, in place of MLflow."""
    return recorded(monkeypatch)


@pytest.fixture
def places(tmp_path: Path, told: Calls) -> Settings:
    """An installation below the test's own folder, with `told` for its MLflow."""
    home = tmp_path / "home"
    return Settings(home=home, artifacts=home / "artifacts", store=home / "store", mlflow_uri="sqlite:///none")
