"""What the forms and the tries of several DAGs have in common."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param

from plugins.notices import Notice


def tries(retries: int) -> dict[str, Any]:
    """Arguments of all tasks of a DAG: tries again after one, two, four, ... minutes, and then word to people."""
    return {
        "owner": "recommendations",
        # Word goes out when a task has failed for good, or was ended by the gate's answer.
        "on_failure_callback": Notice(),
        "on_skipped_callback": Notice(),
        # The first try may be lost to an API server that is still starting.
        "retries": retries,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
    }


def source(default: str | None, description: str) -> Param:
    """Where the shop's tables are."""
    return Param(default, type=["null", "string"], title="Source", description=description)


def specification() -> Param:
    """How a shop's own names are to be understood."""
    return Param(None, type=["null", "string"], title="Specification",
                 description="TOML file that overrides column names, kinds and event weights.")


def window_days() -> Param:
    """The window of a retrain."""
    return Param(None, type=["null", "integer"], minimum=1, title="Window (days)",
                 description="How far back events count. Empty: the whole log.")


def epochs() -> Param:
    """The bound of a training."""
    return Param(None, type=["null", "integer"], minimum=1, title="Epochs at most",
                 description="Empty: the training's own setting. It stops early in any case.")


def settings() -> Param:
    """How stages are to differ from their defaults."""
    return Param(None, type=["null", "object"], title="Settings",
                 description='Stage, field, value, for example {"train": {"members": 1}}. Empty: the defaults.')


def shop() -> Param:
    """Whose releases or customers, where an installation has several shops."""
    return Param(None, type=["null", "string"], title="Shop", description="Empty: the only shop of the store.")


def reason(default: str, description: str = "Goes into the record.") -> Param:
    """Why somebody asks for a run."""
    return Param(default, type="string", minLength=1, title="Reason", description=description)
