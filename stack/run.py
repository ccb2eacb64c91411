"""`make run`: one retrain through a real Airflow, from a folder of tables to recommendations.

Exit status: 0 where a release was promoted, 3 where the gate refused it, 1 where a task failed,
2 where the data or a setting is wrong.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from pipelines.contracts import Released, Verdict
from pipelines.errors import GateRejected, SettingsError, VitrineError
from pipelines.given_settings import parse_settings
from pipelines.progress import duration
from pipelines.retrain import default_as_of, resolved
from pipelines.sample.write import write_sample
from stack import services
from stack.airflow_client import AirflowClient
from stack.follow import Follower, failed_task
from stack.installation import Installation, StackError
from stack.quick import QUICK
from stack.summary import show_comparison, show_recommendations, show_verdict

DAG = "retrain"
PARSE_SECONDS = 120


def main(arguments: list[str] | None = None) -> int:
    """Run, say what happens, return the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    # Ctrl-C already is an exception; a plain kill becomes one too, so that the stack is stopped after it.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        retrain(options, services.installed(), console)
    except VitrineError as error:
        console.print(f"{type(error).__name__}: {error}", style="bold red", markup=False, soft_wrap=True)
        return error.exit_status
    except KeyboardInterrupt:
        console.print("Interrupted; the stack is stopped.", style="bold red")
        return 130
    return 0


def retrain(options: argparse.Namespace, installation: Installation, console: Console) -> None:
    """One retrain from its data to the summary.

    Raises:
        GateRejected: the gate refused the challenger.
        StackError: a task failed, or the stack did not start.
        DataError, SettingsError: the source or an option is wrong.
    """
    began = time.monotonic()
    source, chosen = options.data, options.set
    if not source:
        source = sample_shop(installation, console)
        if not chosen and options.epochs is None:
            chosen = QUICK
            console.print(f"No SET or EPOCHS given: {' '.join(QUICK)}, to be done in minutes; "
                          "EPOCHS=30 trains in earnest.")
    settings = parse_settings(chosen)
    as_of = chosen_as_of(options.as_of, source, options.spec, console)
    conf = {"data": source, "as_of": as_of.isoformat(), "epochs": options.epochs, "spec": options.spec,
            "settings": settings, "dry_run": options.dry_run, "reason": options.reason}
    with stack(installation, console) as up:
        client = services.client(installation, up)
        wait_for_dag(client)
        clear_the_way(client, up, console)
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        client.trigger(DAG, run_id, conf)
        console.print(f"Run {run_id} in {up.airflow}/dags/{DAG}/runs/{run_id}", soft_wrap=True)
        follower = Follower(client, installation, DAG, run_id, console)
        tasks = follower.follow()
        if client.run_state(DAG, run_id) != "success":
            broken = failed_task(tasks)
            raise StackError(f"the task {broken['task_id']} failed; its log: {follower.log(broken)}")
        verdict = Verdict.model_validate(client.result(DAG, run_id, "gate"))
        released = None
        if tasks["promote"]["state"] == "success":
            released = Released.model_validate(client.result(DAG, run_id, "promote"))
    show_verdict(console, verdict)
    show_comparison(console, verdict.sealed.registered.evaluated)
    if released is None:
        reasons = "; ".join(f"{check.name}: {check.reason}" for check in verdict.checks if not check.passed)
        raise GateRejected(f"the gate refused the challenger, nothing was released: {reasons}")
    snapshot = verdict.sealed.registered.evaluated.trained.snapshot
    now_us = int(as_of.timestamp() * 1_000_000)
    show_recommendations(console, Path(verdict.sealed.path), Path(snapshot.path), now_us)
    what = "Dry run, it would be release" if released.is_dry_run else "Release"
    console.print(f"\n{what} {released.number} of bundle {released.bundle[:12]}, as of {released.as_of.isoformat()}, "
                  f"after {duration(time.monotonic() - began)}.", style="bold green", soft_wrap=True)
    console.print("`make up` opens Airflow and MLflow with this run in them.")


def sample_shop(installation: Installation, console: Console) -> str:
    """Folder of the generated shop; written once, its truth last."""
    folder = installation.home / "sample"
    if not (folder / "truth.json").exists():
        console.print(f"No DATA given: generating the sample shop in {folder}", soft_wrap=True)
        write_sample(folder)
    return str(folder)


def chosen_as_of(asked: str | None, source: str, spec: str | None, console: Console) -> datetime:
    """The moment before which events count: what was asked for, or just after the log's last event.

    Raises:
        SettingsError: `asked` is not a time with a zone.
    """
    if not asked:
        as_of = default_as_of(source, spec)
        console.print(f"No AS_OF given: as of {as_of.isoformat()}, just after the last event of the log.")
        return as_of
    try:
        as_of = datetime.fromisoformat(asked)
    except ValueError as error:
        raise SettingsError(f"AS_OF={asked} is not a time: write for example 2026-06-28T00:00:00+00:00") from error
    return as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)


@contextlib.contextmanager
def stack(installation: Installation, console: Console) -> Iterator[services.Stack]:
    """The stack that is up, or one of our own that is stopped at the end, whatever happens.

    Raises:
        StackError: another `make run` owns the stack, or it does not start.
    """
    up = services.running(installation)
    if up is not None and up.keeper is None:
        console.print(f"Using the stack that is up: {up.airflow}")
        yield up
        return
    if up is not None:
        raise StackError(f"another `make run` (pid {up.keeper}) uses the stack; wait for it, or end it by `make down`")
    with services.locked(installation):
        try:
            yield services.start(installation, os.getpid(), console.print)
        finally:
            services.stop(installation)
            console.print("Stopped the stack.")


def wait_for_dag(client: AirflowClient) -> None:
    """Wait until the DAG processor has parsed the DAG.

    Raises:
        StackError: it does not import, or did not come.
    """
    deadline = time.monotonic() + PARSE_SECONDS
    while not client.has_dag(DAG):
        if time.monotonic() > deadline:
            raise StackError(f"Airflow did not parse the DAG {DAG} within {PARSE_SECONDS} s; see dag-processor.log")
        time.sleep(0.5)


def clear_the_way(client: AirflowClient, up: services.Stack, console: Console) -> None:
    """End the runs that an interrupted stack left active: no task of theirs lives, and only one run may be active."""
    for run_id in client.active_runs(DAG):
        if up.keeper is None:
            console.print(f"Run {run_id} is active; this one waits for its end.", soft_wrap=True)
        else:
            client.fail_run(DAG, run_id)
            console.print(f"Marked run {run_id}, which was interrupted, as failed.", soft_wrap=True)


def _interrupt(number: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--data", type=resolved, help="folder or URL of the tables; a generated sample shop by default")
    parser.add_argument("--as-of", help="events before this moment count; just after the last event by default")
    parser.add_argument("--epochs", type=int, help="train at most so many epochs")
    parser.add_argument("--set", nargs="+", default=[], metavar="STAGE.FIELD=VALUE",
                        help=f"change settings; where neither these, epochs nor data are given, {' '.join(QUICK)}")
    parser.add_argument("--spec", type=resolved, help="TOML file that overrides names, kinds and weights")
    parser.add_argument("--dry-run", action="store_true", help="judge, but release nothing")
    parser.add_argument("--reason", default="make run", help="goes into the release record")
    return parser


if __name__ == "__main__":
    sys.exit(main())
