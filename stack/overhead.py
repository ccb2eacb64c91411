"""What Airflow adds to a retrain: around each of its tasks, and beside the same retrain in one process.

    python -m stack.overhead --home /tmp/vitrine-orchestration

Both train the same shop with the same settings, each in a folder of its own, one after the other and with nothing
beside them. A task's own seconds are those of its stage, as its log has them; around it lies all else from the end of
the task before (or from the trigger) to its own end: scheduling, a process of its own, connections, what it returns.
What a stage imports is its own, though one process would import it once.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.given_settings import parse_settings
from pipelines.retrain import STAGES, default_as_of, resolved
from stack import services
from stack.installation import REPOSITORY, Installation, StackError
from stack.quick import QUICK
from stack.run import DAG, sample_shop, stack, wait_for_dag

RUN = "benchmark"
AIMS = {"a task, s": 2.0, "the retrain": 0.05}
_OWN = re.compile(r"(\w+), ([\d.]+) s: ")
console = Console(highlight=False, width=120)


@dataclass(frozen=True)
class Timed:
    """Seconds of a task.

    Attributes:
        task: its id.
        own: of its stage.
        around: from the end of the task before to its own end, less `own`.
    """

    task: str
    own: float
    around: float


def timed(began: datetime, tasks: Sequence[Mapping[str, Any]], own: Mapping[str, float]) -> list[Timed]:
    """Seconds of each task of a run whose tasks follow one another, in their order.

    Args:
        began: when the run was asked for.
        tasks: Airflow's task instances: task_id, state, end_date (ISO 8601).
        own: task -> seconds of its stage. What is not in it, such as an approval that nobody wanted, is no stage.
    """
    ends = sorted((datetime.fromisoformat(task["end_date"]), str(task["task_id"])) for task in tasks)
    befores = [began, *(end for end, _ in ends)]
    return [Timed(task, own.get(task, 0.0), (end - before).total_seconds() - own.get(task, 0.0))
            for before, (end, task) in zip(befores, ends, strict=False)]


def own_seconds(log: Path) -> tuple[str, float]:
    """Stage and its seconds by the log of its task.

    Raises:
        StackError: the log does not say.
    """
    for line in log.read_text(encoding="utf-8").splitlines():
        found = _OWN.match(str(json.loads(line).get("event", "")))
        if found:
            return found[1], float(found[2])
    raise StackError(f"{log} does not say how long its stage took")


def by_airflow(home: Path, data: str, as_of: datetime, settings: Sequence[str]) -> tuple[list[Timed], float]:
    """Each task's seconds, and those from the trigger to the run's end.

    Raises:
        StackError: the run did not succeed.
    """
    os.environ["VITRINE_HOME"] = str(home)
    installation = Installation(home)
    with stack(installation, console) as up:
        client = services.client(installation, up)
        wait_for_dag(client)
        time.sleep(10)  # the DAG processor is through with its other files
        client.trigger(DAG, RUN, {"data": data, "as_of": as_of.isoformat(), "settings": parse_settings(settings),
                                  "reason": "benchmark"})
        while (state := client.run_state(DAG, RUN)) not in ("success", "failed"):
            time.sleep(1)
        run, tasks = client.call("GET", f"/dags/{DAG}/dagRuns/{RUN}"), client.tasks(DAG, RUN)
    if state != "success":
        raise StackError(f"the run failed: see {installation.task_logs}")
    ran = [task for task in tasks if task["state"] == "success"]
    logs = (installation.task_log(DAG, RUN, task["task_id"], task["try_number"]) for task in ran
            if task["task_id"] in STAGES)
    began, ended = (datetime.fromisoformat(run[name]) for name in ("queued_at", "end_date"))
    return timed(began, ran, dict(map(own_seconds, logs))), (ended - began).total_seconds()


def in_one_process(home: Path, data: str, settings: Sequence[str]) -> float:
    """Seconds of `vitrine retrain` up to the log's last event, its imports included."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-W", "ignore", "-m", "pipelines.cli", "retrain", "--data", data,
                    *(word for pair in settings for word in ("--set", pair))],
                   check=True, cwd=REPOSITORY, env={**os.environ, "VITRINE_HOME": str(home)}, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def report(tasks: Sequence[Timed], run_s: float, process_s: float) -> str:
    """Markdown of the figures."""
    around = sum(task.around for task in tasks)
    lines = ["| task | its stage, s | around it, s |", "|---|---|---|",
             *(f"| {task.task} | {task.own:.1f} | {task.around:.1f} |" for task in tasks),
             f"| all | {sum(task.own for task in tasks):.1f} | {around:.1f} ({around / run_s:.1%} of the run) |", "",
             f"From the trigger to the end {run_s:.0f} s; in one process, with its start, {process_s:.0f} s: "
             f"{run_s / process_s - 1:+.1%}. Aimed at: {AIMS['a task, s']:g} s a task, {AIMS['the retrain']:.0%}."]
    return "\n".join(lines)


def main(
    home: Annotated[Path, typer.Option(help="Folder for both; what an earlier run left there must be removed first.")],
    data: Annotated[str | None, typer.Option(help="Folder of the tables; the generated shop by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="STAGE.FIELD=VALUE; repeatable.")] = None,
) -> None:
    """Retrain in one process and through Airflow, and print what lies around the stages.

    Example: `python -m stack.overhead --home /tmp/vitrine-orchestration --set train.max_epochs=4`
    """
    if home.exists():
        raise typer.BadParameter(f"{home} exists: what is there already would not be made again; remove it, or give "
                                 "another folder")
    chosen = settings or list(QUICK)
    source = resolved(data) if data else sample_shop(Installation(home.resolve()), console)
    process_s = in_one_process(home.resolve() / "process", source, chosen)
    tasks, run_s = by_airflow(home.resolve() / "airflow-run", source, default_as_of(source, None), chosen)
    typer.echo(report(tasks, run_s, process_s))


if __name__ == "__main__":
    typer.run(main)
