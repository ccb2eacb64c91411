"""What is worth watching from run to run in a task's result: numbers by name, for whatever keeps series of them.

They come from the contract that the task returns and from the seconds that its stage wrote down. Units stand in the
names: `_s` are seconds, `_mb` megabytes; all else are counts, or shares between 0 and 1. A result that was found again
gives the numbers of when it was made.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.artifacts import TIMINGS, read_json

# Groups of numbers within a contract -> what stands before their names.
_GROUPS = {"metrics": "", "search_recalls": "recall.", "seconds": "step."}
_STRANGE = re.compile(r"[^a-zA-Z0-9_.-]")  # in the names of StatsD and OpenTelemetry


def measures(contract: Mapping[str, Any], now: datetime) -> dict[str, float]:
    """The numbers of a contract, or of another document that a task returns.

    Args:
        contract: as JSON.
        now: for the age of what became live.
    """
    # What a dry run would have released was not.
    left_out = ("number", "parent") if contract.get("is_dry_run") else ()
    found = {name: value for name, value in _numbers(contract) if name not in left_out}
    for group, before in _GROUPS.items():
        after = "_s" if group == "seconds" else ""
        found |= {f"{before}{name}{after}": value for name, value in _numbers(contract.get(group) or {})}
    found |= {f"step.{name}": seconds for name, seconds in _steps(contract)}
    found |= _judged(contract) | _ages(contract, now)
    return {_STRANGE.sub("_", name.replace("@", "_at_")): value for name, value in found.items()}


def _numbers(values: Any) -> Iterator[tuple[str, float]]:
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, bool | int | float) and math.isfinite(value):
            yield name, float(value)


def _steps(contract: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Seconds of a stage's sub-steps, `_s` at the end of each name; what lists a time for each round is added up."""
    path = Path(str(contract.get("path", ""))) / TIMINGS
    if "path" not in contract or not path.exists():
        return
    for name, value in read_json(path).items():
        if isinstance(value, Mapping):
            yield from ((f"{part}_s", seconds) for part, seconds in _numbers(value))
        elif name.endswith(("_s", "_seconds")):
            yield re.sub(r"_s(econds)?$", "_s", name), float(sum(value) if isinstance(value, list) else value)


def _judged(contract: Mapping[str, Any]) -> dict[str, float]:
    """Of a gate or an audit: how many of its questions failed."""
    if "checks" not in contract:
        return {}
    return {"checks": float(len(contract["checks"])),
            "checks_failed": float(sum(not check["passed"] for check in contract["checks"]))}


def _ages(contract: Mapping[str, Any], now: datetime) -> dict[str, float]:
    """How far the data lag: behind the end of their window, and, of a release, behind this moment; late events."""
    found = {}
    if "last_event" in contract:
        behind = datetime.fromisoformat(contract["window"]["as_of"]) - datetime.fromisoformat(contract["last_event"])
        found["data_behind_s"] = behind.total_seconds()
    if "as_of" in contract and "bundle" in contract and not contract.get("is_dry_run"):
        found["data_age_s"] = (now - datetime.fromisoformat(contract["as_of"])).total_seconds()
    if "reopened" in contract:
        found |= {"late_events": float(sum(contract["reopened"].values())),
                  "days_reopened": float(len(contract["reopened"]))}
    return found
