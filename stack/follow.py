"""Follow a DAG run in the terminal: state changes of its tasks and the lines that their logs gain."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines.progress import duration
from stack.airflow_client import AirflowClient
from stack.installation import Installation, StackError

POLL_SECONDS = 1.0
# Neither says anything that the next state does not say better.
SILENT = {None, "scheduled", "queued", "upstream_failed"}
STYLES = {"running": "cyan", "success": "green", "failed": "bold red", "up_for_retry": "yellow", "skipped": "yellow"}
BAD = ("warning", "error", "critical")


@dataclass
class LogTail:
    """What a task's log gained since the last look: only whole lines, each once."""

    path: Path
    offset: int = 0

    def lines(self) -> list[str]:
        """New messages of Vitrine itself, and warnings and errors of anybody."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self.offset += len(data)
        return [text for line in data.splitlines() if (text := readable(line))]


def readable(line: bytes) -> str:
    """The message of a JSON log line where a person following the run wants it, else nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not str(entry.get("logger", "")).startswith("vitrine"):
        return ""
    level = str(entry.get("level", "info"))
    prefix = f"{level}: " if level in BAD else ""
    return prefix + str(entry.get("event", ""))


@dataclass
class Follower:
    """Says what happens in one run.

    Attributes:
        client: of the Airflow that runs it.
        installation: where the tasks' logs lie.
        dag_id: the DAG.
        run_id: its run.
        console: where to say it.
    """

    client: AirflowClient
    installation: Installation
    dag_id: str
    run_id: str
    console: Console
    _said: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    _tails: dict[tuple[str, int], LogTail] = field(default_factory=dict)

    def follow(self) -> dict[str, dict[str, Any]]:
        """Wait for the run's end.

        Returns:
            The task instances by their task_id, in the state in which they ended.
        """
        while True:
            state = self.client.run_state(self.dag_id, self.run_id)
            tasks = {task["task_id"]: task for task in self.client.tasks(self.dag_id, self.run_id)}
            # In the order of their work: one poll may see the end of a task and the start of the next.
            for task in sorted(tasks.values(), key=lambda task: task["start_date"] or "9"):
                self._say(task)
            if state in ("success", "failed"):
                return tasks
            time.sleep(POLL_SECONDS)

    def log(self, task: dict[str, Any]) -> Path:
        """Log file of a task instance's latest attempt."""
        return self.installation.task_log(self.dag_id, self.run_id, task["task_id"], max(task["try_number"], 1))

    def _say(self, task: dict[str, Any]) -> None:
        name, state, attempt = task["task_id"], task["state"], task["try_number"]
        is_new = self._said.get(name) != (state, attempt) and state not in SILENT
        if is_new and state == "running":
            self._line(name, "running" if attempt == 1 else f"running, try {attempt}", state)
        for line in self._new_lines(task):
            self.console.print(Text(indent(line, " " * 10), style="dim"), soft_wrap=True)
        if is_new and state != "running":
            seconds = duration(task["duration"] or 0)
            note = f", log: {self.log(task)}" if state in ("failed", "up_for_retry") else ""
            self._line(name, f"{state.replace('_', ' ')} after {seconds}{note}", state)
        self._said[name] = (state, attempt)

    def _new_lines(self, task: dict[str, Any]) -> list[str]:
        key, state = (task["task_id"], task["try_number"]), task["state"]
        has_ended = state != "running" and self._said.get(key[0]) == (state, key[1])
        if state in SILENT or has_ended:
            return []
        return self._tails.setdefault(key, LogTail(self.log(task))).lines()

    def _line(self, name: str, text: str, state: str) -> None:
        self.console.print(Text.assemble((f"{name:<10}", "bold"), (text, STYLES.get(state, ""))), soft_wrap=True)


def failed_task(tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The task at which a failed run broke.

    Raises:
        StackError: the run failed without one, for example because somebody marked it so.
    """
    for task in tasks.values():
        if task["state"] == "failed":
            return task
    states = ", ".join(f"{name} {task['state']}" for name, task in tasks.items())
    raise StackError(f"the run failed although none of its tasks did ({states}); see it in Airflow")
